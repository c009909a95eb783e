// `callboard queue …` against a server that answers as it is told.
#include "cli/run.hpp"

#include "tests/cli/tiny_server.hpp"
#include "tests/support/catch.hpp"

#include <array>
#include <mutex>
#include <sstream>

using namespace callboard;
using testing::json_response;
using testing::tiny_connection;
using testing::tiny_server;

namespace {

/// Gives its answers in turn, the last one again and again, and keeps what was asked.
class queue_server {
public:
  explicit queue_server(std::vector<std::string> bodies)
      : bodies_{std::move(bodies)}, server_{[this](tiny_connection& c) { serve(c); }} {}

  /// Standard output of `callboard queue WORDS`.
  std::string printed(std::vector<std::string> words, int expected = 0) {
    words.insert(words.begin(), {"callboard", "--server", server_.url(), "queue"});
    std::vector<const char*> arguments;
    for (const auto& word : words)
      arguments.push_back(word.c_str());
    constexpr auto families = std::to_array<cli::family>({cli::add_queue});
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const int code = cli::run(arguments, {.in = in, .out = out, .err = err}, families);
    INFO(err.str());
    CHECK(code == expected);
    return out.str();
  }

  [[nodiscard]] std::vector<std::string> requests() {
    const std::scoped_lock lock{mutex_};
    return requests_;
  }

  /// The first line and the body of a request.
  [[nodiscard]] std::pair<std::string, std::string> asked(std::size_t index) {
    const auto all = requests();
    REQUIRE(index < all.size());
    const auto& one = all[index];
    return {one.substr(0, one.find(" HTTP/1.1")), one.substr(one.find("\r\n\r\n") + 4)};
  }

private:
  void serve(tiny_connection& c) {
    for (auto head = c.read_head(); !head.empty(); head = c.read_head()) {
      const auto at = head.find("Content-Length: ");
      const auto size = at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
      auto request = head + c.read(size);
      std::string answer;
      {
        const std::scoped_lock lock{mutex_};
        answer = bodies_[std::min(requests_.size(), bodies_.size() - 1)];
        requests_.push_back(std::move(request));
      }
      c.write(json_response(answer));
    }
  }

  std::mutex mutex_;
  std::vector<std::string> bodies_;
  std::vector<std::string> requests_;
  tiny_server server_;
};

using call = std::pair<std::string, std::string>;

}  // namespace

TEST_CASE("a task is pushed with all that can be said of it", "[cli][queue]") {
  queue_server server{{R"({"task":17,"duplicate":false})"}};
  CHECK(
      server.printed(
          {"push",
           "llm",
           R"({"prompt":"hello"})",
           "--priority",
           "interactive",
           "--delay-ms",
           "50",
           "--dedupe-key",
           "k",
           "--fairness-key",
           "ada",
           "--max-attempts",
           "2"})
      == "task       17\nduplicate  false\n");
  CHECK(
      server.asked(0)
      == call{
          "POST /v1/tenants/default/queues/llm/tasks",
          R"({"payload":{"prompt":"hello"},"priority":"interactive","delay_ms":50,)"
          R"("dedupe_key":"k","fairness_key":"ada","max_attempts":2})"});
  (void)server.printed({"push", "llm", "no JSON", "--text"});
  CHECK(server.asked(1).second == R"({"payload":"no JSON"})");
  CHECK(server.printed({"push", "llm", "no JSON"}, 2).empty());
  CHECK(server.requests().size() == 2);
}

TEST_CASE("leased tasks are lines, completed once printed if asked for", "[cli][queue]") {
  queue_server server{{R"({"tasks":[{"task":1,"lease":"a.1"},{"task":2,"lease":"a.2"}]})", "{}"}};
  CHECK(
      server.printed(
          {"lease", "llm", "--worker", "w", "--max", "2", "--wait-ms", "100", "--complete"})
      == "{\"task\":1,\"lease\":\"a.1\"}\n{\"task\":2,\"lease\":\"a.2\"}\n");
  CHECK(
      server.asked(0)
      == call{
          "POST /v1/tenants/default/queues/llm/lease", R"({"worker":"w","max":2,"wait_ms":100})"});
  CHECK(server.asked(1).first == "POST /v1/tenants/default/leases/a.1/complete");
  CHECK(server.asked(2).first == "POST /v1/tenants/default/leases/a.2/complete");
}

