// How long a workflow is kept that has ended, and that one which is begun anew stays: on virtual
// time.
#include "actors/run_rerun_reads.hpp"
#include "actors/run_sweep.hpp"
#include "runtime/workflow/run_rerun.hpp"

#include "tests/actors/group/group_client.hpp"
#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json/parse.hpp>

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <cstdint>
#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// Counts, with much to forget.
struct tally : agent<tally, std::int64_t> {
  static constexpr std::string_view type = "tally";

  static void handlers(handler_table<tally>& on) { on.message("add", &tally::add); }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }
};

struct brief_workflow : workflow<brief_workflow> {
  static constexpr std::string_view type = "test.brief";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.step("only", [] { return 1; }).required();
    co_return json(2);
  }
};

/// Goes on as new as often as it is told, then waits.
struct relay_workflow : workflow<relay_workflow> {
  static constexpr std::string_view type = "test.relay";

  flow<json> run(context& ctx, json left) {
    for (int i = 0; i < 5; ++i)
      (void)co_await ctx.step("lap", [i] { return i; }).required();
    if (left.as_int64() > 0) co_return ctx.continue_as_new(left.as_int64() - 1);
    (void)co_await ctx.signal("stop").required();
    co_return json("over");
  }
};

config kept_for(std::chrono::seconds kept) {
  config settings;
  settings.workflows.retention_s = static_cast<std::uint64_t>(kept.count());
  settings.workflows.sweep_ms = 1000;
  return settings;
}

class retention_fixture {
public:
  retention_fixture() { REQUIRE(workflows.add(brief_workflow::definition())); }

  void start(virtual_broker& broker, const std::string& id) {
    REQUIRE(
        broker.ask_now(start_workflow{broker.topic("workflow." + id), "test.brief", "1", {}, {}}));
    broker.advance(100ms);
    CHECK(status(broker, id) == "completed");
  }

  /// Empty: there is no such workflow.
  std::string status(virtual_broker& broker, const std::string& id) {
    const auto answer = broker.ask_now(get_workflow{broker.topic("workflow." + id)});
    if (!answer) {
      CHECK(answer.error().code == errc::workflow_not_found);
      return {};
    }
    const auto body = boost::json::parse(std::get<workflow_answer>(*answer).body);
    return std::string{body.at("status").as_string()};
  }

  runtime::workflow_registry workflows;
};

}  // namespace

TEST_CASE_METHOD(retention_fixture, "a workflow goes when its retention is over", "[actors]") {
  virtual_broker broker{kept_for(60s), &workflows};
  start(broker, "w1");
  broker.advance(55s);
  CHECK(status(broker, "w1") == "completed");
  broker.advance(10s);
  CHECK(status(broker, "w1").empty());
}

TEST_CASE_METHOD(retention_fixture, "a workflow waits for who reads its channel", "[actors]") {
  group_client broker{kept_for(60s), &workflows};
  start(broker, "w1");
  start(broker, "w2");
  start(broker, "w3");
  const auto heard = broker.group("workflow.w1", "readers");
  for (const auto& which : {heard, broker.group("workflow.w2", "readers")}) {
    (void)broker.make_group({.group = which, .from = runtime::from_first{}});
  }
  broker.advance(70s);
  CHECK(status(broker, "w1") == "completed");
  CHECK(status(broker, "w2") == "completed");
  CHECK(status(broker, "w3").empty());
  (void)broker.ack(heard, broker.fetch(heard, "a", 100));
  broker.advance(5s);
  CHECK(status(broker, "w1").empty());
  CHECK(status(broker, "w2") == "completed");
  // Not for ever.
  broker.tick(owing_kept_max);
  broker.advance(5s);
  CHECK(status(broker, "w2").empty());
}

