// Classes of several versions: a run goes on in the one it began with, over every restart, and what
// begins is of the newest.
#include "tests/actors/topic/mortal_broker.hpp"

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <cstdint>
#include <string>

namespace callboard::testing {

namespace {

/// Told to go, says which version it is of, or goes on as new to do so.
template <std::uint32_t Version>
struct pinned_workflow : workflow<pinned_workflow<Version>> {
  static constexpr std::string_view type = "test.pinned";
  static constexpr std::uint32_t version = Version;

  flow<json> run(context& ctx, json goes_on) {
    co_await ctx.signal("go").required();
    const auto mark = co_await ctx.step("mark", [] { return Version; }).required();
    if (goes_on.as_bool()) co_return ctx.continue_as_new(false);
    co_return json(mark);
  }
};

template <std::uint32_t Version>
struct pinned_agent : agent<pinned_agent<Version>, std::int64_t> {
  static constexpr std::string_view type = "pinned";
  static constexpr std::uint32_t version = Version;

  static void handlers(handler_table<pinned_agent>& on) {
    on.message("which", &pinned_agent::which);
  }

  flow<json> which(context&, json) { co_return Version; }
};

struct asking_workflow : workflow<asking_workflow> {
  static constexpr std::string_view type = "test.asking";

  flow<json> run(context& ctx, std::string key) {
    co_return co_await ctx.call("pinned", key, "which", nullptr, {.timeout = 0ms}).required();
  }
};

/// Runs of it begin where only version 1 is.
class upgraded_node : public mortal_broker {
public:
  upgraded_node() {
    broker.settings.workflows.agent_messages = 2;
    add<1>();
  }

  template <std::uint32_t Version>
  void add() {
    REQUIRE(code.add(pinned_workflow<Version>::definition()));
    REQUIRE(code.add(pinned_agent<Version>::definition()));
  }

  /// As kill -9 and a start with other code.
  template <std::uint32_t... Versions>
  void start_with() {
    code = {};
    (add<Versions>(), ...);
    broker.crash();
    pass(1s);
  }

  void go(const std::string& id, const std::string& key = "1") {
    (void)get<workflow_answer>(signal_workflow{channel(id), "go", "null", key});
    pass(1s);
  }

  std::string which() { return call("a", "call-" + std::to_string(++calls_)); }

  std::string call(const std::string& key, const std::string& message) {
    call_agent call;
    call.topic = channel("agent.pinned." + key);
    call.type = "agent:pinned";
    call.message = "which";
    call.payload = "null";
    call.id = message;
    call.wait_ms = 900;
    const auto id = broker.ask(call);
    pass(1s);
    const auto& answer = broker.got.answered.at(id);
    return answer ? std::get<workflow_answer>(*answer).body : std::string{answer.error().detail};
  }

private:
  int calls_ = 0;
};

}  // namespace

TEST_CASE("a run stays in the version it began in", "[actors][workflow]") {
  upgraded_node node;
  node.begin("old", "test.pinned", "false");
  REQUIRE(node.row("old").version == 1);
  node.start_with<1, 2>();
  node.begin("new", "test.pinned", "false");
  CHECK(node.row("new").version == 2);
  for (const auto id : {"old", "new"})
    node.go(id);
  CHECK(says(node.shown("old"), R"("version":1)"));
  CHECK(says(node.shown("old"), R"("result":1)"));
  CHECK(says(node.shown("new"), R"("result":2)"));
}

TEST_CASE("a run waits for the version it began in", "[actors][workflow]") {
  upgraded_node node;
  node.begin("w", "test.pinned", "false");
  node.start_with<2>();
  CHECK(says(node.shown("w"), R"("status":"blocked")"));
  CHECK(says(node.shown("w"), R"("class":"bug","code":"no_code")"));
  CHECK(says(node.shown("w"), "no node has workflow 'test.pinned' version 1"));
  CHECK(says(node.explained("w"), "its code is not here"));
  // What it is told meanwhile is kept.
  node.go("w");
  CHECK(says(node.shown("w"), R"("status":"blocked")"));
  node.start_with<1, 2>();
  CHECK(says(node.shown("w"), R"("result":1)"));
}

TEST_CASE("a run that goes on as new is of the newest version", "[actors][workflow]") {
  upgraded_node node;
  node.begin("w", "test.pinned", "true");
  node.start_with<1, 2>();
  REQUIRE(node.row("w").version == 1);
  node.go("w");
  CHECK(node.row("w").run == 2);
  CHECK(node.row("w").version == 2);
  // It does not need the old one any more.
  node.start_with<2>();
  node.go("w", "2");
  CHECK(says(node.shown("w"), R"("result":2)"));
}

TEST_CASE("an agent is of the newest version from its next run on", "[actors][workflow]") {
  upgraded_node node;
  REQUIRE(says(node.which(), R"("result":1)"));
  node.start_with<1, 2>();
  // The last message of its first run.
  CHECK(says(node.which(), R"("result":1)"));
  CHECK(says(node.which(), R"("result":2)"));
  node.start_with<2>();
  CHECK(says(node.which(), R"("result":2)"));
}

TEST_CASE("an agent keeps what it is told while its class is not here", "[actors][workflow]") {
  upgraded_node node;
  REQUIRE(says(node.which(), R"("result":1)"));
  node.start_with<>();
  // As with code of another version: it is on disk, and the reply is not there yet.
  CHECK(node.call("a", "kept") == R"({"message":"kept"})");
  CHECK(says(node.shown("agent.pinned.a"), R"("status":"blocked")"));
  CHECK(says(node.shown("agent.pinned.a"), R"("messages_waiting":1)"));
  // Nobody makes one.
  CHECK(node.call("b", "lost") == "this node has no agent type 'pinned'");
  CHECK(node.shown("agent.pinned.b") == "nobody has called this agent yet");
  node.start_with<1>();
  CHECK(says(node.call("a", "kept"), R"("result":1)"));
  CHECK(says(node.shown("agent.pinned.a"), R"("messages_waiting":0)"));
}

TEST_CASE("a run that calls an agent of no class here waits for it", "[actors][workflow]") {
  upgraded_node node;
  REQUIRE(says(node.which(), R"("result":1)"));
  node.code = {};
  REQUIRE(node.code.add(asking_workflow::definition()));
  node.broker.crash();
  // One that exists keeps the message, and one that nobody has called is asked again.
  node.begin("old", "test.asking", R"("a")");
  node.begin("new", "test.asking", R"("n")");
  node.pass(25s);
  CHECK(says(node.shown("old"), R"("status":"running")"));
  CHECK(says(node.shown("new"), R"("status":"running")"));
  CHECK(says(node.explained("new"), "this node has no agent type 'pinned'"));
  REQUIRE(node.code.add(pinned_agent<1>::definition()));
  node.broker.crash();
  node.pass(25s);
  CHECK(says(node.shown("old"), R"("result":1)"));
  CHECK(says(node.shown("new"), R"("result":1)"));
}

}  // namespace callboard::testing