TEST_CASE("a lease is completed, failed and extended by its name", "[cli][queue]") {
  queue_server server{{"{}"}};
  (void)server.printed({"complete", "a.1", R"({"ok":true})"});
  (void)server.printed({"fail", "a.1", "--error", "no such file", "--final"});
  (void)server.printed({"fail", "a.1", "--retry-after-ms", "900"});
  (void)server.printed({"extend", "a.1", "--lease-ms", "5000"});
  const std::string at = "POST /v1/tenants/default/leases/a.1/";
  CHECK(server.asked(0) == call{at + "complete", R"({"result":{"ok":true}})"});
  CHECK(server.asked(1) == call{at + "fail", R"({"error":"no such file","retryable":false})"});
  CHECK(server.asked(2) == call{at + "fail", R"({"retry_after_ms":900})"});
  CHECK(server.asked(3) == call{at + "extend", R"({"lease_ms":5000})"});
}

TEST_CASE("a task is cancelled by its number", "[cli][queue]") {
  queue_server server{{""}};
  CHECK(server.printed({"cancel", "llm", "17"}) == "cancelled 17\n");
  CHECK(server.asked(0).first == "DELETE /v1/tenants/default/queues/llm/tasks/17");
}

TEST_CASE("a queue is purged, with its dead letters if asked for", "[cli][queue]") {
  queue_server server{{R"({"count":3})"}};
  CHECK(server.printed({"purge", "llm"}) == "count  3\n");
  (void)server.printed({"purge", "llm", "--dead"});
  CHECK(server.asked(0) == call{"POST /v1/tenants/default/queues/llm/purge", "{}"});
  CHECK(server.asked(1).second == R"({"dead":true})");
}

TEST_CASE("dead letters are listed, driven again and given up", "[cli][queue]") {
  queue_server server{
      {R"({"tasks":[{"task":7,"priority":"bulk","attempts":3,"error":"no such file"}],"next":null})",
       R"({"count":2})"}};
  const auto listed = server.printed({"dead", "llm", "--error-contains", "such file"});
  CHECK_THAT(listed, Catch::Contains("no such file"));
  CHECK(
      server.asked(0).first
      == "GET /v1/tenants/default/queues/llm/dead?limit=100&error_contains=such%20file");
  CHECK(server.printed({"redrive", "llm", "7", "8"}) == "count  2\n");
  CHECK(
      server.asked(1)
      == call{"POST /v1/tenants/default/queues/llm/dead/redrive", R"({"tasks":[7,8]})"});
  (void)server.printed({"redrive", "llm", "--all"});
  CHECK(server.asked(2).second == R"({"all":true})");
  (void)server.printed({"abandon", "llm", "--fairness-key", "ada"});
  CHECK(
      server.asked(3)
      == call{"POST /v1/tenants/default/queues/llm/dead/abandon", R"({"fairness_key":"ada"})"});
  (void)server.printed({"edit", "llm", "7", R"({"prompt":"hi"})"});
  CHECK(
      server.asked(4)
      == call{"PUT /v1/tenants/default/queues/llm/dead/7", R"({"payload":{"prompt":"hi"}})"});
  (void)server.printed({"edit", "llm", "7", "hi", "--text"});
  CHECK(server.asked(5).second == R"({"payload":"hi"})");
}

TEST_CASE("queues are listed page by page, shown, set and deleted", "[cli][queue]") {
  queue_server server{
      {R"({"queues":[{"queue":"a","depth":3,"in_flight":1,"dead":0}],"next_after":"a"})",
       R"({"queues":[{"queue":"b","depth":0,"in_flight":0,"dead":2}],"next_after":""})",
       R"({"queue":"llm","depth":1})"}};
  const auto listed = server.printed({"list"});
  CHECK_THAT(listed, Catch::Contains("a") && Catch::Contains("b") && Catch::Contains("IN FLIGHT"));
  CHECK(server.asked(1).first == "GET /v1/tenants/default/queues?limit=1000&after=a");
  CHECK(server.printed({"show", "llm"}) == "queue  llm\ndepth  1\n");
  (void)server.printed({"set", "llm", "--lease-ms", "5000", "--key-concurrency", "2"});
  CHECK(
      server.asked(3)
      == call{"PUT /v1/tenants/default/queues/llm", R"({"lease_ms":5000,"key_concurrency":2})"});
  CHECK(server.printed({"delete", "llm"}) == "deleted llm\n");
  (void)server.printed({"task", "llm", "17"});
  CHECK(server.asked(5).first == "GET /v1/tenants/default/queues/llm/tasks/17");
}
