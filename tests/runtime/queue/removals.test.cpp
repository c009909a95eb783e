// Tasks that are cancelled: wherever they are, nobody works on them any more.
#include "tests/runtime/queue/queue_bench.hpp"

namespace callboard::runtime {

namespace {

class removals : public queue_bench {
public:
  removals() { create(); }

  queue_request cancel(task_id task) {
    const auto key = next_key();
    core->cancel({key, task, "ann"});
    run();
    return key;
  }
};

}  // namespace

TEST_CASE_METHOD(removals, "a task that waits is cancelled, once", "[runtime][queue]") {
  const auto made = enqueue("x");
  auto delayed = task("later");
  delayed.delay_ms = 3'600'000;
  const auto later = enqueue(std::move(delayed));
  (void)take<task_cancelled>(cancel(made.task));
  (void)take<task_cancelled>(cancel(later.task));
  CHECK(take_error(cancel(made.task)) == errc::task_not_found);
  CHECK(take_error(cancel(task_id{99})) == errc::task_not_found);
  CHECK(core->counts().waiting[2] == 0);
  activate();
  advance(2h);
  CHECK(lease("w").empty());
  CHECK_FALSE(row(made.task));
  const auto audits = read_audits(rows, entity, 0, 10)->changes;
  REQUIRE(audits.size() == 2);
  CHECK(audits[0].audit == task_audit{"ann", "cancel", {made.task}, audits[0].audit.time});
}

TEST_CASE_METHOD(
    removals, "who holds a task that is cancelled has lost its lease", "[runtime][queue]") {
  const auto made = enqueue("x");
  const auto given = lease("w").at(0);
  (void)take<task_cancelled>(cancel(made.task));
  CHECK(take_error(complete(given)) == errc::lease_lost);
  CHECK(core->counts().leased == 0);
}

TEST_CASE_METHOD(removals, "a dead letter can be cancelled, too", "[runtime][queue]") {
  const auto made = enqueue("x");
  (void)take<task_failed>(fail(lease("w").at(0), false));
  CHECK(core->counts().dead == 1);
  (void)take<task_cancelled>(cancel(made.task));
  CHECK(core->counts().dead == 0);
  CHECK_FALSE(row(made.task));
}

TEST_CASE_METHOD(
    removals, "whoever waits for a task hears that it was cancelled", "[runtime][queue]") {
  auto command = task("x");
  command.origin = "run 7";
  const auto made = enqueue(std::move(command));
  (void)take<task_cancelled>(cancel(made.task));
  REQUIRE(endings.size() == 1);
  CHECK(
      endings[0] == task_ending{made.task, "run 7", task_end::dead, 0, "it was cancelled by ann"});
}

TEST_CASE_METHOD(removals, "a task is cancelled while it is being leased", "[runtime][queue]") {
  const auto made = enqueue("x");
  lease_command command;
  command.key = next_key();
  command.worker = "w";
  const auto asked = command.key;
  core->lease(std::move(command), now);
  core->match(now);
  // The lease is decided, and not durable.
  (void)take<task_cancelled>(cancel(made.task));
  CHECK(take<granted_tasks>(asked).tasks.empty());
}

}  // namespace callboard::runtime
