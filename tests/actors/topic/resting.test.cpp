// What runs that wait cost: nothing in memory, nor at a start, whatever it is that they wait for;
// and each is woken when it comes, wherever the node is killed meanwhile.
#include "runtime/workflow/agent_names.hpp"

#include "tests/actors/topic/foreign_record.hpp"
#include "tests/actors/topic/mortal_broker.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <atomic>
#include <callboard/agent.hpp>
#include <string>
#include <vector>

namespace callboard::testing {

namespace {

struct sleepy_workflow : workflow<sleepy_workflow> {
  static constexpr std::string_view type = "test.sleepy";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

struct parent_workflow : workflow<parent_workflow> {
  static constexpr std::string_view type = "test.parent";

  flow<json> run(context& ctx, json) {
    co_return co_await ctx.child("test.sleepy", 1, {.id = "kid"}).required();
  }
};

struct ordering_workflow : workflow<ordering_workflow> {
  static constexpr std::string_view type = "test.ordering";

  flow<json> run(context& ctx, json) { co_return co_await ctx.task("llm", 1).required(); }
};

/// Answers when its task is done.
struct slow_agent : agent<slow_agent, std::int64_t> {
  static constexpr std::string_view type = "slow";

  static void handlers(handler_table<slow_agent>& on) { on.message("ask", &slow_agent::ask); }

  flow<json> ask(context& ctx, json) {
    ++state();
    co_return co_await ctx.task("llm", 1).required();
  }
};

struct caller_workflow : workflow<caller_workflow> {
  static constexpr std::string_view type = "test.caller";

  flow<json> run(context& ctx, json) {
    auto told = co_await ctx.call("slow", "a", "ask", 1, {.timeout = 0ms});
    if (!told) co_return told.error().code;
    co_return *told;
  }
};

std::atomic<int> dozes{0};

struct dormant_workflow : workflow<dormant_workflow> {
  static constexpr std::string_view type = "test.dormant";

  flow<json> run(context& ctx, json how) {
    ++dozes;
    using std::chrono::milliseconds;
    if (how == json("sleep")) co_await ctx.sleep(milliseconds::max());
    if (how == json("signal")) co_await ctx.signal("go", std::chrono::hours::max());
    if (how == json("task")) co_await ctx.task("llm", 1, {.timeout = milliseconds::max()});
    if (how == json("until")) {
      co_await ctx.sleep_until(std::chrono::sys_time<milliseconds>::max());
    }
    co_return json{};
  }
};

std::atomic<int> knocks{0};

/// Is put off by an hour, and then by the policy for half a minute.
struct knocking_workflow : workflow<knocking_workflow> {
  static constexpr std::string_view type = "test.knocking";

  flow<json> run(context& ctx, json) {
    const retry_policy slowly{.first_delay_ms = 40'000, .delay_max_ms = 40'000};
    co_return co_await ctx
        .step(
            "knock",
            [](const step_attempt& attempt) -> outcome<int> {
              ++knocks;
              if (attempt.number == 1) {
                return std::unexpected{failure{failure_class::rate, "later", "", 3'600'000}};
              }
              if (attempt.number == 2) {
                return std::unexpected{failure{failure_class::retryable, "busy", ""}};
              }
              return 5;
            },
            slowly)
        .required();
  }
};

/// Is put off once by ten seconds, and then waits for somebody.
struct late_once_workflow : workflow<late_once_workflow> {
  static constexpr std::string_view type = "test.late_once";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx
        .step(
            "knock",
            [](const step_attempt& attempt) -> outcome<int> {
              if (attempt.number > 1) return 5;
              return std::unexpected{failure{failure_class::rate, "later", "", 10'000}};
            })
        .required();
    co_return co_await ctx.signal("go").required();
  }
};

/// The sum of what so many children give.
struct wide_workflow : workflow<wide_workflow> {
  static constexpr std::string_view type = "test.wide";

