// How many runs do what, in gauges: by what is committed, and again after a restart.
#include "actors/run_census.hpp"

#include "tests/actors/topic/virtual_broker.hpp"

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// Waits for a signal, then for an agent that takes its time.
struct counted : workflow<counted> {
  static constexpr std::string_view type = "test.counted";

  flow<int> run(context& ctx, bool has_call) {
    co_await ctx.signal("go").required();
    if (has_call) co_await ctx.call<int>("tally", "x", "add", 1, {.timeout = 0ms}).required();
    co_return 1;
  }
};

struct counted_agent : agent<counted_agent, int> {
  static constexpr std::string_view type = "tally";

  static void handlers(handler_table<counted_agent>& on) { on.message("add", &counted_agent::add); }

  flow<int> add(context& ctx, int) {
    co_await ctx.sleep(24h).required();
    co_return 1;
  }
};

class census_fixture {
public:
  census_fixture() {
    REQUIRE(workflows.add(counted::definition()));
    REQUIRE(workflows.add(counted_agent::definition()));
    broker = std::make_unique<virtual_broker>(config{}, &workflows);
    // Each shard is looked through for the first time.
    broker->advance(2s);
  }

  void start(const std::string& id, bool has_call) {
    REQUIRE(broker->ask_now(start_workflow{
        virtual_broker::topic("workflow." + id),
        "test.counted",
        has_call ? "true" : "false",
        {},
        {}}));
  }

  void signal(const std::string& id) {
    REQUIRE(
        broker->ask_now(signal_workflow{virtual_broker::topic("workflow." + id), "go", "1", ""}));
    broker->advance(100ms);
  }

  /// Those that run, wait and are blocked.
  std::vector<int> runs(const std::string& kind = "workflow") {
    std::vector<int> all;
    for (const auto* state : {"running", "waiting", "blocked"}) {
      const auto value = broker->gauge("workflow_runs", {{"kind", kind}, {"state", state}});
      all.push_back(static_cast<int>(value));
    }
    return all;
  }

  runtime::workflow_registry workflows;
  std::unique_ptr<virtual_broker> broker;
};

}  // namespace

TEST_CASE_METHOD(census_fixture, "runs are counted by what they do", "[actors][workflow]") {
  CHECK(runs() == std::vector{0, 0, 0});
  for (const auto* id : {"a", "b", "c"})
    start(id, true);
  CHECK(runs() == std::vector{0, 3, 0});
  signal("a");
  CHECK(runs() == std::vector{1, 2, 0});
  CHECK(runs("agent") == std::vector{0, 1, 0});
  start("d", false);
  signal("d");
  CHECK(runs() == std::vector{1, 2, 0});

  SECTION("they are counted anew, to the same") {
    broker->advance(3min);
    CHECK(runs() == std::vector{1, 2, 0});
    CHECK(runs("agent") == std::vector{0, 1, 0});
  }
  SECTION("also after a restart") {
    broker->crash();
    broker->advance(2s);
    CHECK(runs() == std::vector{1, 2, 0});
    CHECK(runs("agent") == std::vector{0, 1, 0});
    signal("b");
    CHECK(runs() == std::vector{2, 1, 0});
  }
}

TEST_CASE_METHOD(
    census_fixture, "an agent that is deleted is counted no more", "[actors][workflow]") {
  start("a", true);
  signal("a");
  REQUIRE(runs("agent") == std::vector{0, 1, 0});
  // Else it would call it again.
  REQUIRE(broker->ask_now(
      terminate_workflow{virtual_broker::topic("workflow.a"), "calls no more", "ann"}));
  REQUIRE(broker->ask_now(delete_topic{virtual_broker::topic("workflow.agent.tally.x")}));
  CHECK(runs("agent") == std::vector{0, 0, 0});
  broker->advance(3min);
  CHECK(runs("agent") == std::vector{0, 0, 0});
}

TEST_CASE("what moves while rows are read is counted once", "[actors][workflow]") {
  metrics counters;
  run_census census{counters, 1};
  const shard_id shard{0};
  const auto channel = virtual_broker::topic("workflow.a");
  runtime::workflow_row waits;
  waits.type = "test";
  auto works = waits;
  works.needs_wake = true;
  run_census::counts waiting{};
  run_census::counts working{};
  run_census::add(waiting, waits, false);
  run_census::add(working, works, false);
  const auto shown = [&] {
    const auto text = counters.expose();
    const auto at = [&](const std::string& state) {
      const auto line = "callboard_workflow_runs{kind=\"workflow\",state=\"" + state + "\"} ";
      const auto found = text.find(line);
      REQUIRE(found != std::string::npos);
      return text[found + line.size()] - '0';
    };
    return std::vector<int>{at("running"), at("waiting")};
  };
  // Read as it was before, as it became, or not at all as it began meanwhile.
  const auto read_as = GENERATE(0, 1, 2);
  if (read_as != 2) census.moved(shard, channel, nullptr, &waits);
  census.begin_count(shard);
  if (read_as == 2) census.moved(shard, channel, nullptr, &waits);
  census.moved(shard, channel, &waits, &works);
  const auto read = read_as == 0 ? waiting : read_as == 1 ? working : run_census::counts{};
  int asked = 0;
  census.end_count(shard, read, [&](const topic_ref& which) {
    CHECK(which == channel);
    // Goes on moving.
    if (++asked == 1) census.moved(shard, channel, &works, &waits);
    return read;
  });
  CHECK(asked == 1);
  CHECK(shown() == std::vector{0, 1});
  census.moved(shard, channel, &waits, nullptr);
  CHECK(shown() == std::vector{0, 0});
}

TEST_CASE("runs without code are counted as blocked", "[actors][workflow]") {
  runtime::workflow_registry workflows;
  REQUIRE(workflows.add(counted::definition()));
  virtual_broker broker{config{}, &workflows};
  REQUIRE(broker.ask_now(
      start_workflow{virtual_broker::topic("workflow.a"), "test.counted", "false", {}, {}}));
  workflows = {};
  broker.crash();
  broker.advance(2s);
  CHECK(broker.gauge("workflow_runs", {{"kind", "workflow"}, {"state", "blocked"}}) == 1);
}

}  // namespace callboard::testing
