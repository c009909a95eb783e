// Runs that hand tasks to workers, in a whole broker on the real journal: one task per command and
// one answer per task, whatever happens between them.
#include "actors/task_origin.hpp"
#include "runtime/workflow/run_codec.hpp"

#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/eventually.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// Input: how many tasks one after the other, and the timeout of each. Gives their results.
struct asking_workflow : workflow<asking_workflow> {
  static constexpr std::string_view type = "test.asking";

  flow<json> run(context& ctx, json input) {
    boost::json::array results;
    const auto count = input.at("count").as_int64();
    for (std::int64_t i = 0; i < count; ++i) {
      task_options options;
      options.attempts_max = 2;
      options.timeout = std::chrono::milliseconds{input.at("timeout_ms").as_int64()};
      auto result = co_await ctx.task("llm", i, options);
      if (!result) co_return json(result.error().code + ": " + result.error().message);
      results.push_back(std::move(*result));
    }
    co_return results;
  }
};

/// The signal `go` wins against the task.
struct racing_workflow : workflow<racing_workflow> {
  static constexpr std::string_view type = "test.racing";

  flow<json> run(context& ctx, json) {
    std::vector<flow<json>> parts;
    parts.push_back(ctx.task("llm", "race").required());
    parts.push_back(ctx.signal("go").required());
    co_return (co_await any(std::move(parts))).value;
  }
};

/// The same rows under another number, so that a restart makes them anew.
class renumbered_projection final : public runtime::broker_projection {
public:
  [[nodiscard]] std::uint32_t version() const override { return 1000; }

  void apply(std::span<const storage::record> block, storage::view_writer& out) const override {
    broker_projection::apply(block, out);
    deletions += std::ranges::count_if(block, [](const storage::record& one) {
      return one.kind == storage::record_kind::queue_closed
             || one.kind == storage::record_kind::queue_deleted;
    });
  }

  /// Records that were applied.
  mutable std::atomic<std::int64_t> deletions = 0;
};

class task_fixture : public broker_fixture {
public:
  task_fixture() {
    REQUIRE(workflows.add(asking_workflow::definition()));
    REQUIRE(workflows.add(racing_workflow::definition()));
  }

  template <class Answer>
  [[nodiscard]] Answer get(control_body body) {
    auto answer = ask(std::move(body));
    if (!answer) FAIL(answer.error().detail);
    REQUIRE(std::holds_alternative<Answer>(*answer));
    return std::get<Answer>(*std::move(answer));
  }

  void begin(const std::string& id, int count = 1, int timeout_ms = 0) {
    const auto input = R"({"count":)" + std::to_string(count) + R"(,"timeout_ms":)"
                       + std::to_string(timeout_ms) + "}";
    (void)get<workflow_answer>(
        start_workflow{topic("workflow." + id), "test.asking", input, {}, {}});
  }

