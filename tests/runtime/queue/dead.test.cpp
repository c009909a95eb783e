// Dead letters: how tasks get there and what people do with them.
#include "tests/runtime/queue/queue_bench.hpp"

namespace callboard::runtime {

namespace {

using action = dead_command::action;

struct dead_letters : queue_bench {
  dead_letters() { create(); }

  task_id kill(const std::string& payload, const std::string& key = {}) {
    auto command = task(payload);
    command.attempts_max = 1;
    command.fairness_key = key;
    const auto made = enqueue(command);
    const auto given = lease("w");
    REQUIRE(given.size() == 1);
    REQUIRE(take<task_failed>(fail(given[0])).is_dead);
    return made.task;
  }

  std::vector<std::uint64_t> list(const dead_filter& filter = {}, std::size_t count = 100) {
    const auto page = read_dead(rows, entity, {}, filter, count, 1000);
    REQUIRE(page);
    std::vector<std::uint64_t> tasks;
    for (const auto& one : page->tasks)
      tasks.push_back(one.state.task.raw());
    return tasks;
  }
};

}  // namespace

TEST_CASE_METHOD(
    dead_letters,
    "after its attempts a task is dead, with their history",
    "[runtime][queue][dead]") {
  auto command = task("x");
  command.attempts_max = 3;
  command.origin = "o";
  const auto made = enqueue(command);
  for (int i = 0; i < 3; ++i) {
    const auto given = lease("w" + std::to_string(i));
    REQUIRE(given.size() == 1);
    CHECK(take<task_failed>(fail(given[0])).is_dead == (i == 2));
    advance(10s);
  }
  CHECK(lease("w").empty());
  CHECK(core->counts().dead == 1);
  const auto dead = row(made.task);
  REQUIRE(dead);
  CHECK(dead->phase == task_phase::dead);
  REQUIRE(dead->history.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(dead->history[i].number == i + 1);
    CHECK(dead->history[i].worker == "w" + std::to_string(i));
    CHECK(dead->history[i].outcome == "failed");
    CHECK(dead->history[i].error == "boom");
  }
  REQUIRE(endings.size() == 1);
  CHECK(endings[0] == task_ending{made.task, "o", task_end::dead, 3, "boom"});
  // A redrive is for whoever asks for it: nobody is told a second time.
  change_dead(dead_command::action::redrive, {made.task});
  const auto again = lease("w");
  REQUIRE(again.size() == 1);
  take<task_completed>(complete(again[0]));
  CHECK(endings.size() == 1);
}

TEST_CASE_METHOD(dead_letters, "what cannot be retried is dead at once", "[runtime][queue][dead]") {
  enqueue("x");
  const auto given = lease("w");
  CHECK(take<task_failed>(fail(given[0], false, 5000)).is_dead);
  CHECK(core->counts().dead == 1);
}

TEST_CASE_METHOD(
    dead_letters, "a task that its workers do not survive dies", "[runtime][queue][dead]") {
  auto command = task("poison");
  command.attempts_max = 2;
  enqueue(command);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(lease("w").size() == 1);
    core->leave({next_key(), "w", {}}, now);
    run();
  }
  CHECK(lease("w").empty());
  CHECK(core->counts().dead == 1);
}

TEST_CASE_METHOD(
    dead_letters, "a redriven task begins anew and keeps its past", "[runtime][queue][dead]") {
  const auto task = kill("x");
  CHECK(change_dead(action::redrive, {task}).changed == std::vector{task});
  CHECK(core->counts().dead == 0);
  const auto given = lease("w");
  REQUIRE(given.size() == 1);
  CHECK(payload(given[0]) == "x");
  CHECK(given[0].attempt == 1);
  const auto history = row(task)->history;
  REQUIRE(history.size() == 2);
  CHECK(history[1].outcome == "redriven");
  CHECK(history[1].worker == "ann");
}

TEST_CASE_METHOD(
    dead_letters,
    "of tasks that are named all are changed, or none with an error",
    "[runtime][queue][dead]") {
  const auto task = kill("x");
  const auto waits = enqueue("waits").task;
  for (const auto what : {action::redrive, action::abandon, action::edit}) {
    for (const auto other : {waits, task_id{77}}) {
      const auto key = next_key();
      std::vector<task_id> named{other};
      if (what != action::edit) named.push_back(task);
      core->change_dead({key, what, "ann", named, shared_bytes{"y"}});
      run();
      CHECK(take_error(key) == errc::task_not_found);
    }
  }
  CHECK(list() == std::vector{task.raw()});
  // Those that a filter found may have been changed since.
  const auto key = next_key();
  core->change_dead({key, action::redrive, "ann", {task, waits, task_id{77}}, {}, true});
  run();
  CHECK(take<dead_changed>(key).changed == std::vector{task});
}

