// Leases: who holds what, until when, and what becomes of it.
#include "tests/runtime/queue/queue_bench.hpp"

#include <set>

namespace callboard::runtime {

namespace {

struct leases : queue_bench {
  leases() { create(); }

  void back_off(std::uint32_t min_ms, std::uint32_t max_ms) {
    settings.backoff_min_ms = min_ms;
    settings.backoff_max_ms = max_ms;
    configure(settings);
  }

  auto enqueue_for(std::uint32_t attempts) {
    auto command = task("x");
    command.attempts_max = attempts;
    return enqueue(command);
  }
};

}  // namespace

TEST_CASE_METHOD(leases, "a task is leased once, completed once and gone", "[runtime][queue]") {
  const auto made = enqueue("hello");
  REQUIRE(made.task == task_id{1});
  REQUIRE_FALSE(made.is_duplicate);
  const auto given = lease("w1", 5);
  REQUIRE(given.size() == 1);
  CHECK(payload(given[0]) == "hello");
  CHECK(given[0].attempt == 1);
  CHECK(given[0].lease_ms == settings.lease_ms);
  CHECK(lease("w2", 5).empty());
  take<task_completed>(complete(given[0]));
  CHECK_FALSE(row(made.task));
  CHECK(core->counts().leased == 0);
  CHECK(take_error(complete(given[0])) == errc::lease_lost);
  CHECK(core->idle());
}

TEST_CASE_METHOD(
    leases, "no answer leaves before what it rests on is durable", "[runtime][queue]") {
  const auto enqueued = next_key();
  auto command = task("x");
  command.key = enqueued;
  core->enqueue(std::move(command), now);
  collect();
  CHECK(answers.empty());
  REQUIRE(begin_append());
  const auto leased = next_key();
  core->lease({leased, "w", 1, 0, 1000}, now);
  core->match(now);
  collect();
  CHECK(answers.empty());
  REQUIRE(commit_append());
  collect();
  CHECK(answers.contains(enqueued.raw()));
  CHECK_FALSE(answers.contains(leased.raw()));
  REQUIRE(begin_append());
  // A refusal rests on the lease that took the task's place, too.
  const auto stale = next_key();
  core->complete({stale, "3.1.1.9.9", {}}, now);
  collect();
  CHECK_FALSE(answers.contains(stale.raw()));
  REQUIRE(commit_append());
  collect();
  CHECK(answers.contains(leased.raw()));
  CHECK(take_error(stale) == errc::lease_lost);
}

TEST_CASE_METHOD(leases, "a failed append leaves nobody without an answer", "[runtime][queue]") {
  auto command = task("x");
  command.key = next_key();
  core->enqueue(std::move(command), now);
  REQUIRE(begin_append());
  core->lease({next_key(), "w", 1, 0, 1000}, now);
  core->match(now);
  CHECK(core->unanswered().size() == 2);
  activate();
  CHECK(core->counts().waiting[2] == 0);
  // Nothing of it was ever there.
  CHECK(enqueue("y").task == task_id{1});
}

TEST_CASE_METHOD(
    leases, "a lease that is not extended runs out on the boot clock", "[runtime][queue]") {
  const auto made = enqueue("x");
  const auto first = lease("w1", 1, 1000);
  REQUIRE(first.size() == 1);
  advance(900ms);
  const auto beat = next_key();
  core->extend({beat, text(first[0]), 0}, now);
  run();
  CHECK(take<lease_extended>(beat).lease_ms == 1000);
  advance(900ms);
  // The wall clock may jump as it likes.
  now.shard += 24h;
  CHECK(lease("w2").empty());
  advance(100ms);
  const auto second = lease("w2");
  REQUIRE(second.size() == 1);
  CHECK(second[0].attempt == 2);
  CHECK(second[0].token.number > first[0].token.number);
  CHECK(payload(second[0]) == "x");
  CHECK(take_error(complete(first[0])) == errc::lease_lost);
  CHECK(take_error(fail(first[0])) == errc::lease_lost);
  core->extend({beat, text(first[0]), 0}, now);
  run();
  CHECK(take_error(beat) == errc::lease_lost);
  CHECK(row(made.task)->history.back().outcome == "expired");
  CHECK(row(made.task)->history.back().worker == "w1");
  CHECK(
      row(made.task)->history.back().error
      == "lease_expired: the worker neither ended the task nor extended its lease of 1000 ms");
}

TEST_CASE_METHOD(
    leases, "whoever waits for a task hears that its last lease ran out", "[runtime][queue]") {
  auto command = task("x");
  command.attempts_max = 1;
  command.origin = "o";
  enqueue(command);
  REQUIRE(lease("w1", 1, 1000).size() == 1);
  advance(1s);
  run();
  REQUIRE(endings.size() == 1);
  CHECK(endings[0].end == task_end::dead);
  CHECK(endings[0].text.starts_with("lease_expired: "));
}

TEST_CASE_METHOD(leases, "only a lease of another length is written down", "[runtime][queue]") {
  enqueue("x");
  const auto given = lease("w", 1, 1000);
  const auto before = records.size();
  const auto same = next_key();
  core->extend({same, text(given[0]), 1000}, now);
  run();
  CHECK(records.size() == before);
  core->extend({next_key(), text(given[0]), 5000}, now);
  run();
  CHECK(records.size() == before + 1);
  CHECK(row(given[0].token.task)->lease.duration_ms == 5000);
}

TEST_CASE_METHOD(leases, "after a restart every lease has its full time anew", "[runtime][queue]") {
  enqueue("x");
  const auto given = lease("w1", 1, 1000);
  advance(999ms);
  // The machine was off for a day, and boots: its boot clock begins anew.
  now.boot = 5s;
  now.shard += 24h;
  activate();
  advance(999ms);
  CHECK(lease("w2").empty());
  take<task_completed>(complete(given[0]));
  CHECK(core->idle());
}

TEST_CASE_METHOD(leases, "numbers of leases only grow, over restarts as well", "[runtime][queue]") {
  enqueue("x");
  std::uint64_t highest = 0;
  for (int i = 0; i < 4; ++i) {
    const auto given = lease("w", 1, 100);
    REQUIRE(given.size() == 1);
    CHECK(given[0].token.number > highest);
    highest = given[0].token.number;
    core->leave({next_key(), "w", {}}, now);
    run();
    activate();
    advance(1s);
  }
}

TEST_CASE_METHOD(leases, "a worker that waits no longer keeps what it has", "[runtime][queue]") {
  enqueue("x");
  const auto given = lease("w1", 1);
  REQUIRE(given.size() == 1);
  const auto waiting = next_key();
  core->lease({waiting, "w1", 3, 0, 1000}, now);
  core->leave({next_key(), "w1", {}, true}, now);
  enqueue("y");
  run();
  CHECK(take<granted_tasks>(waiting).tasks.empty());
  CHECK(lease("w2", 1).size() == 1);
  take<task_completed>(complete(given[0]));
}

TEST_CASE_METHOD(leases, "a worker that leaves gives everything back at once", "[runtime][queue]") {
  for (int i = 0; i < 3; ++i)
    enqueue("x");
  const auto given = lease("w1", 2);
  REQUIRE(given.size() == 2);
  const auto waiting = next_key();
  core->leave({next_key(), "w2", {}}, now);
  core->leave({next_key(), "w1", {}}, now);
  core->lease({waiting, "w2", 3, 0, 1000}, now);
  run();
  CHECK(take<granted_tasks>(waiting).tasks.size() == 3);
  CHECK(take_error(complete(given[0])) == errc::lease_lost);
  CHECK(row(given[0].token.task)->history.back().outcome == "released");
  CHECK(row(given[0].token.task)->history.back().error.starts_with("worker_left: "));
}

TEST_CASE_METHOD(
    leases, "a task whose workers vanish waits longer each time, and dies", "[runtime][queue]") {
  back_off(100, 1000);
  const auto made = enqueue_for(5);
  std::int64_t least = 0;
  for (std::uint32_t attempt = 1; attempt <= 5; ++attempt) {
    REQUIRE(lease("w").size() == 1);
    core->leave({next_key(), "w", {}}, now);
    run();
    const auto left = row(made.task);
    REQUIRE(left);
    CHECK(left->state.attempts == attempt);
    if (attempt == 5) {
      CHECK(left->phase == task_phase::dead);
      break;
    }
    const auto wait = (left->state.ready - now.shard).count();
    CHECK(wait >= least);
    CHECK(wait <= least * 3 / 2);
    if (wait > 0) {
      CHECK(lease("w").empty());
      advance(std::chrono::milliseconds{wait});
    }
    least = least == 0 ? 100 : least * 2;
  }
}

TEST_CASE_METHOD(
    leases, "a wait for tasks ends with one, with none, or with its worker", "[runtime][queue]") {
  const auto first = next_key();
  core->lease({first, "w1", 1, 0, 1000}, now);
  const auto second = next_key();
  core->lease({second, "w2", 1, 0, 1000}, now);
  const auto third = next_key();
  core->lease({third, "w3", 1, 0, 1000}, now);
  run();
  CHECK(answers.empty());
  enqueue("x");
  CHECK(take<granted_tasks>(first).tasks.size() == 1);
  core->leave({next_key(), "w2", {}}, now);
  run();
  CHECK(take<granted_tasks>(second).tasks.empty());
  advance(1000ms);
  run();
  CHECK(take<granted_tasks>(third).tasks.empty());
}

TEST_CASE_METHOD(leases, "one answer holds no more bytes than it may", "[runtime][queue]") {
  limits.lease_bytes_max = 100;
  SECTION("of payloads that are at hand") {}
  SECTION("of payloads that are read first") {
    limits.window_payload_bytes_max = 0;
  }
  activate();
  std::vector<task_id> made;
  for (int i = 0; i < 10; ++i)
    made.push_back(enqueue(std::string(40, static_cast<char>('a' + i))).task);
  // The third one passes the bound, as a single large one would.
  std::vector<task_id> leased;
  for (const std::size_t count : {3U, 3U, 3U, 1U}) {
    const auto given = lease("w", 10);
    REQUIRE(given.size() == count);
    for (const auto& one : given) {
      CHECK(one.attempt == 1);
      CHECK(payload(one).front() == static_cast<char>('a' + leased.size()));
      leased.push_back(one.token.task);
    }
    CHECK(core->counts().leased == leased.size());
    CHECK(core->counts().waiting[2] == made.size() - leased.size());
  }
  CHECK(leased == made);
}

TEST_CASE_METHOD(leases, "what one answer has no room for burns no attempt", "[runtime][queue]") {
  limits.window_payload_bytes_max = 0;
  activate();
  std::vector<task_id> made;
  for (int i = 0; i < 4; ++i)
    made.push_back(enqueue(std::string(40, 'x')).task);
  lease_command command{next_key(), "w", 4, 0, 0, 1};
  const auto key = command.key;
  core->lease(std::move(command), now);
  run();
  const auto given = take<granted_tasks>(key).tasks;
  REQUIRE(given.size() == 1);
  CHECK(given[0].token.task == made[0]);
  for (std::size_t i = 1; i < made.size(); ++i) {
    const auto waits = row(made[i]);
    REQUIRE(waits);
    CHECK(waits->phase == task_phase::waiting);
    CHECK(waits->state.attempts == 0);
    CHECK(waits->history.empty());
  }
}

TEST_CASE_METHOD(
    leases, "a read that was cut answers all it has something for", "[runtime][queue]") {
  limits.window_payload_bytes_max = 0;
  limits.lease_bytes_max = 1000;
  activate();
  for (int i = 0; i < 40; ++i)
    enqueue(std::string(200, 'x'));
  // Twenty requests of two each want twice as much as two reads have.
  std::vector<queue_request> asked;
  for (int i = 0; i < 20; ++i) {
    asked.push_back(next_key());
    core->lease({asked.back(), "w" + std::to_string(i), 2, 0, 1000}, now);
  }
  run();
  std::set<task_id> leased;
  for (const auto key : asked) {
    const auto given = take<granted_tasks>(key).tasks;
    CHECK_FALSE(given.empty());
    for (const auto& one : given) {
      CHECK(payload(one).size() == 200);
      CHECK(leased.insert(one.token.task).second);
    }
  }
  CHECK(core->counts().leased == leased.size());
  CHECK(core->counts().waiting[2] == 40 - leased.size());
}

TEST_CASE_METHOD(
    leases, "what a worker never saw waits where it waited before", "[runtime][queue]") {
  const auto first = enqueue("first");
  const auto second = enqueue("second");
  lease_command unlucky{next_key(), "unlucky"};
  unlucky.poll = 7;
  core->lease(std::move(unlucky), now);
  run();
  REQUIRE(core->counts().leased == 1);
  // What it was given before it has seen.
  const bool is_seen = GENERATE(false, true);
  if (is_seen) REQUIRE(lease("unlucky").size() == 1);
  core->leave({next_key(), "unlucky", {7, 8}}, now);
  run();
  const auto waits = row(first.task);
  REQUIRE(waits);
  CHECK(waits->phase == task_phase::waiting);
  CHECK(waits->history.empty());
  CHECK(row(second.task)->history.size() == (is_seen ? 1 : 0));
  const auto given = lease("w", 2);
  REQUIRE(given.size() == 2);
  CHECK(payload(given[0]) == "first");
  CHECK(given[0].attempt == 1);
}

TEST_CASE_METHOD(
    leases, "a failed attempt waits longer each time, with jitter upwards", "[runtime][queue]") {
  back_off(100, 1000);
  enqueue_for(20);
  std::int64_t least = 100;
  for (int i = 0; i < 8; ++i) {
    const auto given = lease("w");
    REQUIRE(given.size() == 1);
    CHECK(given[0].attempt == static_cast<std::uint32_t>(i + 1));
    const auto failed = take<task_failed>(fail(given[0]));
    const auto wait = (failed.ready - now.shard).count();
    CHECK_FALSE(failed.is_dead);
    CHECK(wait >= std::min<std::int64_t>(750, least));
    CHECK(wait <= std::min<std::int64_t>(1000, least * 3 / 2));
    advance(std::chrono::milliseconds{wait - 1});
    CHECK(lease("w").empty());
    advance(1ms);
    least = std::min<std::int64_t>(least * 2, 1000);
  }
}

TEST_CASE_METHOD(leases, "those who wait the longest do not stay in step", "[runtime][queue]") {
  back_off(100, 1000);
  enqueue_for(100);
  std::set<std::int64_t> waits;
  for (int i = 0; i < 50; ++i) {
    const auto given = lease("w");
    REQUIRE(given.size() == 1);
    const auto failed = take<task_failed>(fail(given[0]));
    const auto wait = (failed.ready - now.shard).count();
    // Behind the doublings.
    if (i >= 4) {
      CHECK(wait >= 750);
      CHECK(wait <= 1000);
      waits.insert(wait);
    }
    advance(std::chrono::milliseconds{wait});
  }
  CHECK(waits.size() > 20);
}

TEST_CASE_METHOD(leases, "whoever wants one wait always waits that", "[runtime][queue]") {
  back_off(1000, 1000);
  enqueue("x");
  const auto given = lease("w");
  const auto failed = take<task_failed>(fail(given[0]));
  CHECK(failed.ready - now.shard == 1000ms);
}

TEST_CASE_METHOD(leases, "a retry that was asked for burns no attempt", "[runtime][queue]") {
  auto command = task("x");
  command.attempts_max = 2;
  const auto made = enqueue(command);
  for (const std::uint64_t after : {0ULL, 1ULL, 120'000ULL, 86'400'000ULL, ~0ULL}) {
    const auto given = lease("w");
    REQUIRE(given.size() == 1);
    CHECK(given[0].attempt == 1);
    const auto failed = take<task_failed>(fail(given[0], true, after));
    const auto wait = static_cast<std::uint64_t>((failed.ready - now.shard).count());
    const auto asked = std::min<std::uint64_t>(after, 7ULL * 24 * 3600 * 1000);
    CHECK(wait >= std::max<std::uint64_t>(asked, settings.backoff_min_ms));
    CHECK(wait <= std::max<std::uint64_t>(asked + asked / 8, 2 * settings.backoff_min_ms));
    advance(std::chrono::milliseconds{wait});
  }
  CHECK(row(made.task)->state.attempts == 0);
  CHECK(row(made.task)->history.back().outcome == "deferred");
}

TEST_CASE_METHOD(
    leases, "a thousand deferrals neither lose a task nor pile up its row", "[runtime][queue]") {
  const auto made = enqueue("x");
  for (int i = 0; i < 1000; ++i) {
    const auto given = lease("w");
    REQUIRE(given.size() == 1);
    fail(given[0], true, 0);
    advance(200ms);
  }
  CHECK(row(made.task)->history.size() == task_history_max);
  CHECK(lease("w").size() == 1);
}

TEST_CASE_METHOD(leases, "limits of queue and key are never exceeded", "[runtime][queue]") {
  settings.concurrency = 5;
  settings.key_concurrency = 2;
  configure(settings);
  for (int i = 0; i < 6; ++i) {
    auto command = task("x");
    command.fairness_key = i % 2 == 0 ? "a" : "b";
    enqueue(command);
  }
  const auto first = lease("w", 10);
  CHECK(first.size() == 4);
  take<task_completed>(complete(first[0]));
  CHECK(lease("w", 10).size() == 1);
  // Without a key there is no limit per key, but the queue's own.
  for (int i = 0; i < 3; ++i)
    enqueue("plain");
  CHECK(lease("w", 10).size() == 1);
}

TEST_CASE_METHOD(
    leases, "the end of a task with an origin is told when it is durable", "[runtime][queue]") {
  auto command = task("x");
  command.origin = "run 7";
  const auto made = enqueue(command);
  const auto given = lease("w");
  const auto key = next_key();
  core->complete({key, text(given[0]), "42"}, now);
  REQUIRE(begin_append());
  collect();
  CHECK(endings.empty());
  run();
  REQUIRE(endings.size() == 1);
  CHECK(endings[0] == task_ending{made.task, "run 7", task_end::completed, 0, "42"});
}

TEST_CASE_METHOD(
    leases, "only results that somebody waits for have a most size", "[runtime][queue]") {
  limits.result_bytes_max = 10;
  activate();
  enqueue("x");
  (void)take<task_completed>(complete(lease("w").at(0), std::string(11, 'r')));
  auto command = task("y");
  command.origin = "run 7";
  enqueue(command);
  const auto given = lease("w").at(0);
  CHECK(take_error(complete(given, std::string(11, 'r'))) == errc::too_large);
  // It is still the worker's.
  (void)take<task_completed>(complete(given, std::string(10, 'r')));
  REQUIRE(endings.size() == 1);
  CHECK(endings[0].text == std::string(10, 'r'));
}

TEST_CASE_METHOD(leases, "an error is kept up to its last whole character", "[runtime][queue]") {
  const std::string kept(task_error_size_max - 1, 'x');
  const auto made = enqueue("x");
  const auto given = lease("w");
  core->fail_task({next_key(), text(given[0]), kept + "\u00e4 and more", true, std::nullopt}, now);
  run();
  activate();
  REQUIRE(row(made.task)->history.size() == 1);
  CHECK(row(made.task)->history[0].error == kept);
  advance(1min);
  CHECK(lease("w").size() == 1);
}

TEST_CASE_METHOD(leases, "no error makes a record unreadable", "[runtime][queue]") {
  const auto made = enqueue("x");
  const auto given = lease("\xff");
  core->fail_task({next_key(), text(given[0]), "\xc3", true, std::nullopt}, now);
  run();
  activate();
  CHECK_FALSE(rows.damage);
  CHECK(row(made.task)->phase == task_phase::waiting);
  CHECK(row(made.task)->history.at(0).error == "\xc3");
}

TEST_CASE_METHOD(leases, "a record that cannot be read is damage", "[runtime][queue]") {
  const auto made = enqueue("x");
  write({{storage::record_kind::task_progress, entity, sequence{2}, shared_bytes{"\xff"}}});
  REQUIRE(rows.damage);
  CHECK(rows.damage->code == errc::corruption);
  CHECK(row(made.task)->phase == task_phase::waiting);
}

TEST_CASE_METHOD(leases, "bounds are told at once", "[runtime][queue]") {
  limits.enqueues_in_flight_max = 2;
  limits.waiters_max = 1;
  activate();
  for (int i = 0; i < 3; ++i) {
    auto command = task("x");
    command.key = next_key();
    core->enqueue(std::move(command), now);
  }
  collect();
  CHECK(take_error(queue_request{keys}) == errc::overloaded);
  run();
  CHECK(answers.size() == 2);
  core->lease({next_key(), "w", 1, 0, 1000}, now);
  core->lease({next_key(), "w", 1, 0, 1000}, now);
  collect();
  CHECK(take_error(queue_request{keys}) == errc::overloaded);
}

TEST_CASE("a lease's name says where it is kept and has one spelling", "[runtime][queue]") {
  const lease_token token{shard_id{63}, entity_id{0xabcdef}, task_id{17}, 99, 0xdeadbeef};
  const auto text = format_lease(token);
  CHECK(text == "3f.abcdef.11.63.deadbeef");
  CHECK(parse_lease(text) == token);
  for (const auto* bad :
       {"",
        "1.2.3.4",
        "1.2.3.4.5.",
        "01.2.3.4.5",
        "1.2.3.4.5.6",
        "1.2.3.4.g",
        "1..3.4.5",
        "1.2.3.4.DEADBEEF",
        "1.2.3.4.100000000",
        "-1.2.3.4.5"}) {
    CHECK_FALSE(parse_lease(bad));
  }
}

}  // namespace callboard::runtime