TEST_CASE_METHOD(retention_fixture, "one that is begun anew has a retention anew", "[actors]") {
  virtual_broker broker{kept_for(60s), &workflows};
  start(broker, "w1");
  start(broker, "w2");
  broker.advance(55s);
  REQUIRE(broker.ask_now(restart_workflow{
      broker.topic("workflow.w1"), {.from = "only", .reason = "again", .who = "ann"}}));
  broker.advance(10s);
  CHECK(status(broker, "w1") == "completed");
  CHECK(status(broker, "w2").empty());
}

TEST_CASE("a topic with a retention by age leaves memory while it has events", "[actors]") {
  virtual_broker broker;
  put_topic settings{broker.topic("aged"), {}};
  settings.patch.retention_age_s = 3600;
  REQUIRE(broker.ask_now(settings));
  broker.publish("aged", {"e1"});
  broker.settle();
  CHECK(broker.topics_active() == 1);
  broker.advance(90s);
  CHECK(broker.topics_active() == 0);
  // The event is not as old yet.
  CHECK(broker.ask_now(get_topic{broker.topic("aged")}));
  for (int i = 0; i < 40; ++i) {
    broker.tick(100s);
    broker.settle();
  }
  const auto left = broker.ask_now(get_topic{broker.topic("aged")});
  REQUIRE(left);
  CHECK(std::get<topic_description>(*left).first_seq == sequence{2});
}

TEST_CASE("an agent leaves memory a moment after its retention", "[actors]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(tally::definition()));
  virtual_broker broker{{}, &code};
  for (int i = 0; i < 700; ++i) {
    call_agent call{.topic = broker.topic("workflow.agent.tally.k"), .type = "agent:tally"};
    call.message = "add";
    call.payload = "1";
    call.id = "m" + std::to_string(i);
    REQUIRE(broker.ask_now(call));
  }
  const auto first = [&] {
    const auto shown = broker.ask_now(get_topic{broker.topic("workflow.agent.tally.k")});
    return std::get<topic_description>(shown.value()).first_seq.raw();
  };
  REQUIRE(first() == 1);
  broker.advance(6s);
  CHECK(broker.topics_active() == 0);
  CHECK(first() > 1);
}

TEST_CASE("what a workflow has gone on from goes, but for its last events", "[actors]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(relay_workflow::definition()));
  const std::uint64_t kept = GENERATE(as<std::uint64_t>{}, 0, 40, 3);
  config settings;
  settings.workflows.events_kept = kept;
  virtual_broker broker{settings, &code};
  const auto channel = broker.topic("workflow.w");
  REQUIRE(broker.ask_now(start_workflow{channel, "test.relay", "30", {}, {}}));
  broker.settle();
  broker.advance(10s);
  const auto shown = broker.ask_now(get_topic{channel});
  const auto topic = std::get<topic_description>(shown.value());
  // 31 runs of a start, five steps issued and ended, and an end or a signal that is waited for.
  REQUIRE(topic.last_seq.raw() == 31 * 12);
  const auto of_last_run = std::uint64_t{12};
  const auto stay = kept == 0 ? 31 * 12 : std::max(kept, of_last_run);
  CHECK(topic.last_seq.raw() + 1 - topic.first_seq.raw() == stay);

  REQUIRE(broker.ask_now(signal_workflow{channel, "stop", "1", ""}));
  broker.advance(100ms);
  const auto answer = broker.ask_now(get_workflow{channel});
  const auto body = boost::json::parse(std::get<workflow_answer>(answer.value()).body);
  CHECK(body.at("result") == "over");
}

TEST_CASE("a record that was let go of while it is copied is not copied in part", "[actors]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(relay_workflow::definition()));
  config settings;
  settings.workflows.events_kept = 40;
  virtual_broker broker{settings, &code};
  const auto channel = broker.topic("workflow.w");
  REQUIRE(broker.ask_now(start_workflow{channel, "test.relay", "30", {}, {}}));
  broker.advance(10s);
  // Each of 31 runs has 12 events, and what goes goes in the middle of the 28th.
  const auto shown = broker.ask_now(get_topic{channel});
  REQUIRE(std::get<topic_description>(shown.value()).first_seq == sequence{333});
  const auto slice = read_rerun_slice(broker.journal, channel, 28, sequence{325}, 10);
  REQUIRE_FALSE(slice);
  CHECK(slice.error().code == errc::overloaded);
  CHECK(read_rerun_slice(broker.journal, channel, 29, sequence{337}, 10));
}

