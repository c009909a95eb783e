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

class purges : public queue_bench {
public:
  purges() { create(); }

  queue_request begin_purge(bool with_dead = false) {
    const auto key = next_key();
    core->purge({key, with_dead, "ann"});
    return key;
  }

  std::uint64_t purge(bool with_dead = false) {
    const auto key = begin_purge(with_dead);
    run();
    return take<queue_purged>(key).count;
  }

  void push(int count) {
    for (int i = 0; i < count; ++i) {
      auto command = task("x");
      command.key = next_key();
      core->enqueue(std::move(command), now);
    }
    run();
  }

  [[nodiscard]] std::uint64_t waiting() const {
    std::uint64_t sum = 0;
    for (const auto count : core->counts().waiting)
      sum += count;
    return sum;
  }

  [[nodiscard]] std::vector<numbered_audit> audits() const {
    return read_audits(rows, entity, 0, 10)->changes;
  }
};

}  // namespace

TEST_CASE_METHOD(purges, "a purge takes what waits, now or for later", "[runtime][queue]") {
  settings.attempts_max = 1;
  configure(settings);
  const auto dies = enqueue("dies");
  (void)take<task_failed>(fail(lease("w").at(0)));
  enqueue("held");
  const auto held = lease("w").at(0);
  auto delayed = task("later");
  delayed.delay_ms = 3'600'000;
  delayed.priority = task_priority::bulk;
  enqueue(std::move(delayed));
  const auto last = enqueue("now");
  CHECK(purge() == 2);
  CHECK(waiting() == 0);
  CHECK(core->counts().leased == 1);
  CHECK(core->counts().dead == 1);
  CHECK(purge() == 0);
  CHECK(purge(true) == 1);
  CHECK_FALSE(row(dies.task));
  take<task_completed>(complete(held));
  activate();
  advance(2h);
  CHECK(lease("w").empty());
  // What changed nothing is not there.
  const auto told = audits();
  REQUIRE(told.size() == 2);
  CHECK(told[0].audit.action == "purge");
  CHECK(told[0].audit.who == "ann");
  CHECK(told[0].audit.up_to >= last.task);
  CHECK_FALSE(told[0].audit.with_dead);
  CHECK(told[1].audit.with_dead);
}

TEST_CASE_METHOD(
    purges, "a purge goes in parts, and takes nothing that comes later", "[runtime][queue]") {
  push(3500);
  const auto key = begin_purge();
  // A part is one append, and the next is not read before the last is durable.
  const auto reads_no_part = [&] {
    if (!begin_read()) return true;
    const bool is_part = reading_->purge.has_value();
    REQUIRE(finish_read());
    return !is_part;
  };
  int parts = 0;
  auto left = waiting();
  while (waiting() > 600) {
    REQUIRE(begin_read());
    REQUIRE(reading_->purge);
    REQUIRE(finish_read());
    CHECK(left - waiting() <= 1000);
    CHECK(reads_no_part());
    REQUIRE(begin_append());
    CHECK(reads_no_part());
    REQUIRE(commit_append());
    if (++parts == 1) {
      auto later = task("later");
      later.key = next_key();
      core->enqueue(std::move(later), now);
    }
    left = waiting();
  }
  run();
  CHECK(parts >= 3);
  CHECK(take<queue_purged>(key).count == 3500);
  CHECK(waiting() == 1);
  CHECK(payload(lease("w").at(0)) == "later");
  CHECK(audits().size() == 1);
}

TEST_CASE_METHOD(
    purges,
    "of a purge that a crash cut the rest is done when it is asked again",
    "[runtime][queue]") {
  push(3000);
  begin_purge();
  REQUIRE(begin_read());
  REQUIRE(finish_read());
  REQUIRE(begin_append());
  REQUIRE(commit_append());
  REQUIRE(begin_read());
  REQUIRE(finish_read());
  // Decided, and not durable.
  activate();
  CHECK(waiting() == 2000);
  CHECK(purge() == 2000);
  CHECK(waiting() == 0);
  activate();
  CHECK(waiting() == 0);
}

TEST_CASE_METHOD(purges, "whoever waits for a task hears that it was purged", "[runtime][queue]") {
  auto command = task("x");
  command.origin = "run 7";
  const auto made = enqueue(std::move(command));
  CHECK(purge() == 1);
  REQUIRE(endings.size() == 1);
  CHECK(endings[0] == task_ending{made.task, "run 7", task_end::dead, 0, "it was purged by ann"});
}

TEST_CASE_METHOD(purges, "a task that is leased while a purge reads stays", "[runtime][queue]") {
  enqueue("x");
  const auto key = begin_purge();
  REQUIRE(begin_read());
  look();
  lease_command command;
  command.key = next_key();
  command.worker = "w";
  const auto asked = command.key;
  core->lease(std::move(command), now);
  core->match(now);
  run();
  // It was known in memory, so that its lease came between the look and what became of it.
  CHECK(take<granted_tasks>(asked).tasks.size() + take<queue_purged>(key).count == 1);
}

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
