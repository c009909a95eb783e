// A backlog larger than memory: windows, segments of the ring of keys, reads that are late, and
// records that are given back.
#include "tests/runtime/queue/queue_bench.hpp"

#include <algorithm>
#include <set>

namespace callboard::runtime {

namespace {

struct pages : queue_bench {
  pages() {
    limits.window_keys_max = 4;
    limits.window_tasks_max = 40;
    limits.window_key_tasks_max = 16;
    limits.window_key_tasks_min = 2;
    settings.aging_ms = 0;
    create();
  }

  void fill(int count, const std::string& key, task_priority priority = task_priority::normal) {
    for (int i = 0; i < count; ++i) {
      auto command = task("x" + std::to_string(i), priority);
      command.key = next_key();
      command.fairness_key = key;
      core->enqueue(std::move(command), now);
      if (i % 50 == 49) run();
    }
    run();
    answers.clear();
  }

  void check_window() const {
    const auto counts = core->counts();
    // Per priority: the window, and the least of each key.
    REQUIRE(counts.window_tasks <= 4 * (40 + 4 * 16));
    REQUIRE(counts.window_keys <= 4 * 4);
  }

  /// Leases and completes all there is; in the order of leases.
  std::vector<task_id> drain(std::uint32_t at_once = 7) {
    std::vector<task_id> seen;
    while (true) {
      const auto given = lease("w", at_once);
      if (given.empty()) return seen;
      for (const auto& one : given) {
        REQUIRE(one.payload);
        seen.push_back(one.token.task);
        core->complete({next_key(), text(one), {}}, now);
      }
      run();
      check_window();
    }
  }
};

void check_each_once(const std::vector<task_id>& seen, std::size_t count) {
  CHECK(seen.size() == count);
  CHECK(std::set<task_id>(seen.begin(), seen.end()).size() == count);
}

}  // namespace

TEST_CASE_METHOD(
    pages,
    "a backlog beyond the window is read as it is needed, in order",
    "[runtime][queue][pages]") {
  fill(500, "a");
  check_window();
  const auto seen = drain();
  check_each_once(seen, 500);
  CHECK(std::ranges::is_sorted(seen));
}

TEST_CASE_METHOD(
    pages, "many keys share a small window, each in its turn", "[runtime][queue][pages]") {
  settings.fairness_quantum = 1;
  configure(settings);
  std::map<std::uint64_t, int> owner;
  for (int round = 0; round < 5; ++round) {
    for (int key = 0; key < 30; ++key) {
      auto command = task("x");
      command.fairness_key = "k" + std::to_string(key);
      owner[enqueue(command).task.raw()] = key;
    }
  }
  activate();
  const auto seen = drain(1);
  check_each_once(seen, 150);
  // In every round each key once.
  for (std::size_t round = 0; round < 5; ++round) {
    std::set<int> keys;
    for (std::size_t i = 0; i < 30; ++i)
      keys.insert(owner.at(seen[round * 30 + i].raw()));
    CHECK(keys.size() == 30);
  }
}

TEST_CASE_METHOD(
    pages,
    "a single task starts within a round, whatever waits of others",
    "[runtime][queue][pages]") {
  settings.fairness_quantum = 2;
  configure(settings);
  for (int key = 0; key < 12; ++key)
    fill(60, "k" + std::to_string(key));
  for (int probe = 0; probe < 5; ++probe) {
    auto command = task("small");
    command.fairness_key = "small" + std::to_string(probe);
    const auto small = enqueue(command).task;
    std::size_t before = 0;
    while (true) {
      const auto given = lease("w");
      REQUIRE(given.size() == 1);
      complete(given[0]);
      if (given[0].token.task == small) break;
      ++before;
    }
    CHECK(before <= 13 * 2 + 2);
  }
}

TEST_CASE_METHOD(
    pages, "keys that may not be served are not read again and again", "[runtime][queue][pages]") {
  settings.key_concurrency = 1;
  configure(settings);
  for (int key = 0; key < 20; ++key)
    fill(3, "k" + std::to_string(key));
  std::vector<granted_task> held;
  for (auto given = lease("w", 100); !given.empty(); given = lease("w", 100))
    held.insert(held.end(), given.begin(), given.end());
  REQUIRE(held.size() == 20);
  std::vector<std::string> names;
  for (const auto& one : held)
    names.push_back(row(one.token.task)->fairness_key);
  // One who waits, with nothing to be had: the ring is gone through once, then it rests.
  const auto waiting = next_key();
  core->lease({waiting, "v", 1, 0, 20'000}, now);
  run();
  const auto before = reads;
  for (int i = 0; i < 100; ++i) {
    advance(50ms);
    run();
  }
  CHECK(reads == before);
  CHECK(answers.empty());
  // Until one of the keys has room again.
  for (const auto n : {std::size_t{7}, std::size_t{19}}) {
    take<task_completed>(complete(held[n]));
    const auto next = n == 7 ? take<granted_tasks>(waiting).tasks : lease("v");
    REQUIRE(next.size() == 1);
    CHECK(row(next[0].token.task)->fairness_key == names[n]);
  }
}

TEST_CASE_METHOD(pages, "delayed tasks of many keys are woken in time", "[runtime][queue][pages]") {
  for (int key = 0; key < 20; ++key) {
    auto command = task("x");
    command.fairness_key = "k" + std::to_string(key);
    command.delay_ms = 1000 + static_cast<std::uint64_t>(key);
    enqueue(command);
  }
  activate();
  const auto waiting = next_key();
  core->lease({waiting, "w", 1, 0, 20'000}, now);
  run();
  const auto before = reads;
  for (int i = 0; i < 9; ++i) {
    advance(100ms);
    run();
  }
  CHECK(reads == before);
  CHECK(answers.empty());
  advance(100ms);
  run();
  CHECK(take<granted_tasks>(waiting).tasks.size() == 1);
  advance(1s);
  CHECK(drain().size() == 19);
}

TEST_CASE_METHOD(
    pages, "what is decided while a page is read is not undone by it", "[runtime][queue][pages]") {
  fill(40, "a");
  activate();
  core->lease({next_key(), "w", 10, 0, 20'000}, now);
  REQUIRE(begin_read());
  look();
  // Behind the page: new tasks, of a new key as well, and committed.
  for (int i = 0; i < 8; ++i) {
    auto command = task("new");
    command.key = next_key();
    command.fairness_key = i < 5 ? "a" : "b";
    core->enqueue(std::move(command), now);
  }
  REQUIRE(begin_append());
  REQUIRE(commit_append());
  REQUIRE(finish_read());
  run();
  const auto first = take<granted_tasks>(queue_request{41});
  REQUIRE(first.tasks.size() == 10);
  std::vector<task_id> seen;
  for (const auto& one : first.tasks) {
    seen.push_back(one.token.task);
    complete(one);
  }
  const auto rest = drain();
  seen.insert(seen.end(), rest.begin(), rest.end());
  check_each_once(seen, 48);
}

TEST_CASE_METHOD(
    pages, "payloads in memory are bounded by their bytes", "[runtime][queue][pages]") {
  limits.window_payload_bytes_max = 100;
  activate();
  for (int i = 0; i < 10; ++i)
    enqueue(std::string(30, 'p'));
  CHECK(core->counts().window_payload_bytes <= 100);
  CHECK(core->counts().window_tasks == 10);
  CHECK(drain().size() == 10);
  CHECK(core->counts().window_payload_bytes == 0);
}

TEST_CASE_METHOD(
    pages,
    "a failed read is told to those who wait, and nothing is lost",
    "[runtime][queue][pages]") {
  fill(30, "a");
  activate();
  const auto asked = next_key();
  core->lease({asked, "w", 1, 0, 1000}, now);
  REQUIRE(core->plan_read(now));
  core->read_failed({errc::overloaded, "busy", 0}, now);
  collect();
  CHECK(answers.empty());
  REQUIRE(core->plan_read(now));
  core->read_failed({errc::quarantined, "damaged", 0}, now);
  collect();
  CHECK(take_error(asked) == errc::quarantined);
  // Damage mended: the same tasks are there.
  CHECK(drain().size() == 30);
}

TEST_CASE_METHOD(
    pages, "a lease whose payload cannot be read goes back uncounted", "[runtime][queue][pages]") {
  limits.window_payload_bytes_max = 0;
  activate();
  const auto made = enqueue("x");
  const auto asked = next_key();
  core->lease({asked, "w", 1, 0, 1000}, now);
  core->match(now);
  REQUIRE(begin_append());
  REQUIRE(commit_append());
  REQUIRE(core->plan_read(now));
  core->read_failed({errc::io_error, "disk", 0}, now);
  collect();
  CHECK(take_error(asked) == errc::io_error);
  run();
  CHECK(row(made.task)->state.attempts == 0);
  advance(2s);
  CHECK(lease("w").size() == 1);
}

TEST_CASE_METHOD(
    pages, "records are given back although an old task still waits", "[runtime][queue][trim]") {
  limits.trim_records_min = 100;
  activate();
  auto late = task("late");
  late.delay_ms = 3'600'000;
  const auto old = enqueue(late).task;
  auto dying = task("dying");
  dying.attempts_max = 1;
  const auto dead = enqueue(dying).task;
  fail(lease("w")[0]);
  enqueue("held");
  const auto held = lease("w", 1, 86'400'000);
  std::size_t most = 0;
  for (int round = 0; round < 20; ++round) {
    fill(50, "a");
    drain();
    most = std::max(most, kept_records());
  }
  CHECK(most < 500);
  CHECK(floor > sequence{1000});
  // All of them are still what they were.
  CHECK(row(old)->state.place > floor);
  CHECK(row(dead)->phase == task_phase::dead);
  CHECK(row(dead)->history.size() == 1);
  activate();
  take<task_completed>(complete(held[0]));
  change_dead(dead_command::action::redrive, {dead});
  CHECK(payload(lease("w")[0]) == "dying");
  advance(1h);
  CHECK(payload(lease("w")[0]) == "late");
}

TEST_CASE_METHOD(
    pages, "views made anew from what was kept are the same", "[runtime][queue][trim]") {
  limits.trim_records_min = 50;
  settings.dedupe_window_s = 10;
  configure(settings);
  activate();
  for (int round = 0; round < 10; ++round) {
    auto keyed = task("x");
    keyed.dedupe_key = "k" + std::to_string(round);
    keyed.delay_ms = 1'000'000;
    enqueue(keyed);
    fill(30, "a");
    drain();
    advance(3s);
  }
  CHECK(floor > sequence{});
  const auto anew = rebuilt();
  for (const auto& [key, value] : rows.rows) {
    if (key.first == storage::view_id::queue_dedupe) continue;
    if (key.first == storage::view_id::queue_counters) continue;
    INFO("view " << static_cast<int>(key.first));
    const auto found = anew.rows.find(key);
    REQUIRE(found != anew.rows.end());
    CHECK(found->second == value);
  }
  const auto image = read_queue_image(anew, entity);
  const auto before = read_queue_image(rows, entity);
  REQUIRE(image);
  CHECK(image->counters.waiting == before->counters.waiting);
  CHECK(image->counters.last_lease == before->counters.last_lease);
  CHECK(image->counters.last_seq == before->counters.last_seq);
  CHECK(image->counters.floor == before->counters.floor);
  // Keys within their window are known there, too.
  const auto known = read_dedupe(anew, entity, hash_128("k9"));
  REQUIRE(known);
  CHECK(known->has_value());
}

TEST_CASE("a deleted queue leaves no row but that it has gone", "[runtime][queue]") {
  queue_bench bench;
  bench.create();
  auto command = queue_bench::task("x");
  command.dedupe_key = "k";
  bench.enqueue(command);
  bench.enqueue("y");
  bench.lease("w");
  storage::record gone;
  gone.lsn = lsn{99};
  gone.entity = queue_bench::entity;
  gone.kind = storage::record_kind::queue_closed;
  gone.payload = shared_bytes{encode_queue_deleted({queue_bench::name()})};
  bench.rows.apply(gone);
  const auto is_gone = [&] {
    return bench.rows.rows.size() == 1
           && bench.rows.rows.begin()->first.first == storage::view_id::queue_gone;
  };
  CHECK(is_gone());
  // A record behind the deletion, as an append under way may leave one, brings nothing back.
  for (auto late : bench.records) {
    if (late.kind == storage::record_kind::queue_created) continue;
    bench.rows.apply(late);
  }
  CHECK(is_gone());
  gone.kind = storage::record_kind::queue_deleted;
  bench.rows.apply(gone);
  CHECK(bench.rows.rows.empty());
}

TEST_CASE(
    "a million tasks of any number of keys take no more memory than a few",
    "[runtime][queue][pages]") {
  // Rows are made up as they are asked for: the test would be what takes the memory.
  struct endless final : row_source {
    [[nodiscard]] lsn as_of() const override { return lsn{9'000'000}; }

    [[nodiscard]] result<std::optional<std::string>>
    get(storage::view_id view, std::string_view) const override {
      if (view != storage::view_id::queue_counters) return std::optional<std::string>{};
      queue_counters counters;
      counters.waiting[2] = 1'000'000;
      counters.last_seq = sequence{1'000'000};
      return encode_counters(counters);
    }

    [[nodiscard]] result<void>
    scan(storage::view_id, std::string_view, std::string_view, const visitor&) const override {
      return {};
    }
  };

  const auto image = read_queue_image(endless{}, entity_id{1});
  REQUIRE(image);
  queue_limits limits;
  queue_core core{
      {shard_id{0}, entity_id{1}, {}, limits, [] { return 4U; }}, *image, {1s, time_ms{1h}}};
  std::uint64_t task = 0;
  std::uint64_t leased = 0;
  for (int turn = 0; leased < 100'000 && turn < 10'000; ++turn) {
    const queue_time now{1s, time_ms{2h}};
    core.lease({queue_request{static_cast<std::uint64_t>(turn) + 1}, "w", 1000, 0, 1000}, now);
    core.match(now);
    if (const auto plan = core.plan_read(now)) {
      queue_read_result found;
      found.as_of = lsn{9'000'000};
      for (const auto& ask : plan->segments) {
        segment_page page{ask.priority, ask.from, 0, {}};
        // Keys every 2^44: a million of them, and each with more than a page.
        for (std::uint32_t i = 0; i < ask.keys_max; ++i) {
          key_page key{((ask.from >> 44) + i + 1) << 44, {}, false};
          for (std::uint32_t n = 0; n < ask.key_tasks_max; ++n) {
            task_state state;
            state.task = task_id{++task};
            state.priority = ask.priority;
            state.fairness = key.fairness;
            state.ready = time_ms{1h} + std::chrono::milliseconds{task};
            key.tasks.push_back(state);
          }
          page.to = key.fairness;
          page.keys.push_back(std::move(key));
        }
        found.segments.push_back(std::move(page));
      }
      for (const auto& ask : plan->keys) {
        key_page key{ask.fairness, {}, false};
        for (std::uint32_t n = 0; n < ask.tasks_max; ++n) {
          task_state state;
          state.task = task_id{++task};
          state.priority = ask.priority;
          state.fairness = ask.fairness;
          state.ready = time_ms{1h} + std::chrono::milliseconds{task};
          key.tasks.push_back(state);
        }
        found.keys.push_back(std::move(key));
      }
      for (const auto& ask : plan->payloads)
        found.payloads.push_back({ask.task, shared_bytes{std::string{"p"}}});
      core.loaded(std::move(found), now);
    }
    if (core.take_append()) core.committed(lsn{10'000'000}, now);
    for (const auto& answer : core.take_answers()) {
      REQUIRE(answer.outcome);
      const auto* given = std::get_if<granted_tasks>(&*answer.outcome);
      if (given == nullptr) continue;
      leased += given->tasks.size();
      for (const auto& one : given->tasks)
        core.complete({queue_request{1'000'000'000 + leased}, format_lease(one.token), {}}, now);
    }
    const auto counts = core.counts();
    REQUIRE(counts.window_keys <= limits.window_keys_max);
    REQUIRE(
        counts.window_tasks
        <= limits.window_tasks_max + limits.window_keys_max * limits.window_key_tasks_min);
  }
  CHECK(leased >= 100'000);
}

}  // namespace callboard::runtime
