// `callboard workflow …` and `callboard agent …` against a server that answers as it is told.
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
class scripted_answers {
public:
  explicit scripted_answers(std::vector<std::string> bodies)
      : bodies_{std::move(bodies)}, server_{[this](tiny_connection& c) { serve(c); }} {}

  [[nodiscard]] std::string url() const { return server_.url(); }

  [[nodiscard]] std::vector<std::string> requests() {
    const std::scoped_lock lock{mutex_};
    return requests_;
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

/// Standard output of `callboard workflow WORDS`, or of another family.
std::string printed(
    scripted_answers& server,
    std::vector<std::string> words,
    const std::string& family = "workflow") {
  words.insert(words.begin(), {"callboard", "--server", server.url(), family});
  std::vector<const char*> arguments;
  for (const auto& word : words)
    arguments.push_back(word.c_str());
  constexpr auto families = std::to_array<cli::family>({cli::add_workflow, cli::add_agent});
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  const int code = cli::run(arguments, {.in = in, .out = out, .err = err}, families);
  INFO(err.str());
  CHECK(code == 0);
  return out.str();
}

constexpr std::string_view order =
    R"({"id":"o1","type":"order","status":"running","input":{"total":40},"state":"charging",)"
    R"("steps":[{"command":1,"kind":"step","name":"reserve","status":"completed",)"
    R"("started_ms":5,"attempts":2,"ended_ms":9},)"
    R"({"command":2,"kind":"step","name":"charge","status":"retrying","started_ms":9,)"
    R"("attempts":3,"due_ms":99,"error":{"class":"retryable","code":"x","message":"no answer"}}]})";

}  // namespace

TEST_CASE("a workflow is started with id, input and patience", "[cli][workflow]") {
  scripted_answers server{{R"({"id":"o1","status":"completed","result":"INV-o1"})"}};
  CHECK(
      printed(
          server,
          {"start",
           "order",
           R"({"total":4.50})",
           "--id",
           "o1",
           "--correlation-id",
           "c1",
           "--wait-ms",
           "5000"})
      == "id      o1\nstatus  completed\nresult  INV-o1\n");
  (void)printed(server, {"start", "greeting", "Ada", "--text"});
  (void)printed(server, {"start", "greeting"});
  const auto requests = server.requests();
  REQUIRE(requests.size() == 3);
  CHECK_THAT(
      requests[0],
      Catch::StartsWith("POST /v1/tenants/default/workflows?wait_ms=5000 HTTP/1.1\r\n"));
  CHECK_THAT(
      requests[0],
      Catch::EndsWith(
          R"({"type":"order","id":"o1","input":{"total":4.50},"correlation_id":"c1"})"));
  CHECK_THAT(requests[1], Catch::StartsWith("POST /v1/tenants/default/workflows HTTP/1.1\r\n"));
  CHECK_THAT(requests[1], Catch::EndsWith(R"({"type":"greeting","input":"Ada"})"));
  CHECK_THAT(requests[2], Catch::EndsWith(R"({"type":"greeting"})"));
}

TEST_CASE("a workflow is shown with a table of its commands", "[cli][workflow]") {
  scripted_answers server{{std::string{order}}};
  CHECK(
      printed(server, {"show", "o1"})
      == "id           o1\n"
         "type         order\n"
         "status       running\n"
         "input.total  40\n"
         "state        charging\n"
         "\n"
         "COMMAND  KIND  NAME     STATUS     ATTEMPTS  STARTED MS  ENDED MS  DUE MS  ERROR\n"
         "      1  step  reserve  completed         2           5         9       -  -\n"
         "      2  step  charge   retrying          3           9         -      99  no answer\n");
  CHECK(printed(server, {"show", "o1", "--output", "json"}) == std::string{order} + "\n");
  CHECK_THAT(
      server.requests()[0], Catch::StartsWith("GET /v1/tenants/default/workflows/o1 HTTP/1.1\r\n"));
}

TEST_CASE("a result is asked for with patience", "[cli][workflow]") {
  scripted_answers server{{R"({"id":"o1","status":"failed","error":{"code":"refused"}})"}};
  CHECK(
      printed(server, {"result", "o1", "--wait-ms", "20"})
      == "id          o1\nstatus      failed\nerror.code  refused\n");
  (void)printed(server, {"result", "o1"});
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK_THAT(
      requests[0], Catch::Contains("GET /v1/tenants/default/workflows/o1/result?wait_ms=20 "));
  CHECK_THAT(requests[1], Catch::Contains("/workflows/o1/result HTTP"));
}

TEST_CASE("signals carry their payload and key, cancels their reason", "[cli][workflow]") {
  scripted_answers server{
      {R"({"duplicate":false})", R"({"duplicate":false})", R"({"outcome":"cancelling"})"}};
  CHECK(
      printed(server, {"signal", "o1", "approve it", "true", "--key", "k1"})
      == "duplicate  false\n");
  (void)printed(server, {"signal", "o1", "approve"});
  CHECK(printed(server, {"cancel", "o1", "--reason", "a \"why\""}) == "outcome  cancelling\n");
  const auto requests = server.requests();
  REQUIRE(requests.size() == 3);
  CHECK_THAT(
      requests[0],
      Catch::StartsWith("POST /v1/tenants/default/workflows/o1/signals/approve%20it "));
  CHECK_THAT(requests[0], Catch::Contains("Idempotency-Key: k1\r\n"));
  CHECK_THAT(requests[0], Catch::EndsWith("\r\n\r\ntrue"));
  CHECK_THAT(requests[1], Catch::EndsWith("\r\n\r\n"));
  CHECK_THAT(requests[1], !Catch::Contains("Idempotency-Key"));
  CHECK_THAT(requests[2], Catch::StartsWith("POST /v1/tenants/default/workflows/o1/cancel "));
  CHECK_THAT(requests[2], Catch::EndsWith(R"({"reason":"a \"why\""})"));
}

TEST_CASE("lists of workflows are filtered and followed to the end", "[cli][workflow]") {
  scripted_answers server{
      {R"({"workflows":[{"id":"a","type":"order","status":"running"}],"cursor":"a"})",
       R"({"workflows":[{"id":"b","type":"order","status":"running"}],"cursor":""})"}};
  CHECK(
      printed(server, {"list", "--type", "order", "--status", "running", "--output", "json"})
      == R"({"workflows":[{"id":"a","type":"order","status":"running"},)"
         R"({"id":"b","type":"order","status":"running"}]})"
         "\n");
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK_THAT(
      requests[0],
      Catch::Contains("GET /v1/tenants/default/workflows?limit=1000&type=order&status=running "));
  CHECK_THAT(requests[1], Catch::Contains("&status=running&cursor=a "));
}

TEST_CASE("a list of workflows ends at its limit", "[cli][workflow]") {
  scripted_answers server{{R"({"workflows":[{"id":"a"},{"id":"b"}],"cursor":"b"})"}};
  CHECK(
      printed(server, {"list", "--limit", "3", "--output", "json"})
      == R"({"workflows":[{"id":"a"},{"id":"b"},{"id":"a"}]})"
         "\n");
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK_THAT(requests[0], Catch::Contains("limit=3 "));
  CHECK_THAT(requests[1], Catch::Contains("limit=1&cursor=b "));
}

TEST_CASE("a history is read page by page to its last event", "[cli][workflow]") {
  scripted_answers server{
      {R"({"events":[{"seq":1,"cursor":"e:1","event":{"type":"workflow.started",)"
       R"("time":"2026-01-02T03:04:05.006Z","run":1,"data":{"input":1}}}],)"
       R"("first_seq":1,"last_seq":2,"next_from":2})",
       R"({"events":[{"seq":2,"cursor":"e:2","event":{"type":"task.started",)"
       R"("time":"2026-01-02T03:04:05.007Z","run":1,"command":1,"data":{"name":"a"}}}],)"
       R"("first_seq":1,"last_seq":2,"next_from":3})"}};
  CHECK(
      printed(server, {"history", "o1"})
      == "SEQ  TIME                      RUN  COMMAND  TYPE              DATA\n"
         "  1  2026-01-02T03:04:05.006Z    1        -  workflow.started  {\"input\":1}\n"
         "  2  2026-01-02T03:04:05.007Z    1        1  task.started      {\"name\":\"a\"}\n");
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK_THAT(
      requests[0],
      Catch::Contains("GET /v1/tenants/default/workflows/o1/history?from=first&limit=1000 "));
  CHECK_THAT(requests[1], Catch::Contains("history?from=2&limit=1000 "));
}

TEST_CASE("an agent is handed a message with its id and patience", "[cli][agent]") {
  scripted_answers server{{R"({"message":"m7","duplicate":false,"result":6})"}};
  const auto out = printed(
      server, {"call", "counter", "likes", "add", "5", "--key", "m7", "--wait-ms", "900"}, "agent");
  CHECK_THAT(out, Catch::Contains("result") && Catch::Contains("6"));
  const auto request = server.requests().at(0);
  CHECK_THAT(
      request,
      Catch::StartsWith(
          "POST /v1/tenants/default/agents/counter/likes/add?wait_ms=900 HTTP/1.1\r\n"));
  CHECK_THAT(request, Catch::Contains("Idempotency-Key: m7\r\n"));
  CHECK_THAT(request, Catch::EndsWith("\r\n\r\n5"));
  (void)printed(server, {"call", "counter", "a.b", "say", "hi", "--text", "--async"}, "agent");
  const auto second = server.requests().at(1);
  CHECK_THAT(second, Catch::Contains("/agents/counter/a.b/say?"));
  CHECK_THAT(second, Catch::Contains("Prefer: respond-async\r\n"));
  CHECK_THAT(second, Catch::EndsWith("\r\n\r\n\"hi\""));
}

TEST_CASE("agents of a class are listed, and one is explained", "[cli][agent]") {
  scripted_answers server{
      {R"({"workflows":[{"id":"agent.counter.a.b","type":"agent:counter","key":"a.b","version":1,)"
       R"("run":4,"status":"running","history_size":17,"started_ms":5}],"cursor":""})",
       R"({"id":"agent.counter.a.b","summary":"it waits for a message","waiting_for":[]})"}};
  const auto listed = printed(server, {"list", "counter"}, "agent");
  CHECK_THAT(listed, Catch::StartsWith("KEY  STATUS   VERSION  RUN  EVENTS"));
  CHECK_THAT(listed, Catch::Contains("a.b  running        1    4      17"));
  CHECK_THAT(
      printed(server, {"explain", "counter", "a.b"}, "agent"),
      Catch::Contains("it waits for a message"));
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK_THAT(
      requests[0],
      Catch::Contains("GET /v1/tenants/default/workflows?limit=1000&type=agent%3Acounter "));
  CHECK_THAT(
      requests[1], Catch::Contains("GET /v1/tenants/default/workflows/agent.counter.a.b/explain "));
}

TEST_CASE("an agent is shown without its commands", "[cli][agent]") {
  scripted_answers server{
      {R"({"id":"agent.counter.likes","type":"counter","key":"likes","state":6,"steps":[{"command":1}]})"}};
  const auto out = printed(server, {"show", "counter", "likes"}, "agent");
  CHECK_THAT(out, Catch::Contains("state") && Catch::Contains("6"));
  CHECK_THAT(out, !Catch::Contains("steps"));
}

TEST_CASE("a workflow is ended and explained", "[cli][workflow]") {
  scripted_answers server{
      {R"({"outcome":"terminated"})",
       R"({"id":"o1","status":"running","summary":"it waits for its timer","waiting_for":)"
       R"([{"command":3,"kind":"sleep","name":"sleep","status":"running","since_ms":5,)"
       R"("for":"its timer","due_ms":99}]})"}};
  CHECK_THAT(
      printed(server, {"terminate", "o1", "--reason", "stuck"}), Catch::Contains("terminated"));
  CHECK_THAT(
      server.requests().at(0),
      Catch::StartsWith("POST /v1/tenants/default/workflows/o1/terminate"));
  CHECK_THAT(server.requests().at(0), Catch::EndsWith(R"({"reason":"stuck"})"));
  const auto out = printed(server, {"explain", "o1"});
  CHECK_THAT(out, Catch::Contains("it waits for its timer") && Catch::Contains("WAITS FOR"));
  CHECK_THAT(
      server.requests().at(1), Catch::StartsWith("GET /v1/tenants/default/workflows/o1/explain"));
}

TEST_CASE("a workflow that is begun anew is shown like any other", "[cli][workflow]") {
  scripted_answers server{{std::string{order}}};
  const auto as_table = printed(server, {"show", "o1"});
  CHECK(printed(server, {"restart", "o1", "--from", "charge"}) == as_table);
  CHECK(printed(server, {"fork", "o1", "--id", "o2"}) == as_table);
}

TEST_CASE("a workflow is put right", "[cli][workflow]") {
  scripted_answers server{{R"({"id":"o1","run":2,"workflows":[],"cursor":""})"}};
  (void)printed(server, {"restart", "o1", "--from", "charge", "--reason", "why"});
  (void)printed(
      server,
      {"fork", "o1", "--id", "o2", "--from", "3", "--code-version", "4", "--without-signals"});
  (void)printed(server, {"skip", "o1", "3"});
  (void)printed(server, {"resolve", "o1", "3", "--result", R"({"a":1})"});
  (void)printed(server, {"resolve", "o1", "3", "--error", "lost", "--message", "gone"});
  (void)printed(server, {"list", "--stuck", "--output", "json"});
  const auto requests = server.requests();
  REQUIRE(requests.size() == 6);
  const std::string below = "POST /v1/tenants/default/workflows/o1";
  CHECK_THAT(requests[0], Catch::StartsWith(below + "/restart "));
  CHECK_THAT(requests[0], Catch::EndsWith(R"({"from":"charge","reason":"why"})"));
  CHECK_THAT(requests[1], Catch::StartsWith(below + "/fork "));
  CHECK_THAT(
      requests[1], Catch::EndsWith(R"({"id":"o2","from":"3","version":4,"without_signals":true})"));
  CHECK_THAT(requests[2], Catch::StartsWith(below + "/commands/3/skip "));
  CHECK_THAT(requests[3], Catch::EndsWith(R"({"result":{"a":1}})"));
  CHECK_THAT(requests[4], Catch::EndsWith(R"({"error":{"code":"lost","message":"gone"}})"));
  CHECK_THAT(requests[5], Catch::Contains("stuck=true"));
}