TEST_CASE("a channel waits for its groups, and what one misses is told", "[actors]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(relay_workflow::definition()));
  config settings;
  settings.workflows.events_kept = 20;
  settings.workflows.events_held_max = 100;
  group_client broker{settings, &code};
  const auto channel = broker.topic("workflow.w");
  const auto first = [&] {
    return std::get<topic_description>(broker.ask_now(get_topic{channel}).value()).first_seq.raw();
  };
  const auto laps = [&](int count) {
    REQUIRE(broker.ask_now(start_workflow{channel, "test.relay", std::to_string(count), {}, {}}));
    broker.advance(10s);
  };

  SECTION("within the bound nothing goes before the group has it, also over a restart") {
    REQUIRE(broker.ask_now(start_workflow{channel, "test.relay", "1", {}, {}}));
    const auto which = broker.group("workflow.w", "readers");
    (void)broker.make_group({.group = which, .from = runtime::from_first{}});
    REQUIRE(broker.ask_now(signal_workflow{channel, "stop", "1", ""}));
    REQUIRE(broker.ask_now(restart_workflow{channel, {.reason = "again", .who = "ann"}}));
    broker.advance(10s);
    CHECK(first() == 1);
    broker.crash();
    broker.advance(10s);
    CHECK(first() == 1);
    const auto got = broker.fetch(which, "m", 1000);
    CHECK(got.size() == broker.describe(which).last_seq.raw());
    REQUIRE(broker.ack(which, got).lost.empty());
    broker.advance(90s);
    CHECK(first() > 1);
    CHECK(broker.describe(which).missed == 0);
  }

  SECTION("what is beyond the bound goes, and the group says how many") {
    laps(1);
    const auto begin = first();
    const auto which = broker.group("workflow.w", "readers");
    (void)broker.make_group({.group = which, .from = runtime::from_first{}});
    for (int i = 0; i < 10; ++i) {
      REQUIRE(broker.ask_now(restart_workflow{channel, {.reason = "again", .who = "ann"}}));
      broker.advance(90s);
    }
    const auto described = broker.describe(which);
    CHECK(described.last_seq.raw() - first() + 1 == 100);
    CHECK(described.missed == first() - begin);
    broker.crash();
    CHECK(broker.describe(which).missed == first() - begin);
  }

  SECTION("without groups only what is kept stays") {
    laps(30);
    CHECK(first() > 300);
  }
}

TEST_CASE_METHOD(
    retention_fixture,
    "a restart and the deletion at the same moment do not both win",
    "[actors]") {
  virtual_broker broker{kept_for(0s), &workflows};
  start(broker, "w1");
  const auto channel = broker.topic("workflow.w1");
  const delete_topic deletion{
      channel, broker.journal.shard_time(broker.shard_of("workflow.w1")) + 1h};
  const restart_workflow again{channel, {.from = "only", .reason = "again", .who = "ann"}};
  const bool restart_is_first = GENERATE(true, false);
  const auto first = restart_is_first ? broker.ask(again) : broker.ask(deletion);
  broker.run();
  const auto second = restart_is_first ? broker.ask(deletion) : broker.ask(again);
  broker.settle();
  broker.advance(200ms);
  REQUIRE(broker.got.answered.contains(first));
  REQUIRE(broker.got.answered.contains(second));
  CHECK(broker.got.answered.at(first));
  REQUIRE_FALSE(broker.got.answered.at(second));
  CHECK(
      broker.got.answered.at(second).error().code
      == (restart_is_first ? errc::wrong_kind : errc::workflow_not_found));
  CHECK(status(broker, "w1") == (restart_is_first ? "completed" : ""));
}

}  // namespace callboard::testing
