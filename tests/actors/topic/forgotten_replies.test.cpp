// What an agent has answered it does not handle again, for longer than it knows what it replied.
#include "tests/actors/topic/virtual_broker.hpp"

#include <fmt/format.h>

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <utility>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

struct tally : agent<tally, std::int64_t> {
  static constexpr std::string_view type = "tally";

  static void handlers(handler_table<tally>& on) {
    on.message("add", &tally::add).message("add_late", &tally::add_late);
  }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }

  flow<std::int64_t> add_late(context& ctx, std::int64_t by) {
    co_await ctx.sleep(500ms).required();
    co_return state() += by;
  }
};

struct asking : workflow<asking> {
  static constexpr std::string_view type = "asking";

  flow<json> run(context& ctx, json by) {
    co_return co_await ctx.call("tally", "a", "add_late", by, {.timeout = 0ms}).required();
  }
};

constexpr std::string_view forgotten = R"("code":"reply_forgotten")";

struct tally_node {
  explicit tally_node(std::uint64_t events_kept) {
    REQUIRE(code.add(tally::definition()));
    broker.settings.workflows.agent_messages = 10;
    broker.settings.workflows.agent_events_kept = events_kept;
    broker.settings.topics.retention_check_ms = 100;
    broker.crash();
  }

  static call_agent adding(const std::string& id, int by) {
    call_agent call;
    call.topic = virtual_broker::topic("workflow.agent.tally.a");
    call.type = "agent:tally";
    call.message = "add";
    call.payload = std::to_string(by);
    call.id = id;
    return call;
  }

  /// Of one who asks until he has recorded the answer.
  std::string once(const std::string& id, std::optional<time_ms> sent_since = std::nullopt) {
    auto call = adding(id, 1000);
    call.wait_ms = 10'000;
    call.is_once = true;
    call.sent_since = sent_since;
    const auto answer = broker.ask_now(std::move(call));
    if (!answer) FAIL(answer.error().detail);
    return std::get<workflow_answer>(*answer).body;
  }

  /// So many messages of others, each of which adds 1.
  void talk(int count) {
    for (int i = 1; i <= count; ++i) {
      (void)broker.ask(adding(fmt::format("other{}", ++others), 1));
      if (i % 100 == 0) broker.settle();
    }
    broker.advance(1s);
  }

  std::string shown(const std::string& id) {
    const auto answer = broker.ask_now(get_workflow{virtual_broker::topic("workflow." + id)});
    if (!answer) FAIL(answer.error().detail);
    return std::get<workflow_answer>(*answer).body;
  }

  int others = 0;
  runtime::workflow_registry code;
  virtual_broker broker{{}, &code};
};

}  // namespace

TEST_CASE("a call is not handled twice though its agent has forgotten the reply", "[actors]") {
  tally_node node{5};
  const auto without_caller = node.code;
  REQUIRE(node.code.add(asking::definition()));
  const auto w = virtual_broker::topic("workflow.w");
  REQUIRE(node.broker.ask_now(start_workflow{w, "asking", "1000", {}, {}}));
  node.broker.settle();
  // The reply comes while nobody can hear it.
  node.code = without_caller;
  node.broker.crash();
  node.broker.advance(2s);
  const bool is_long = GENERATE(false, true);
  const int count = is_long ? 2300 : 100;
  node.talk(count);
  const auto state = fmt::format(R"("state":{},"steps")", 1000 + count);
  CHECK_THAT(node.shown("agent.tally.a"), Catch::Contains(state));
  REQUIRE(node.code.add(asking::definition()));
  node.broker.crash();
  node.broker.advance(2s);
  CHECK_THAT(
      node.shown("w"),
      Catch::Contains(R"("status":"failed")") && Catch::Contains(std::string{forgotten}));
  CHECK_THAT(node.shown("agent.tally.a"), Catch::Contains(state));
}

TEST_CASE("a call that its agent has never heard is sent again, however old it is", "[actors]") {
  tally_node node{5};
  node.talk(300);
  REQUIRE(node.code.add(asking::definition()));
  // The node dies before the agent has it.
  const auto w = virtual_broker::topic("workflow.w");
  (void)node.broker.ask(start_workflow{w, "asking", "1000", {}, {}});
  node.broker.run();
  node.broker.journal.commit(1);
  node.broker.crash();
  node.broker.advance(2s);
  CHECK_THAT(node.shown("w"), Catch::Contains(R"("result":1300)"));
}

TEST_CASE("an agent finds what it has answered in its channel", "[actors]") {
  tally_node node{1000};
  CHECK_THAT(node.once("m"), Catch::Contains(R"("duplicate":false,"result":1000)"));
  node.talk(100);
  node.broker.crash();
  CHECK_THAT(node.once("m"), Catch::Contains(R"("duplicate":true,"result":1000)"));
  CHECK_THAT(node.shown("agent.tally.a"), Catch::Contains(R"("state":1100,"steps")"));
}

TEST_CASE("an agent tells what it has answered from what it has not heard", "[actors]") {
  tally_node node{5};
  const time_ms long_ago{};
  CHECK_THAT(node.once("m"), Catch::Contains(R"("duplicate":false,"result":1000)"));
  node.talk(300);
  CHECK_THAT(node.once("m"), Catch::Contains(std::string{forgotten}));
  CHECK_THAT(node.once("new1", long_ago), Catch::Contains(R"("result":2300)"));
  node.broker.crash();
  CHECK_THAT(node.once("m"), Catch::Contains(std::string{forgotten}));
  CHECK_THAT(node.once("new2", long_ago), Catch::Contains(R"("result":3300)"));
  // More than it keeps in mind: of what may be that old it cannot know.
  node.talk(2300);
  const auto before =
      node.broker.journal.shard_time(node.broker.shard_of("workflow.agent.tally.a"));
  CHECK_THAT(node.once("m", long_ago), Catch::Contains(std::string{forgotten}));
  CHECK_THAT(node.once("new3", long_ago), Catch::Contains(std::string{forgotten}));
  CHECK_THAT(node.once("new3", before), Catch::Contains(R"("result":6600)"));
  CHECK_THAT(node.once("new4"), Catch::Contains(R"("result":7600)"));
}

TEST_CASE("what an agent has in mind of its messages is no reason to go on as new", "[actors]") {
  tally_node node{1000};
  node.broker.settings.workflows.agent_messages = 1000;
  node.broker.settings.workflows.agent_history_bytes = 4096;
  node.broker.crash();
  node.talk(2000);
  const auto run_of = [&] {
    const auto text = node.shown("agent.tally.a");
    const auto at = text.find(R"("run":)") + 6;
    return std::stoi(text.substr(at));
  };
  const auto before = run_of();
  node.talk(20);
  CHECK(run_of() <= before + 1);
}

}  // namespace callboard::testing
