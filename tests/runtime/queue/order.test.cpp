// Whose turn it is: priorities, age, fairness, delays; and which enqueue is a repetition.
#include "tests/runtime/queue/queue_bench.hpp"

#include <array>
#include <map>
#include <random>
#include <set>

namespace callboard::runtime {

namespace {

struct order : queue_bench {
  order() { create(); }

  task_id put(task_priority priority, const std::string& key = {}, std::uint64_t delay_ms = 0) {
    auto command = task("x", priority);
    command.fairness_key = key;
    command.delay_ms = delay_ms;
    return enqueue(command).task;
  }

  /// The next task, completed at once.
  std::optional<granted_task> serve() {
    auto given = lease("w");
    if (given.empty()) return std::nullopt;
    complete(given[0]);
    return given[0];
  }

  std::vector<task_priority> serve_priorities(int count) {
    std::vector<task_priority> seen;
    for (int i = 0; i < count; ++i) {
      const auto given = serve();
      REQUIRE(given);
      seen.push_back(given->priority);
    }
    return seen;
  }

  std::optional<enqueued_task> keyed(const std::string& key) {
    auto command = task("x");
    command.dedupe_key = key;
    return enqueue(command);
  }
};

using enum task_priority;

}  // namespace

TEST_CASE_METHOD(
    order, "urgent tasks go first, equal ones in the order they came", "[runtime][queue][order]") {
  for (const auto one : {bulk, normal, control, interactive, control})
    put(one);
  std::vector<std::uint64_t> tasks;
  while (const auto given = serve())
    tasks.push_back(given->token.task.raw());
  // Task ids are sequences of the entity, shared with records of progress.
  CHECK(tasks.size() == 5);
  CHECK(tasks[0] < tasks[1]);
  CHECK(tasks[1] > tasks[2]);
  CHECK(tasks[4] == 1);
}

TEST_CASE_METHOD(order, "who waits long rises a class per interval", "[runtime][queue][order]") {
  settings.aging_ms = 1000;
  configure(settings);
  put(bulk);
  const auto serve_one_of = [&](task_priority rival) {
    put(rival);
    return serve()->priority;
  };
  CHECK(serve_one_of(normal) == normal);
  advance(1000ms);
  // As urgent as normal now: the one that has waited longer goes first.
  CHECK(serve_one_of(normal) == bulk);
  put(bulk);
  while (serve()) {
  }
  put(bulk);
  advance(2999ms);
  CHECK(serve_one_of(control) == control);
  advance(1ms);
  CHECK(serve_one_of(control) == bulk);
}

TEST_CASE_METHOD(
    order,
    "among equals who has waited longest begins, and then each has its share",
    "[runtime][queue][order]") {
  settings.aging_ms = 1000;
  configure(settings);
  // That it was served last, long ago, is nothing to go by.
  put(bulk);
  CHECK(serve()->priority == bulk);
  for (int i = 0; i < 3; ++i)
    put(bulk);
  advance(1000ms);
  for (int i = 0; i < 4; ++i)
    put(normal);
  CHECK(serve_priorities(7) == std::vector{bulk, normal, normal, bulk, normal, normal, bulk});
}

TEST_CASE_METHOD(
    order, "an old backlog does not shut urgent tasks out", "[runtime][queue][order]") {
  settings.aging_ms = 1000;
  configure(settings);
  for (int i = 0; i < 20; ++i)
    put(bulk);
  advance(1h);
  for (int i = 0; i < 5; ++i)
    put(control);
  const auto seen = serve_priorities(10);
  CHECK(std::ranges::count(seen, control) == 5);
}

TEST_CASE_METHOD(
    order, "classes that are all old have leases by their shares", "[runtime][queue][order]") {
  settings.aging_ms = 1000;
  configure(settings);
  for (int i = 0; i < 60; ++i) {
    for (const auto one : {control, interactive, normal, bulk})
      put(one);
  }
  advance(1h);
  const auto seen = serve_priorities(30);
  CHECK(std::ranges::count(seen, control) == 16);
  CHECK(std::ranges::count(seen, interactive) == 8);
  CHECK(std::ranges::count(seen, normal) == 4);
  CHECK(std::ranges::count(seen, bulk) == 2);
}

TEST_CASE_METHOD(
    order,
    "a fresh task does not wait behind an old backlog of a lower class",
    "[runtime][queue][order]") {
  settings.aging_ms = 1000;
  configure(settings);
  for (int i = 0; i < 100; ++i)
    put(bulk);
  advance(1h);
  for (int i = 0; i < 40; ++i) {
    put(interactive);
    put(normal);
  }
  const auto seen = serve_priorities(14);
  CHECK(std::ranges::count(seen, interactive) == 8);
  CHECK(std::ranges::count(seen, normal) == 4);
  CHECK(std::ranges::count(seen, bulk) == 2);
}

TEST_CASE_METHOD(
    order,
    "of four old classes none starves, and an urgent task waits behind few",
    "[runtime][queue][order]") {
  settings.aging_ms = 1000;
  configure(settings);
  constexpr std::array all{control, interactive, normal, bulk};
  for (int i = 0; i < 600; ++i) {
    for (const auto one : {interactive, normal, bulk})
      put(one);
  }
  advance(1h);
  // Urgent ones come now and then, alone or many at once.
  std::mt19937 dice{GENERATE(1U, 2U, 3U)};
  std::uint64_t urgent = 0;
  std::map<task_priority, int> waited;
  for (int turn = 0; turn < 1000; ++turn) {
    if (dice() % 8 == 0) {
      for (auto count = 1 + dice() % 12; count > 0; --count, ++urgent)
        put(control);
    }
    const auto given = serve();
    REQUIRE(given);
    for (const auto one : all)
      ++waited[one];
    waited[given->priority] = 0;
    if (given->priority == control) --urgent;
    if (urgent == 0) waited[control] = 0;
    REQUIRE(waited[control] <= 3);
    REQUIRE(waited[interactive] <= 8);
    REQUIRE(waited[normal] <= 16);
    REQUIRE(waited[bulk] <= 32);
  }
}

TEST_CASE_METHOD(
    order, "without aging the lowest class may wait for ever", "[runtime][queue][order]") {
  settings.aging_ms = 0;
  configure(settings);
  put(bulk);
  advance(24h);
  put(normal);
  CHECK(serve()->priority == normal);
}

TEST_CASE_METHOD(
    order, "one task of a key does not wait behind another's thousand", "[runtime][queue][order]") {
  settings.fairness_quantum = 4;
  configure(settings);
  for (int i = 0; i < 1000; ++i)
    put(normal, "big");
  advance(1h);
  const auto small = put(normal, "small");
  int turn = 0;
  while (true) {
    const auto given = serve();
    REQUIRE(given);
    if (given->token.task == small) break;
    ++turn;
  }
  CHECK(turn <= 4);
}

TEST_CASE_METHOD(order, "keys take turns of a quantum each", "[runtime][queue][order]") {
  settings.fairness_quantum = 3;
  configure(settings);
  std::map<std::uint64_t, char> owner;
  for (int i = 0; i < 12; ++i) {
    for (const char key : {'a', 'b', 'c'})
      owner[put(normal, std::string(1, key)).raw()] = key;
  }
  std::string seen;
  while (const auto given = serve())
    seen += owner.at(given->token.task.raw());
  REQUIRE(seen.size() == 36);
  for (std::size_t i = 0; i < seen.size(); i += 9) {
    const std::set<char> three{seen[i], seen[i + 3], seen[i + 6]};
    CHECK(three.size() == 3);
    CHECK(seen.substr(i, 3) == std::string(3, seen[i]));
  }
}

TEST_CASE_METHOD(
    order, "a key whose last task was taken gives its turn away", "[runtime][queue][order]") {
  settings.fairness_quantum = 4;
  configure(settings);
  for (int i = 0; i < 100; ++i)
    put(normal, "many");
  auto one = put(normal, "one");
  int of_many = 0;
  for (int i = 0; i < 50; ++i) {
    const auto given = serve();
    REQUIRE(given);
    if (given->token.task != one) {
      ++of_many;
    } else {
      one = put(normal, "one");
    }
  }
  // Four for each of the other's.
  CHECK(of_many == 40);
}

TEST_CASE_METHOD(
    order,
    "no key waits for more than a quantum of each other, whatever comes between leases",
    "[runtime][queue][order]") {
  constexpr std::uint32_t quantum = 4;
  constexpr std::uint64_t rivals = 4;
  settings.fairness_quantum = quantum;
  configure(settings);
  std::set<task_id> patient;
  for (int i = 0; i < 200; ++i)
    patient.insert(put(normal, "patient"));
  std::mt19937 dice{GENERATE(1U, 2U, 3U)};
  const auto draw = [&](std::uint64_t below) { return dice() % below; };
  std::map<task_id, std::string> owner;
  const auto put_rival = [&](const std::string& key) { owner[put(normal, key)] = key; };
  std::uint64_t waited = 0;
  for (int turn = 0; turn < 400 && !patient.empty(); ++turn) {
    if (draw(4) == 0) put_rival("rival " + std::to_string(draw(rivals)));
    const auto given = serve();
    REQUIRE(given);
    waited = patient.erase(given->token.task) > 0 ? 0 : waited + 1;
    REQUIRE(waited <= rivals * quantum);
    // Who was served mostly has something again before the next lease.
    const auto rival = owner.find(given->token.task);
    if (rival != owner.end() && draw(32) != 0) put_rival(rival->second);
  }
}

TEST_CASE_METHOD(
    order, "a key at its limit does not hold the others up", "[runtime][queue][order]") {
  settings.key_concurrency = 1;
  configure(settings);
  for (int i = 0; i < 5; ++i) {
    put(normal, "a");
    put(normal, "b");
  }
  CHECK(lease("w", 10).size() == 2);
  CHECK(lease("w", 10).empty());
}

TEST_CASE_METHOD(
    order,
    "a delayed task waits by shard time, over a restart as well",
    "[runtime][queue][order]") {
  put(normal, {}, 5000);
  const auto soon = put(normal, {}, 0);
  CHECK(serve()->token.task == soon);
  CHECK_FALSE(serve());
  advance(4999ms);
  activate();
  CHECK_FALSE(serve());
  const auto waiting = next_key();
  core->lease({waiting, "w", 1, 0, 1000}, now);
  run();
  advance(1ms);
  run();
  CHECK(take<granted_tasks>(waiting).tasks.size() == 1);
}

TEST_CASE_METHOD(
    order, "a task that is delayed for ever is never given out", "[runtime][queue][order]") {
  const std::uint64_t delay = GENERATE(UINT64_MAX, INT64_MAX, 1'000'000'000'000ULL);
  put(normal, {}, delay);
  CHECK_FALSE(serve());
  activate();
  advance(std::chrono::days{400});
  CHECK_FALSE(serve());
}

TEST_CASE_METHOD(order, "the same dedupe key answers the first task", "[runtime][queue][dedupe]") {
  settings.dedupe_window_s = 60;
  configure(settings);
  const auto first = keyed("k");
  CHECK_FALSE(first->is_duplicate);
  CHECK(keyed("k")->is_duplicate);
  CHECK(keyed("k")->task == first->task);
  CHECK_FALSE(keyed("other")->is_duplicate);
  CHECK(serve());
  CHECK(keyed("k")->task == first->task);
  // Known from disk only.
  activate();
  CHECK(keyed("k")->task == first->task);
  CHECK_FALSE(keyed("new")->is_duplicate);
  advance(59s);
  CHECK(keyed("k")->is_duplicate);
  advance(1s);
  const auto again = keyed("k");
  CHECK_FALSE(again->is_duplicate);
  CHECK(again->task > first->task);
  CHECK(keyed("k")->task == again->task);
}

TEST_CASE_METHOD(
    order, "repetitions that wait for a read become one task", "[runtime][queue][dedupe]") {
  keyed("old");
  activate();
  std::vector<queue_request> asked;
  for (int i = 0; i < 3; ++i) {
    auto command = task("x");
    command.dedupe_key = "k";
    command.key = next_key();
    asked.push_back(command.key);
    core->enqueue(std::move(command), now);
  }
  run();
  std::set<task_id> tasks;
  int duplicates = 0;
  for (const auto key : asked) {
    const auto made = take<enqueued_task>(key);
    tasks.insert(made.task);
    duplicates += made.is_duplicate ? 1 : 0;
  }
  CHECK(tasks.size() == 1);
  CHECK(duplicates == 2);
}

TEST_CASE_METHOD(
    order,
    "dedupe keys are few in memory, all on disk, and go with their window",
    "[runtime][queue][dedupe]") {
  settings.dedupe_window_s = 60;
  limits.recent_keys_max = 10;
  configure(settings);
  activate();
  std::vector<task_id> tasks;
  for (int i = 0; i < 100; ++i)
    tasks.push_back(keyed("k" + std::to_string(i))->task);
  for (int i = 0; i < 100; ++i) {
    const auto again = keyed("k" + std::to_string(i));
    REQUIRE(again->is_duplicate);
    REQUIRE(again->task == tasks[static_cast<std::size_t>(i)]);
  }
  advance(61s);
  for (int i = 0; i < 50; ++i)
    REQUIRE_FALSE(keyed("n" + std::to_string(i))->is_duplicate);
  std::size_t kept = 0;
  for (const auto& [key, value] : rows.rows)
    kept += key.first == storage::view_id::queue_dedupe ? 1 : 0;
  // Two rows each.
  CHECK(kept == 100);
}

}  // namespace callboard::runtime