  flow<json> run(context& ctx, std::int64_t width) {
    std::vector<flow<json>> kids;
    for (std::int64_t i = 0; i < width; ++i)
      kids.push_back(ctx.child("test.sleepy", i, {.id = "kid" + std::to_string(i)}).required());
    std::int64_t sum = 0;
    for (const auto& one : co_await all(std::move(kids)))
      sum += one.to_number<std::int64_t>();
    co_return sum;
  }
};

struct resting_node : mortal_broker {
  explicit resting_node(std::size_t life = SIZE_MAX) : mortal_broker{life} {
    if (!code.add(sleepy_workflow::definition()) || !code.add(parent_workflow::definition())
        || !code.add(ordering_workflow::definition()) || !code.add(slow_agent::definition())
        || !code.add(caller_workflow::definition()) || !code.add(wide_workflow::definition())
        || !code.add(knocking_workflow::definition()) || !code.add(dormant_workflow::definition())
        || !code.add(late_once_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  /// Neither runs nor the channels of others are in memory.
  [[nodiscard]] bool rests() { return broker.topics_active() == 0; }

  /// Rows of timers in the shard of a workflow, as far as the views are.
  std::size_t timers_near(const std::string& id) {
    auto reader = broker.journal.read(broker.shard_of("workflow." + id));
    std::size_t timers = 0;
    (void)(*reader)->scan(storage::view_id::workflow_timer, {}, {}, [&](auto, auto) {
      ++timers;
      return true;
    });
    return timers;
  }

  /// However often it takes, as answers are lost with the node.
  void finish_task() {
    REQUIRE(comes([&] {
      lease_tasks ask_one{queue(), {}};
      ask_one.lease.worker = "w";
      ask_one.lease.lease_ms = 1000;
      for (const auto& task : get<leased_tasks>(ask_one).tasks) {
        actors::complete_task done{queue().tenant, {}};
        done.complete.lease = task.lease;
        done.complete.result = "5";
        (void)ask(done);
      }
      return open_tasks() == 0;
    }));
  }
};

enum class wait_for { child, borrowed, task, reply };

std::string type_of(wait_for what) {
  switch (what) {
  case wait_for::child:
  case wait_for::borrowed:
    return "test.parent";
  case wait_for::task:
    return "test.ordering";
  case wait_for::reply:
    break;
  }
  return "test.caller";
}

}  // namespace

TEST_CASE(
    "a run that waits for others leaves memory and is woken, wherever the node is killed",
    "[actors][workflow]") {
  const auto what = GENERATE(wait_for::child, wait_for::borrowed, wait_for::task, wait_for::reply);
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("waits for " << static_cast<int>(what) << ", killed after " << life << " commits");
    REQUIRE(life < 100);
    resting_node node{life};
    if (what == wait_for::borrowed) node.begin("kid", "test.sleepy", "1");
    node.begin("w", type_of(what));
    node.pass(30s);
    REQUIRE(node.comes([&] { return node.rests(); }));
    const bool is_child = what == wait_for::child || what == wait_for::borrowed;
    if (is_child) {
      node.signal("kid", "go");
    } else {
      node.finish_task();
    }
    // Nobody asks for it.
    node.pass(5s);
    was_killed = node.was_killed;
    REQUIRE(node.row("w").ended);
    CHECK(node.row("w").result == (is_child ? "7" : "5"));
    CHECK(node.comes([&] { return node.rests(); }));
  }
}

TEST_CASE("a start does not load runs that others will wake", "[actors][workflow]") {
  const auto what = GENERATE(wait_for::child, wait_for::task);
  resting_node node;
  node.begin("w", type_of(what));
  node.pass(5s);
  REQUIRE(node.rests());
  CHECK_FALSE(node.row("w").needs_wake);
  CHECK(node.row("w").accepted == std::vector<std::uint32_t>{1});
  node.broker.crash();
  CHECK(node.rests());
  node.pass(5s);
  CHECK(node.rests());
  // Read again it does not ask again for what is there.
  CHECK(
      says(node.explained("w"), what == wait_for::child ? "'kid', which is running" : "no worker"));
  if (what == wait_for::child) {
    node.signal("kid", "go");
  } else {
    CHECK(node.open_tasks() == 1);
    node.complete_task();
  }
  node.pass(1s);
  CHECK(node.row("w").ended);
}

TEST_CASE("whoever waits for a child of others is woken however it ends", "[actors][workflow]") {
  resting_node node;
  node.begin("kid", "test.sleepy", "1");
  for (const auto* id : {"w1", "w2"})
    node.begin(id, "test.parent");
  node.pass(30s);
  REQUIRE(node.comes([&] { return node.rests(); }));
  CHECK(node.row("kid").watchers.size() == 2);
  CHECK(node.row("w1").accepted.empty());
  if (GENERATE(false, true)) {
    // Those that wait ask anew.
    node.broker.crash();
    node.pass(30s);
    REQUIRE(node.comes([&] { return node.rests(); }));
    CHECK(node.row("kid").watchers.size() == 2);
  }
  const bool is_cancelled = GENERATE(false, true);
  if (is_cancelled) {
    (void)node.ask(actors::cancel_workflow{virtual_broker::topic("workflow.kid"), {}});
  } else {
    (void)node.ask(actors::terminate_workflow{virtual_broker::topic("workflow.kid"), {}});
  }
  node.pass(5s);
  for (const auto* id : {"w1", "w2"}) {
    REQUIRE(node.row(id).ended);
    CHECK(node.row(id).why.value().code == (is_cancelled ? "child_cancelled" : "terminated"));
  }
  CHECK(node.row("kid").watchers.empty());
  CHECK(node.comes([&] { return node.rests(); }));
}

TEST_CASE(
    "a child of others that is deleted when it has ended is not begun anew by who waits for it",
    "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    resting_node node{life};
    node.begin("kid", "test.sleepy", "1");
    node.begin("w", "test.parent");
    node.pass(30s);
    REQUIRE(node.comes([&] { return node.rests(); }));
    node.signal("kid", "go");
    const delete_topic away{virtual_broker::topic("workflow.kid")};
    REQUIRE(node.comes([&] { return node.ask(away).has_value(); }));
    node.pass(5s);
    was_killed = node.was_killed;
    CHECK(node.row("w").result == "7");
    CHECK_FALSE(node.ask(away).has_value());
    CHECK(node.comes([&] { return node.rests(); }));
  }
}

TEST_CASE("a run that waits for ever is not looked at", "[actors][workflow]") {
  const std::string how = GENERATE("sleep", "signal", "task", "until");
  INFO(how);
  resting_node node;
  node.begin("w", "test.dormant", '"' + how + '"');
  node.pass(30s);
  REQUIRE(node.rests());
  const int dozed = dozes;
  for (int second = 0; second < 30; ++second) {
    node.pass(1s);
    REQUIRE(node.rests());
  }
  CHECK(dozes == dozed);
  node.broker.crash();
  node.pass(30s);
  CHECK(node.rests());
  node.broker.tick(std::chrono::days{40'000});
  node.pass(5s);
  CHECK_FALSE(node.row("w").ended);
  CHECK(says(node.explained("w"), R"("next_wake_ms":253402300799999)"));
}

TEST_CASE("what a run costs to load is shown with the reading", "[actors][workflow]") {
  resting_node node;
  node.begin("w", "test.sleepy");
  node.pass(30s);
  REQUIRE(node.rests());
  node.broker.journal.on_read([&] { node.broker.time.advance(500ms); });
  const auto told = boost::json::parse(node.explained("w")).as_object();
  node.broker.journal.on_read({});
  CHECK(told.at("replay_ms").to_number<std::int64_t>() >= 500);
  // So it stays for longer than a run that is read in no time.
  node.pass(4s);
  CHECK_FALSE(node.rests());
  CHECK(node.comes([&] { return node.rests(); }));
}

TEST_CASE("a caller that cannot be read now is woken again", "[actors][workflow]") {
  resting_node node;
  const auto agent = runtime::agent_channel("slow", "a").value();
  std::string id = "w";
  while (node.broker.shard_of("workflow." + id) == node.broker.shard_of(agent.str()))
    id += 'w';
  node.begin(id, "test.caller");
  node.pass(30s);
  REQUIRE(node.comes([&] { return node.rests(); }));
  const auto shard = node.broker.shard_of("workflow." + id);
  node.broker.journal.refuse_reads(shard, error{errc::io_error, "no luck", 0});
  node.complete_task();
  node.pass(3s);
  CHECK_FALSE(node.rests());
  node.broker.journal.refuse_reads(shard, std::nullopt);
  CHECK_FALSE(node.row(id).ended);
  node.pass(15s);
  CHECK(node.row(id).result == "5");
  CHECK(node.rests());
}

TEST_CASE("a caller hears though only the shard of its agent is read again", "[actors][workflow]") {
  const auto agent = runtime::agent_channel("slow", "a").value();
  for (int commits = 0; commits < 12; ++commits) {
    INFO("an append is lost after " << commits << " commits");
    resting_node node;
    std::string id = "w";
    while (node.broker.shard_of("workflow." + id) == node.broker.shard_of(agent.str()))
      id += 'w';
    node.begin(id, "test.caller");
    node.pass(30s);
    REQUIRE(node.comes([&] { return node.rests(); }));
    lease_tasks lease{node.queue(), {}};
    lease.lease.worker = "w";
    const auto given = node.get<leased_tasks>(lease);
    REQUIRE(given.tasks.size() == 1);
    complete_task done{node.queue().tenant, {}};
    done.complete.lease = given.tasks.front().lease;
    done.complete.result = "5";
    (void)node.broker.ask(done);
    for (int i = 0; i < commits; ++i) {
      node.broker.run();
      (void)node.broker.journal.commit();
    }
    node.broker.run();
    // It is on disk, and those who wrote it do not know.
    node.broker.journal.fail_next(error{errc::outcome_unknown, "no luck", 0}, true);
    node.pass(25s);
    CHECK(node.row(id).result == "5");
  }
}

TEST_CASE("who has called an agent that is deleted calls the next one", "[actors][workflow]") {
  const auto patience = GENERATE(5s, 40s);
  resting_node node;
  node.begin("w", "test.caller");
  node.pass(patience);
  CHECK(node.rests() == (patience == 40s));
  const auto agent = runtime::agent_channel("slow", "a").value();
  (void)node.get<done>(delete_topic{virtual_broker::topic(agent.str())});
  node.pass(5s);
  // What the first had asked for is still there, and nobody waits for it.
  CHECK(node.open_tasks() == 2);
  node.complete_task();
  node.complete_task();
  node.pass(2s);
  CHECK(node.row("w").result == "5");
}

TEST_CASE("a wide fan-out rests like a narrow one", "[actors][workflow]") {
  constexpr std::size_t width = 200;
  resting_node node;
  node.begin("w", "test.wide", std::to_string(width));
  node.pass(10s);
  REQUIRE(node.comes([&] { return node.rests(); }));
  CHECK(node.row("w").accepted.size() == width);
  node.broker.crash();
  node.pass(5s);
  CHECK(node.rests());
  node.signal("kid0", "go");
  node.pass(5s);
  REQUIRE(node.rests());
  CHECK(node.row("w").accepted.size() == width - 1);
  for (std::size_t i = 1; i < width; ++i)
    node.signal("kid" + std::to_string(i), "go");
  node.pass(2s);
  CHECK(node.row("w").result == std::to_string(7 * width));
}

TEST_CASE(
    "a step that is tried again later waits on disk, wherever the node is killed",
    "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    resting_node node{life};
    knocks = 0;
    node.begin("w", "test.knocking");
    node.pass(5s);
    REQUIRE(node.comes([&] { return node.rests(); }));
    CHECK_FALSE(node.row("w").needs_wake);
    node.broker.crash();
    node.pass(5s);
    CHECK(node.rests());
    CHECK_FALSE(node.row("w").ended);
    // An eighth of an hour more at most; then 20 to 40 seconds.
    for (int i = 0; i < 70; ++i) {
      node.pass(60s);
      node.broker.journal.apply();
    }
    was_killed = node.was_killed;
    CHECK(node.row("w").result == "5");
    CHECK(knocks <= (was_killed ? 4 : 3));
    CHECK(node.rests());
    CHECK(node.timers_near("w") == 0);
  }
}

TEST_CASE("what a copy has behind it has no timers", "[actors][workflow]") {
  const bool is_fork = GENERATE(false, true);
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO((is_fork ? "fork" : "restart") << ", killed after " << life << " commits");
    REQUIRE(life < 100);
    resting_node node{life};
    node.begin("w", "test.late_once");
    node.pass(30s);
    REQUIRE(node.comes([&] { return says(node.shown("w"), R"("kind":"signal")"); }));
    const rerun_order order{.from = is_fork ? "" : "go", .reason = "anew", .who = "ann"};
    const auto from = mortal_broker::channel("w");
    (void)node.ask(
        is_fork ? control_body{fork_workflow{from, mortal_broker::channel("w2"), order}}
                : control_body{restart_workflow{from, order}});
    node.pass(5s);
    node.broker.crash();
    node.pass(5s);
    node.broker.journal.apply();
    was_killed = node.was_killed;
    CHECK(node.rests());
    CHECK(node.timers_near(is_fork ? "w2" : "w") == 0);
  }
}

TEST_CASE("an agent that waits long answers all who called it", "[actors][workflow]") {
  resting_node node;
  for (const std::string id : {"w1", "w2", "w3"})
    node.begin(id, "test.caller");
  node.pass(30s);
  REQUIRE(node.rests());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
    node.complete_task();
    node.pass(1s);
  }
  for (const std::string id : {"w1", "w2", "w3"}) {
    INFO(id);
    CHECK(node.row(id).result == "5");
  }
}

TEST_CASE("a child that is gone is not begun anew by a start", "[actors][workflow]") {
  resting_node node;
  node.begin("w", "test.parent");
  node.pass(5s);
  REQUIRE(node.rests());
  auto lost = lose_channel(
      node.broker.journal, node.broker.shard_of("workflow.kid"), mortal_broker::channel("kid"));
  node.live();
  REQUIRE(lost.get());
  node.broker.crash();
  node.pass(150s);
  CHECK(says(node.explained("w"), "child_missing"));
  CHECK(says(node.shown("kid"), "no workflow"));
  (void)node.get<workflow_answer>(
      resolve_command{mortal_broker::channel("w"), 1, "resolved", "gone", "ann", "5", false});
  node.pass(1s);
  CHECK(node.row("w").result == "5");
}

}  // namespace callboard::testing