TEST_CASE_METHOD(
    dead_letters, "an edited payload is what the next worker gets", "[runtime][queue][dead]") {
  const auto task = kill("bad");
  CHECK(change_dead(action::edit, {task}, "good").changed.size() == 1);
  CHECK(core->counts().dead == 1);
  CHECK(row(task)->history.back().outcome == "edited");
  CHECK(row(task)->payload_size == 4);
  change_dead(action::redrive, {task});
  const auto given = lease("w");
  REQUIRE(given.size() == 1);
  CHECK(given[0].token.task == task);
  CHECK(payload(given[0]) == "good");
}

TEST_CASE_METHOD(dead_letters, "an abandoned task is gone", "[runtime][queue][dead]") {
  const auto task = kill("x");
  change_dead(action::abandon, {task});
  CHECK_FALSE(row(task));
  CHECK(core->counts().dead == 0);
  CHECK(list().empty());
}

TEST_CASE_METHOD(
    dead_letters,
    "each action tells who and when, for as long as the queue lives",
    "[runtime][queue][dead]") {
  const auto first = kill("x");
  change_dead(action::abandon, {first});
  std::vector<task_audit> audits;
  for (const auto& [key, value] : rows.rows) {
    if (key.first == storage::view_id::queue_audit) audits.push_back(*decode_task_audit(value));
  }
  REQUIRE(audits.size() == 1);
  CHECK(audits[0].who == "ann");
  CHECK(audits[0].action == "abandon");
  CHECK(audits[0].tasks == std::vector{first});
  CHECK(audits[0].time == now.shard);
  CHECK_FALSE(storage::is_sequenced(storage::record_kind::task_audited));
}

TEST_CASE_METHOD(dead_letters, "two who redrive at once do it once", "[runtime][queue][dead]") {
  const auto task = kill("x");
  const auto first = next_key();
  core->change_dead({first, action::redrive, "ann", {task, task}, {}});
  const auto second = next_key();
  core->change_dead({second, action::abandon, "bob", {task}, {}});
  run();
  CHECK(take<dead_changed>(first).changed.size() == 1);
  CHECK(take_error(second) == errc::task_not_found);
  CHECK(core->counts().waiting[2] == 1);
}

TEST_CASE_METHOD(
    dead_letters,
    "a page that is older than a decision does not undo it",
    "[runtime][queue][dead]") {
  const auto task = kill("x");
  const auto first = next_key();
  core->change_dead({first, action::redrive, "ann", {task}, {}});
  REQUIRE(begin_read());
  REQUIRE(finish_read());
  const auto second = next_key();
  core->change_dead({second, action::redrive, "bob", {task}, {}});
  REQUIRE(begin_read());
  // The rows still say that it is dead: the redrive is not committed.
  REQUIRE(finish_read());
  collect();
  CHECK(answers.empty());
  run();
  CHECK(take<dead_changed>(first).changed.size() == 1);
  CHECK(take_error(second) == errc::task_not_found);
  CHECK(core->counts().waiting[2] == 1);
}

TEST_CASE_METHOD(
    dead_letters, "dead letters are listed in pages and by filter", "[runtime][queue][dead]") {
  std::vector<std::uint64_t> all;
  for (int i = 0; i < 5; ++i) {
    all.push_back(kill("x", i % 2 == 0 ? "a" : "b").raw());
    advance(1000ms);
  }
  CHECK(list() == all);
  CHECK(list({"b", {}, {}, {}}).size() == 2);
  CHECK(list({{}, "oo", {}, {}}).size() == 5);
  CHECK(list({{}, "other", {}, {}}).empty());
  CHECK(list({{}, {}, now.shard - 2000ms, {}}).size() == 2);
  CHECK(list({{}, {}, {}, now.shard - 2000ms}).size() == 3);
  const auto page = read_dead(rows, entity, {}, {}, 2, 1000);
  REQUIRE(page->next);
  const auto rest = read_dead(rows, entity, *page->next, {}, 100, 1000);
  CHECK(rest->tasks.size() == 3);
  CHECK_FALSE(rest->next);
}

}  // namespace callboard::runtime
