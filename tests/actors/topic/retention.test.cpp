// How long a workflow is kept that has ended, and that one which is begun anew stays: on virtual
// time.
#include "runtime/workflow/run_rerun.hpp"

#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json/parse.hpp>

#include <callboard/workflow.hpp>
#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

struct brief_workflow : workflow<brief_workflow> {
  static constexpr std::string_view type = "test.brief";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.step("only", [] { return 1; }).required();
    co_return json(2);
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
