// The story of examples/support_assistant with its own worker: two tenants, kill -9 in the middle
// of the draft and of the approval. `./dev demo` tells it to people, and plays it a thousand times
// at once.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/chat_provider.hpp"
#include "tests/support/eventually.hpp"

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace callboard::testing;

/// examples/support_assistant/worker.py for some tenants of one node.
class look_ups {
public:
  look_ups(const std::string& url, const std::vector<std::string>& tenants) {
    std::vector<std::string> words{
        "python3",
        CALLBOARD_SOURCE_DIR "/examples/support_assistant/worker.py",
        "--server",
        url,
        "--threads",
        "1"};
    for (const auto& tenant : tenants)
      words.insert(words.end(), {"--tenant", tenant});
    std::vector<char*> arguments;
    for (auto& word : words)
      arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
  }

  ~look_ups() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

  look_ups(const look_ups&) = delete;
  look_ups& operator=(const look_ups&) = delete;

private:
  int pid_ = -1;
};

/// Classifies at once; drafts slowly, from the facts that it was given.
chat_reply answer(const chat_query& query) {
  if (query.body.contains("one word")) return whole_reply("delivery");
  auto draft = streamed_reply({"Dear Ada, ", "it ", "comes ", "on Thursday."});
  draft.drip = milliseconds{250};
  return draft;
}

class support_node {
public:
  support_node() {
    provider.answer_with(answer);
    std::vector<std::string> words;
    for (const auto& one :
         {std::string{"models.order=main"},
          std::string{"models.main.default_model=test-model"},
          std::string{"models.main.use_proxy=false"},
          "models.main.base_url=" + provider.base_url()}) {
      words.insert(words.end(), {"--set", one});
    }
    server.emplace(server_options{.arguments = std::move(words)});
  }

  [[nodiscard]] broker client(const std::string& tenant) { return broker{server->where(), tenant}; }

  int start(const std::string& tenant, const std::string& customer) {
    return client(tenant)
        .post(
            "/workflows",
            R"({"type":"support","id":"t1","input":{"customer":")" + customer
                + R"(","question":"Where is my lamp?"}})")
        .status;
  }

  [[nodiscard]] std::string state(const std::string& tenant) {
    return text_of(client(tenant).get("/workflows/t1").json(), "state");
  }

  [[nodiscard]] std::vector<json::object> stored(const std::string& tenant, std::string_view type) {
    std::vector<json::object> found;
    for (const auto& one : client(tenant).history("workflow.t1")) {
      if (text_of(one.event, "type") == type) found.push_back(one.event);
    }
    return found;
  }

  /// The text of the draft as a watcher sees it now.
  [[nodiscard]] std::string seen_draft(const std::string& tenant) {
    websocket_client channel{server->where(), websocket_of(tenant)};
    channel.ask({{"op", "subscribe"}, {"topic", "workflow.t1"}, {"from", "first"}});
    for (;;) {
      const auto event = channel.next_op("event").at("event").as_object();
      const auto* data = event.if_contains("data");
      if (data != nullptr && text_of(*data, "name") == "draft" && !text_of(*data, "text").empty()) {
        return text_of(*data, "text");
      }
    }
  }

  /// Requests of `tenant` by what was asked: of these words, and by key.
  [[nodiscard]] std::map<std::string, std::uint32_t>
  requests(const std::string& tenant, std::string_view words) {
    std::map<std::string, std::uint32_t> by_key;
    for (const auto& query : provider.queries()) {
      if (query.body.contains(words) && query.body.contains(tenant + "/t1")) {
        ++by_key[query.header("idempotency-key")];
      }
    }
    return by_key;
  }

  chat_provider provider;
  std::optional<server_process> server;
};

}  // namespace

TEST_CASE("a support ticket goes through kill -9 of its draft and its approval", "[e2e][support]") {
  support_node node;
  const std::vector<std::string> tenants{"acme", "globex"};
  {
    look_ups worker{node.server->url(), tenants};
    REQUIRE(node.start("acme", "ada") == 201);
    REQUIRE(node.start("globex", "bob") == 201);
    CHECK(node.seen_draft("acme").starts_with("Dear Ada, "));
    REQUIRE(eventually([&] { return node.requests("globex", "facts only").size() == 1; }));
  }
  node.server->kill();
  node.server->start();
  for (const auto& tenant : tenants) {
    INFO(tenant);
    REQUIRE(eventually([&] { return node.state(tenant) == "waiting for approval"; }));
  }
  const auto asked = node.provider.query_count();
  node.server->kill();
  node.server->start();
  for (const auto& tenant : tenants) {
    INFO(tenant);
    CHECK(node.state(tenant) == "waiting for approval");
    const bool is_approved = tenant == "acme";
    auto client = node.client(tenant);
    REQUIRE(
        client
            .post(
                "/workflows/t1/signals/approval",
                is_approved ? R"({"approved":true,"by":"kim"})" : R"({"approved":false})")
            .status
        == 200);
    const auto ended = client.get("/workflows/t1/result?wait_ms=20000").json();
    REQUIRE(text_of(ended, "status") == "completed");
    const auto& result = ended.at("result");
    CHECK(text_of(result, "outcome") == (is_approved ? "sent" : "rejected"));
    CHECK(text_of(result, "reply") == (is_approved ? "Dear Ada, it comes on Thursday." : ""));
    CHECK(text_of(result, "category") == "delivery");

    // What had completed ran once; what was cut came again under its key, as the next attempt.
    const auto classified = node.requests(tenant, "one word");
    REQUIRE(classified.size() == 1);
    CHECK(classified.begin()->second == 1);
    const auto drafted = node.requests(tenant, "facts only");
    REQUIRE(drafted.size() == 1);
    CHECK(drafted.begin()->second == 2);
    const auto failed = node.stored(tenant, "task.failed");
    REQUIRE(failed.size() == 1);
    CHECK(text_of(failed[0].at("data").at("error"), "code") == "interrupted");
    // The facts are those that the worker found.
    const auto queries = node.provider.queries();
    CHECK(std::ranges::any_of(queries, [&](const chat_query& one) {
      return one.body.contains(tenant + "/t1") && one.body.contains("arrives on Thursday");
    }));
    const auto desk = client.get(tenant == "acme" ? "/agents/desk/ada" : "/agents/desk/bob").json();
    CHECK(number_of(desk.at("state"), "contacts") == 1);
    CHECK(desk.at("state").at("closed").as_array().size() == 1);
    CHECK(text_of(node.stored(tenant, "workflow.update").back().at("data"), "phase") == "closed");
    CHECK(client.history("support.closed").size() == 1);
  }
  CHECK(node.provider.query_count() == asked);
}