  [[nodiscard]] std::string outcome_of(const std::string& id) {
    return get<workflow_answer>(await_workflow{topic("workflow." + id), 15'000}).body;
  }

  [[nodiscard]] static queue_ref which() {
    return {topic("x").tenant, queue_name::parse("llm").value()};
  }

  [[nodiscard]] std::vector<leased_task> lease(std::uint32_t wait_ms = 10'000) {
    lease_tasks ask{which(), {}};
    ask.lease.worker = "w";
    ask.lease.lease_ms = 60'000;
    ask.lease.wait_ms = wait_ms;
    return get<leased_tasks>(ask).tasks;
  }

  [[nodiscard]] leased_task lease_one() {
    auto tasks = lease();
    REQUIRE(tasks.size() == 1);
    return tasks[0];
  }

  [[nodiscard]] result<control_answer>
  complete(const leased_task& task, const std::string& with = {}) {
    complete_task done{which().tenant, {}};
    done.complete.lease = task.lease;
    done.complete.result = with;
    return ask(done);
  }

  [[nodiscard]] result<control_answer>
  give_up(const leased_task& task, const std::string& why, bool is_for_good = true) {
    fail_task ended{which().tenant, {}};
    ended.fail.lease = task.lease;
    ended.fail.error = why;
    ended.fail.retry_after_ms = std::nullopt;
    ended.fail.is_retryable = !is_for_good;
    return ask(ended);
  }

  [[nodiscard]] std::uint64_t open_tasks() {
    const auto described = get<queue_description>(get_queue{which()});
    std::uint64_t sum = described.leased;
    for (const auto count : described.waiting)
      sum += count;
    return sum;
  }

  [[nodiscard]] bool explains(const std::string& id, std::string_view what) {
    const auto body = get<workflow_answer>(explain_workflow{topic("workflow." + id)}).body;
    return body.find(what) != std::string::npos;
  }
};

bool says(const std::string& text, std::string_view what) {
  INFO(text);
  return text.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("an origin has one spelling", "[actors][queue]") {
  const task_waiter who{"workflow.a/b", 3, 17, 0xfedcba9876543210};
  CHECK(format_origin(who) == "3/17/fedcba9876543210/workflow.a/b");
  CHECK(parse_origin(format_origin(who)) == who);
  for (const auto* bad : {"", "1", "1/2", "1/2/f", "1/2/f/", "x/2/f/w", "1/2/g/w", "-1/2/f/w"}) {
    INFO(bad);
    CHECK_FALSE(parse_origin(bad));
  }
}

TEST_CASE("an origin of an event has one spelling", "[actors][queue]") {
  const task_event what{
      group_name::trusted("~b"), topic_name::trusted("a.b"), "7-1", sequence{42}};
  CHECK(format_event_origin(what) == "event/42/7-1/~b/a.b");
  CHECK(parse_event_origin(format_event_origin(what)) == what);
  CHECK_FALSE(parse_origin(format_event_origin(what)));
  for (const auto* bad :
       {"", "1/2/f/w", "event/", "event/x/7-1/~b/t", "event/1/7-1/~b", "event/1"}) {
    INFO(bad);
    CHECK_FALSE(parse_event_origin(bad));
  }
}

TEST_CASE_METHOD(task_fixture, "a run gets what a worker makes of its tasks", "[actors][queue]") {
  begin("w1", 3);
  const auto first = lease_one();
  CHECK(first.payload.view() == "0");
  CHECK(first.attempts_max == 2);
  CHECK(explains("w1", "the task in queue 'llm' to end"));
  REQUIRE(complete(first, R"({"n":1})"));
  REQUIRE(complete(lease_one(), "no JSON"));
  REQUIRE(complete(lease_one()));
  CHECK(says(outcome_of("w1"), R"("result":[{"n":1},"no JSON",null])"));
  CHECK(open_tasks() == 0);
}

TEST_CASE_METHOD(task_fixture, "a run hears once that its task is dead", "[actors][queue]") {
  begin("w1");
  REQUIRE(give_up(lease_one(), "no such model"));
  CHECK(says(outcome_of("w1"), "task_dead: no such model (after 1 attempt)"));
  runtime::dead_command redrive;
  redrive.what = runtime::dead_command::action::redrive;
  redrive.who = "ann";
  redrive.tasks = {get<dead_list>(list_dead{which(), {}, {}, 10}).tasks.at(0).state.task};
  (void)get<runtime::dead_changed>(change_dead{which(), redrive});
  REQUIRE(complete(lease_one(), "late"));
  CHECK(says(outcome_of("w1"), "task_dead: no such model"));
}

TEST_CASE_METHOD(task_fixture, "a run hears that its queue was deleted", "[actors][queue]") {
  begin("w1");
  (void)lease_one();
  (void)get<done>(delete_queue{which()});
  CHECK(says(outcome_of("w1"), "task_queue_deleted"));
  // The name is free for another queue, and its tasks are others.
  begin("w2");
  REQUIRE(complete(lease_one(), "2"));
  CHECK(says(outcome_of("w2"), R"("result":[2])"));
}

TEST_CASE_METHOD(
    task_fixture,
    "a run hears that its queue was deleted also when views were made anew since",
    "[actors][queue]") {
  begin("w1");
  REQUIRE(eventually([&] { return explains("w1", "queue 'llm'") && open_tasks() == 1; }));
  auto kept = std::exchange(workflows, {});
  restart();
  (void)get<done>(delete_queue{which()});
  // The name is another queue's when the rows are made anew.
  (void)get<queue_description>(put_queue{.queue = which()});
  const auto make_views_anew = [&] {
    auto anew = std::make_shared<renumbered_projection>();
    views = anew;
    restart();
    return anew;
  };
  const auto anew = make_views_anew();
  REQUIRE(eventually([&] { return anew->deletions != 0; }));
  (void)get<queue_description>(put_queue{.queue = which(), .lease_ms = 5'000});
  // They are complete: nothing is left to be made.
  const auto after = make_views_anew();
  CHECK(get<queue_description>(get_queue{which()}).settings.lease_ms == 5'000);
  (void)get<queue_description>(put_queue{.queue = which(), .lease_ms = 6'000});
  CHECK(after->deletions == 0);
  workflows = std::move(kept);
  restart();
  CHECK(says(outcome_of("w1"), "task_queue_deleted"));
  CHECK(open_tasks() == 0);
}

TEST_CASE_METHOD(
    task_fixture, "over restarts a command has one task and one answer", "[actors][queue]") {
  begin("w1", 2);
  REQUIRE(eventually([&] { return explains("w1", "queue 'llm'"); }));
  restart();
  const auto held = lease_one();
  CHECK(held.attempt == 1);
  restart();
  CHECK(open_tasks() == 1);
  REQUIRE(complete(held, "1"));
  restart();
  const auto second = lease_one();
  CHECK(second.payload.view() == "1");
  CHECK(open_tasks() == 1);
  REQUIRE(complete(second, "2"));
  restart();
  CHECK(says(outcome_of("w1"), R"("result":[1,2])"));
  CHECK(open_tasks() == 0);
  CHECK(lease(100).empty());
}

TEST_CASE_METHOD(
    task_fixture, "a run that goes on without its task takes it back", "[actors][queue]") {
  (void)get<workflow_answer>(start_workflow{topic("workflow.r1"), "test.racing", "null", {}, {}});
  const auto held = lease_one();
  (void)get<workflow_answer>(signal_workflow{topic("workflow.r1"), "go", "7", {}});
  CHECK(says(outcome_of("r1"), R"("result":7)"));
  REQUIRE(eventually([&] { return open_tasks() == 0; }));
  const auto late = complete(held, "1");
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::lease_lost);
}

TEST_CASE_METHOD(task_fixture, "an ended run leaves no task behind", "[actors][queue]") {
  const auto which_end = GENERATE(0, 1, 2);
  begin("w1", 1, which_end == 2 ? 300 : 0);
  REQUIRE(eventually([&] { return explains("w1", "queue 'llm'") && ask(get_queue{which()}); }));
  if (which_end == 0) {
    (void)get<workflow_answer>(cancel_workflow{topic("workflow.w1"), "enough"});
    CHECK(says(outcome_of("w1"), "cancelled"));
  } else if (which_end == 1) {
    (void)get<workflow_answer>(terminate_workflow{topic("workflow.w1"), "enough"});
    CHECK(says(outcome_of("w1"), "terminated"));
  } else {
    CHECK(says(outcome_of("w1"), "timeout: no result from queue 'llm' in time"));
  }
  REQUIRE(eventually([&] { return open_tasks() == 0; }));
  CHECK(lease(100).empty());
}

TEST_CASE_METHOD(task_fixture, "a run says who has its task") {
  begin("w1");
  REQUIRE(eventually([&] { return explains("w1", R"("phase":"waiting")"); }));
  CHECK(explains("w1", "the task in queue 'llm' to end (task 1: no worker has it; attempt 1 of 2"));
  const auto task = lease_one();
  REQUIRE(eventually([&] { return explains("w1", R"("phase":"leased","attempt":1)"); }));
  CHECK(explains("w1", R"("worker":"w")"));
  CHECK(explains("w1", R"("lease_ms":60000)"));
  CHECK(explains("w1", "worker 'w' has had it since"));
  CHECK(explains("w1", "under a lease of 60000 ms that it may renew (attempt 1 of 2)"));
  REQUIRE(give_up(task, "the shelf is empty", false));
  REQUIRE(eventually([&] { return explains("w1", R"("last_error":"the shelf is empty")"); }));
  CHECK(explains("w1", "; an attempt before: the shelf is empty"));
  REQUIRE(complete(lease_one(), "7"));
  CHECK(says(outcome_of("w1"), R"("result":[7])"));
}

TEST_CASE_METHOD(task_fixture, "a run whose task is gone is stuck, and says so") {
  settings.workflows.sweep_ms = 50;
  restart();
  begin("w1");
  REQUIRE(eventually([&] { return explains("w1", R"("phase":"waiting")"); }));
  auto page = ask(read_events{.topic = topic("workflow.w1"), .from = runtime::from_first{}});
  REQUIRE(page);
  const auto& started = std::get<event_page>(*page).batch->events.front();
  const auto event = runtime::decode_run_event(started);
  REQUIRE(event);
  const auto start = runtime::read_started(*event);
  REQUIRE(start);
  const auto stuck = [&] {
    list_workflows list;
    list.tenant = which().tenant;
    list.stuck = true;
    return get<workflow_answer>(list).body;
  };
  CHECK_FALSE(says(stuck(), "w1"));
  // As no run would do that waits for it.
  (void)get<done>(withdraw_task{which(), format_origin({"workflow.w1", 1, 1, start->seed})});
  REQUIRE(eventually([&] { return stuck().find("task_missing") != std::string::npos; }));
  CHECK(explains("w1", R"("phase":"missing")"));
  CHECK(explains("w1", "a task that the queue does not have"));
  REQUIRE(ask(resolve_command{topic("workflow.w1"), 1, "resolved", "by hand", "ann", "5", false}));
  CHECK(says(outcome_of("w1"), R"("result":[5])"));
  CHECK_FALSE(says(stuck(), "w1"));
}

}  // namespace callboard::testing
