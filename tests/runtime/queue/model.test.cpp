// Random schedules of everything a queue can do, with late reads, two appends in flight, crashes
// and a window of a few tasks, against a model that knows only the committed records and the
// answers. Goal: what a queue promises holds in every reachable state, not in chosen ones.
#include "tests/runtime/queue/queue_bench.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>
#include <set>

namespace callboard::runtime {

namespace {

std::uint32_t first_seed() {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto seed = given != nullptr ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10))
                                     : std::random_device{}();
  std::cout << "seed: " << seed << '\n';
  return seed;
}

/// What committed records say, told by nothing but the records.
struct durable_model {
  struct one_task {
    task_phase phase = task_phase::waiting;
    std::string fairness_key;
    std::string payload;
    std::uint32_t attempts = 0;
    std::uint64_t lease = 0;
    time_ms ready{};
    std::uint32_t attempts_max = 0;
  };

  std::map<std::uint64_t, one_task> tasks;
  std::size_t read = 0;

  void follow(const std::vector<storage::record>& records) {
    for (; read < records.size(); ++read) {
      const auto& from = records[read];
      if (from.kind == storage::record_kind::task_enqueued) {
        const auto stored = decode_stored_task(from.payload.view(), from.entity_seq);
        const auto& row = stored->row;
        const auto made = tasks.emplace(
            row.state.task.raw(),
            one_task{
                task_phase::waiting,
                row.fairness_key,
                std::string{stored->payload.view()},
                0,
                0,
                row.state.ready,
                row.state.attempts_max});
        REQUIRE(made.second);
      } else if (from.kind == storage::record_kind::task_restated) {
        const auto stored = decode_stored_task(from.payload.view(), from.entity_seq);
        auto& task = tasks.at(stored->row.state.task.raw());
        // Written again as it is; only a dead letter's payload may be another.
        REQUIRE(task.phase == stored->row.phase);
        REQUIRE(task.ready == stored->row.state.ready);
        REQUIRE(task.attempts == stored->row.state.attempts);
        const bool is_same = task.payload == stored->payload.view();
        REQUIRE((is_same || task.phase == task_phase::dead));
        task.payload = stored->payload.view();
      } else if (from.kind == storage::record_kind::task_progress) {
        for (const auto& change : decode_task_progress(from.payload.view())->changes)
          follow(change);
      }
    }
  }

  void follow(const task_change& change) {
    auto& task = tasks.at(change.task.raw());
    INFO("task " << change.task.raw());
    // Nothing ends twice, and what has ended stays ended.
    REQUIRE(task.phase != task_phase::gone);
    if (change.phase == task_phase::leased && change.lease.number != task.lease) {
      // A new lease is newer than any before.
      REQUIRE(change.lease.number > task.lease);
      task.lease = change.lease.number;
    }
    REQUIRE(change.attempts <= task.attempts_max);
    task.phase = change.phase;
    task.attempts = change.attempts;
    task.ready = change.ready;
  }

  [[nodiscard]] std::uint64_t count(task_phase phase) const {
    return static_cast<std::uint64_t>(std::ranges::count_if(
        tasks, [&](const auto& entry) { return entry.second.phase == phase; }));
  }
};

class schedule : public queue_bench {
public:
  explicit schedule(std::uint32_t seed) : dice_{seed} {
    settings.concurrency = 2 + roll(12);
    settings.key_concurrency = roll(4);
    settings.aging_ms = roll(2) == 0 ? 0 : 500;
    settings.fairness_quantum = 1 + roll(4);
    settings.attempts_max = 2 + roll(3);
    settings.lease_ms = 400;
    settings.backoff_max_ms = 300;
    settings.dedupe_window_s = 1 + roll(4);
    limits.window_keys_max = 1 + roll(6);
    limits.window_tasks_max = 1 + roll(20);
    limits.window_key_tasks_max = 2 + roll(10);
    limits.window_key_tasks_min = 1 + roll(2);
    limits.window_payload_bytes_max = roll(2) * 60;
    limits.recent_keys_max = 1 + roll(8);
    limits.trim_records_min = 10 + roll(40);
    limits.leases_max = 1000;
    // Few keys and rare commits lead rings round while records are still under way.
    fairness_keys_ = 2 + roll(8);
    append_sides_ = 1 + roll(6);
    classes_ = 1 + roll(4);
    create();
  }

  void step() {
    const auto action = roll(100);
    if (action < 28) {
      for (auto n = roll(5); n > 0; --n)
        enqueue_one();
    } else if (action < 48) {
      lease_some();
    } else if (action < 63) {
      end_some();
    } else if (action < 67) {
      extend_some();
    } else if (action < 71) {
      core->leave({next_key(), worker(), {}}, now);
    } else if (action < 80) {
      advance(std::chrono::milliseconds{roll(250)});
      core->tick(now);
    } else if (action < 88) {
      change_some_dead();
    } else if (action < 91) {
      crash();
    } else if (action < 94) {
      withdraw_one();
    } else if (action < 97) {
      tell_some();
    } else if (action < 98) {
      cancel_one();
    } else if (roll(4) == 0) {
      purge_all();
    }
    core->match(now);
    if (roll(2) == 0) begin_read();
    if (roll(3) == 0) look();
    if (roll(2) == 0) finish_read();
    core->expire_waiters(now);
    if (roll(append_sides_) == 0) begin_append();
    if (roll(append_sides_) == 0) commit_append();
    settle();
  }

  /// Works everything off; every task must come to an end that was promised.
  void drain() {
    run();
    settle();
    for (int round = 0;
         round < 5000 && model_.count(task_phase::waiting) + model_.count(task_phase::leased) > 0;
         ++round) {
      lease_command command;
      command.key = next_key();
      command.worker = "drain";
      command.max = 5;
      lease_keys_.insert(command.key.raw());
      core->lease(std::move(command), now);
      run();
      settle();
      for (const auto& [task, text] : std::exchange(held_, {})) {
        const auto key = next_key();
        completes_[key.raw()] = task;
        core->complete({key, text, {}}, now);
      }
      advance(100ms);
      run();
      settle();
    }
    CHECK(model_.count(task_phase::waiting) == 0);
    CHECK(model_.count(task_phase::leased) == 0);
    for (const auto task : enqueued_) {
      INFO("task " << task);
      const auto phase = model_.tasks.at(task).phase;
      REQUIRE((phase == task_phase::dead || phase == task_phase::gone));
      const bool is_explained = phase == task_phase::dead || completed_.contains(task)
                                || abandoned_.contains(task) || withdrawn_.contains(task)
                                || unsure_.contains(task);
      REQUIRE(is_explained);
    }
    CHECK(core->counts().leased == 0);
  }

private:
  std::uint32_t roll(std::uint32_t sides) { return static_cast<std::uint32_t>(dice_() % sides); }

  std::string worker() { return std::string(1, static_cast<char>('p' + roll(3))); }

  void enqueue_one() {
    auto command = task(std::string(1 + roll(20), 'x'), static_cast<task_priority>(roll(classes_)));
    command.key = next_key();
    const auto fairness = roll(fairness_keys_);
    if (fairness > 0) command.fairness_key = "k" + std::to_string(fairness);
    if (roll(4) == 0) command.dedupe_key = "d" + std::to_string(roll(6));
    if (roll(4) == 0) command.delay_ms = roll(400);
    if (roll(4) == 0) {
      command.origin = "o" + std::to_string(roll(12));
      command.dedupe_key.clear();
      origin_keys_[command.key.raw()] = command.origin;
    }
    enqueue_keys_[command.key.raw()] = {command.dedupe_key, now.shard};
    core->enqueue(std::move(command), now);
  }

  void withdraw_one() {
    const auto origin = "o" + std::to_string(roll(12));
    const auto key = next_key();
    withdraw_keys_[key.raw()] = origin;
    core->withdraw({key, origin});
  }

  void cancel_one() {
    const task_id task{1 + roll(static_cast<std::uint32_t>(enqueued_.size()) + 1)};
    const auto key = next_key();
    cancel_keys_[key.raw()] = task.raw();
    core->cancel({key, task, "ann"});
  }

  void purge_all() {
    const auto key = next_key();
    purge_keys_.insert(key.raw());
    core->purge({key, roll(2) == 0, "ann"});
  }

  /// Some of what is gone was taken by a purge; nobody is told which.
  void note_purged() {
    for (const auto& [task, state] : model_.tasks) {
      if (state.phase == task_phase::gone && !completed_.contains(task)) unsure_.insert(task);
    }
  }

  /// Whoever waits has heard of some ends, of some of them before.
  void tell_some() {
    std::vector<task_id> told;
    for (const auto& one : endings) {
      if (roll(2) == 0) told.push_back(one.task);
    }
    if (told.empty()) return;
    for (const auto task : told)
      telling_.insert(task.raw());
    core->told(told);
  }

  void lease_some() {
    lease_command command;
    command.key = next_key();
    command.worker = worker();
    command.max = 1 + roll(4);
    command.wait_ms = roll(2) * 300;
    lease_keys_.insert(command.key.raw());
    core->lease(std::move(command), now);
  }

  void end_some() {
    for (auto at = held_.begin(); at != held_.end();) {
      const auto choice = roll(5);
      if (choice >= 3) {
        ++at;
        continue;
      }
      const auto key = next_key();
      if (choice < 2) {
        completes_[key.raw()] = at->first;
        core->complete({key, at->second, "r"}, now);
      } else {
        std::optional<std::uint64_t> retry_after;
        if (roll(3) == 0) retry_after = roll(300);
        core->fail_task({key, at->second, "e", roll(8) != 0, retry_after}, now);
      }
      // Asked twice, it is answered once with success at most.
      if (roll(4) == 0) {
        const auto again = next_key();
        completes_[again.raw()] = at->first;
        core->complete({again, at->second, "r"}, now);
      }
      at = held_.erase(at);
    }
  }

  void extend_some() {
    for (const auto& [task, text] : held_) {
      if (roll(2) == 0) core->extend({next_key(), text, roll(2) * (200 + roll(400))}, now);
    }
  }

  void change_some_dead() {
    dead_command command;
    command.key = next_key();
    command.what = static_cast<dead_command::action>(roll(3));
    command.who = "ann";
    for (const auto& [task, state] : model_.tasks) {
      if (state.phase == task_phase::dead && roll(2) == 0) command.tasks.push_back(task_id{task});
    }
    if (command.tasks.empty()) return;
    if (command.what == dead_command::action::edit) {
      command.tasks.resize(1);
      command.payload = shared_bytes{std::string{"edited"}};
    }
    dead_keys_[command.key.raw()] = command.what;
    core->change_dead(std::move(command));
  }

  /// Appends in flight may or may not have reached the journal.
  void crash() {
    while (!flying_.empty() && roll(2) == 0) {
      write(std::move(flying_.front()));
      flying_.pop_front();
    }
    settle();
    // What was asked and not answered may have happened.
    for (const auto& [key, task] : completes_)
      unsure_.insert(task);
    for (const auto& [key, what] : dead_keys_) {
      if (what != dead_command::action::abandon) continue;
      for (const auto& [task, state] : model_.tasks) {
        if (state.phase == task_phase::gone && !completed_.contains(task)) unsure_.insert(task);
      }
    }
    for (const auto& [key, origin] : withdraw_keys_) {
      loose_origins_.insert(origin);
      for (const auto& [task, state] : model_.tasks) {
        if (state.phase == task_phase::gone && !completed_.contains(task)) unsure_.insert(task);
      }
    }
    for (const auto& [key, task] : std::exchange(cancel_keys_, {}))
      unsure_.insert(task);
    if (!std::exchange(purge_keys_, {}).empty()) note_purged();
    for (const auto& [origin, task] : origin_tasks_) {
      if (telling_.contains(task)) loose_origins_.insert(origin);
    }
    withdraw_keys_.clear();
    origin_keys_.clear();
    telling_.clear();
    check_origins();
    completes_.clear();
    dead_keys_.clear();
    enqueue_keys_.clear();
    lease_keys_.clear();
    check_rebuilt();
    if (roll(3) == 0) {
      // Another machine, whose boot clock begins elsewhere.
      now.boot = std::chrono::milliseconds{roll(1000)};
    }
    activate();
    check_image();
  }

  void settle() {
    model_.follow(records);
    collect();
    for (const auto task : std::exchange(heard, {})) {
      std::erase_if(endings, [&](const auto& one) { return one.task == task; });
      telling_.erase(task.raw());
      told_.insert(task.raw());
      forget_origins_of(task.raw());
    }
    const auto told = std::exchange(answers, {});
    // A lease or another enqueue may be answered beside the withdrawal that comes between them.
    for (const auto key : std::exchange(answered, {}))
      take_note(key, told.at(key));
    check();
  }

  /// Each has its task until that has ended and this was told; what is not told is kept.
  void check_origins() {
    std::map<std::string, std::uint64_t> kept;
    for (int i = 0; i < 12; ++i) {
      const auto origin = "o" + std::to_string(i);
      const auto task = *read_origin(rows, entity, origin);
      if (task) kept[origin] = task->raw();
      const auto known = origin_tasks_.find(origin);
      if (known == origin_tasks_.end() || loose_origins_.contains(origin)) continue;
      INFO("origin " << origin);
      REQUIRE(task);
      REQUIRE(task->raw() == known->second);
    }
    origin_tasks_ = std::move(kept);
    loose_origins_.clear();
    const auto ends = read_endings(rows, {}, 10'000, 1 << 30)->endings;
    const auto anew = read_endings(rebuilt(), {}, 10'000, 1 << 30)->endings;
    REQUIRE(ends == anew);
    endings.clear();
    for (const auto& [queue, ending] : ends)
      endings.push_back(ending);
  }

  void note_origin(const std::string& origin, const enqueued_task& made) {
    INFO("origin " << origin << " task " << made.task.raw());
    // Asked before that was known, and answered behind it.
    if (told_.contains(made.task.raw()) || withdrawn_.contains(made.task.raw())) return;
    auto& known = origin_tasks_[origin];
    if (known != 0) REQUIRE(made.is_duplicate);
    if (known != 0) REQUIRE(made.task.raw() == known);
    known = made.task.raw();
  }

  void forget_origins_of(std::uint64_t task) {
    std::erase_if(origin_tasks_, [&](const auto& one) { return one.second == task; });
  }

  void take_note(std::uint64_t key, const result<queue_outcome>& outcome) {
    if (!outcome) {
      const auto code = outcome.error().code;
      if (cancel_keys_.erase(key) > 0) {
        REQUIRE(code == errc::task_not_found);
        return;
      }
      if (purge_keys_.erase(key) > 0) {
        REQUIRE(code == errc::overloaded);
      } else if (dead_keys_.erase(key) > 0) {
        REQUIRE((code == errc::task_not_found || code == errc::overloaded));
      } else {
        REQUIRE((code == errc::lease_lost || code == errc::overloaded || code == errc::cancelled));
      }
      completes_.erase(key);
      enqueue_keys_.erase(key);
      return;
    }
    if (const auto* made = std::get_if<enqueued_task>(&*outcome)) {
      note_enqueued(key, *made);
    } else if (const auto* given = std::get_if<granted_tasks>(&*outcome)) {
      for (const auto& one : given->tasks)
        note_granted(one);
    } else if (std::get_if<task_completed>(&*outcome) != nullptr) {
      const auto task = completes_.extract(key).mapped();
      INFO("task " << task << " completed twice");
      REQUIRE(completed_.insert(task).second);
      REQUIRE(model_.tasks.at(task).phase == task_phase::gone);
    } else if (const auto* taken = std::get_if<task_withdrawn>(&*outcome)) {
      const auto origin = withdraw_keys_.extract(key).mapped();
      const auto known = origin_tasks_.find(origin);
      if (taken->was_open && known != origin_tasks_.end()) {
        withdrawn_.insert(known->second);
        REQUIRE(model_.tasks.at(known->second).phase == task_phase::gone);
        origin_tasks_.erase(known);
      }
    } else if (std::get_if<task_cancelled>(&*outcome) != nullptr) {
      const auto task = cancel_keys_.extract(key).mapped();
      INFO("task " << task << " cancelled");
      REQUIRE(model_.tasks.at(task).phase == task_phase::gone);
      REQUIRE_FALSE(completed_.contains(task));
      REQUIRE(abandoned_.insert(task).second);
    } else if (std::get_if<queue_purged>(&*outcome) != nullptr) {
      REQUIRE(purge_keys_.erase(key) > 0);
      note_purged();
    } else if (const auto* changed = std::get_if<dead_changed>(&*outcome)) {
      const auto what = dead_keys_.extract(key).mapped();
      for (const auto task : changed->changed) {
        if (what == dead_command::action::abandon) abandoned_.insert(task.raw());
      }
    }
  }

  void note_enqueued(std::uint64_t key, const enqueued_task& made) {
    const auto asked = enqueue_keys_.extract(key).mapped();
    REQUIRE(model_.tasks.contains(made.task.raw()));
    if (const auto origin = origin_keys_.extract(key)) {
      note_origin(origin.mapped(), made);
      if (made.is_duplicate) return;
    }
    if (!made.is_duplicate) {
      INFO("task " << made.task.raw());
      REQUIRE(enqueued_.insert(made.task.raw()).second);
      if (asked.first.empty()) return;
    }
    if (!asked.first.empty()) {
      // Within the window of the first task its key names that task and no other.
      const auto time = row_time_[made.task.raw()];
      auto& last = keyed_[asked.first];
      if (made.is_duplicate && last.first == made.task.raw()) return;
      if (!made.is_duplicate && last.first != 0 && last.second != time_ms{}) {
        REQUIRE(asked.second + 5s > last.second);
      }
      last = {made.task.raw(), time};
    }
  }

  void note_granted(const granted_task& one) {
    const auto task = one.token.task.raw();
    INFO("task " << task);
    REQUIRE(one.payload);
    const auto& known = model_.tasks.at(task);
    // Durable before anybody hears of it, and the only one that is.
    REQUIRE(known.lease >= one.token.number);
    REQUIRE_FALSE(completed_.contains(task));
    REQUIRE_FALSE(abandoned_.contains(task));
    REQUIRE_FALSE(withdrawn_.contains(task));
    REQUIRE(known.payload == one.payload->view());
    REQUIRE(one.attempt <= known.attempts_max);
    auto& number = granted_[task];
    REQUIRE(one.token.number > number);
    number = one.token.number;
    held_[task] = text(one);
  }

  void check() {
    const auto counts = core->counts();
    REQUIRE(counts.leased <= settings.concurrency);
    std::map<std::string, std::uint32_t> per_key;
    for (const auto& [task, state] : model_.tasks) {
      if (state.phase == task_phase::leased) ++per_key[state.fairness_key];
    }
    std::uint64_t leased = 0;
    for (const auto& [key, count] : per_key) {
      leased += count;
      if (settings.key_concurrency != 0 && !key.empty()) REQUIRE(count <= settings.key_concurrency);
    }
    REQUIRE(leased <= settings.concurrency);
    REQUIRE(
        counts.window_tasks
        <= priority_count
               * (limits.window_tasks_max + limits.window_keys_max * limits.window_key_tasks_max));
    REQUIRE(counts.window_keys <= priority_count * limits.window_keys_max);
    REQUIRE(counts.window_payload_bytes <= priority_count * limits.window_payload_bytes_max);
  }

  /// Rows from all records one by one, and from those that were kept, say what the model says.
  void check_rebuilt() {
    for (const auto& table : {rows, rebuilt()}) {
      const auto image = read_queue_image(table, entity);
      REQUIRE(image);
      std::uint64_t waiting = 0;
      for (const auto count : image->counters.waiting)
        waiting += count;
      REQUIRE(waiting == model_.count(task_phase::waiting));
      REQUIRE(image->counters.leased == model_.count(task_phase::leased));
      REQUIRE(image->counters.dead == model_.count(task_phase::dead));
      REQUIRE(image->leases.size() == image->counters.leased);
      for (const auto& [task, state] : model_.tasks) {
        INFO("task " << task);
        const auto row = read_task(table, entity, task_id{task});
        REQUIRE(row);
        REQUIRE(row->has_value() == (state.phase != task_phase::gone));
        if (!*row) continue;
        REQUIRE((*row)->phase == state.phase);
        REQUIRE((*row)->state.ready == state.ready);
        REQUIRE((*row)->state.attempts == state.attempts);
        REQUIRE((*row)->state.place > floor);
      }
    }
  }

  void check_image() {
    const auto counts = core->counts();
    std::uint64_t waiting = 0;
    for (const auto count : counts.waiting)
      waiting += count;
    REQUIRE(waiting == model_.count(task_phase::waiting));
    REQUIRE(counts.leased == model_.count(task_phase::leased));
    REQUIRE(counts.dead == model_.count(task_phase::dead));
  }

  std::mt19937 dice_;
  std::uint32_t fairness_keys_ = 9;
  std::uint32_t append_sides_ = 2;
  std::uint32_t classes_ = 4;
  durable_model model_;
  /// Told to be enqueued, completed, abandoned; asked for without an answer before a crash.
  std::set<std::uint64_t> enqueued_;
  std::set<std::uint64_t> completed_;
  std::set<std::uint64_t> abandoned_;
  std::set<std::uint64_t> unsure_;
  std::set<std::uint64_t> withdrawn_;
  /// Tasks by origin, as far as their ends are not told; and what crashes left open of that.
  std::map<std::string, std::uint64_t> origin_tasks_;
  std::set<std::string> loose_origins_;
  std::set<std::uint64_t> telling_;
  std::set<std::uint64_t> told_;
  std::map<std::uint64_t, std::string> origin_keys_;
  std::map<std::uint64_t, std::string> withdraw_keys_;
  std::map<std::uint64_t, std::uint64_t> cancel_keys_;
  std::set<std::uint64_t> purge_keys_;
  std::map<std::uint64_t, std::uint64_t> granted_;
  std::map<std::uint64_t, std::string> held_;
  std::map<std::uint64_t, std::uint64_t> completes_;
  std::map<std::uint64_t, dead_command::action> dead_keys_;
  std::map<std::uint64_t, std::pair<std::string, time_ms>> enqueue_keys_;
  std::set<std::uint64_t> lease_keys_;
  std::map<std::uint64_t, time_ms> row_time_;
  std::map<std::string, std::pair<std::uint64_t, time_ms>> keyed_;
};

}  // namespace

TEST_CASE("random schedules keep a queue's promises", "[runtime][queue][property]") {
  const auto base = first_seed();
  for (std::uint32_t n = 0; n < 150; ++n) {
    const auto seed = base + n;
    INFO("seed " << seed);
    schedule one{seed};
    for (int step = 0; step < 400; ++step)
      one.step();
    one.drain();
  }
}

TEST_CASE(
    "between two turns of a key no other has more than its share", "[runtime][queue][property]") {
  const auto base = first_seed();
  for (std::uint32_t n = 0; n < 60; ++n) {
    INFO("seed " << base + n);
    std::mt19937 dice{base + n};
    queue_bench bench;
    bench.settings.fairness_quantum = 1 + dice() % 4;
    bench.settings.aging_ms = dice() % 2 * 1000;
    bench.limits.window_keys_max = 1 + dice() % 8;
    bench.limits.window_tasks_max = 4 + dice() % 40;
    bench.limits.window_key_tasks_max = 4 + dice() % 20;
    bench.limits.window_key_tasks_min = bench.settings.fairness_quantum;
    bench.create();
    const auto quantum = bench.settings.fairness_quantum;
    std::map<std::uint64_t, std::string> owner;
    std::map<std::string, std::uint32_t> left;
    const auto keys = 2 + dice() % 15;
    for (std::uint32_t key = 0; key < keys; ++key) {
      const auto name = "k" + std::to_string(key);
      for (auto count = 1 + dice() % 60; count > 0; --count) {
        auto command = queue_bench::task("x");
        command.fairness_key = name;
        owner[bench.enqueue(command).task.raw()] = name;
        ++left[name];
      }
    }
    if (dice() % 2 == 0) bench.activate();
    bench.advance(std::chrono::milliseconds{dice() % 5000});
    // Leases of each other key since a key's own last one.
    std::map<std::string, std::map<std::string, std::uint32_t>> since;
    for (std::size_t served = 0; served < owner.size(); ++served) {
      const auto given = bench.lease("w");
      REQUIRE(given.size() == 1);
      bench.complete(given[0]);
      const auto& name = owner.at(given[0].token.task.raw());
      since.erase(name);
      if (--left.at(name) == 0) left.erase(name);
      for (const auto& [waiting, count] : left) {
        if (waiting == name) continue;
        INFO(waiting << " waits for " << name);
        REQUIRE(++since[waiting][name] <= 2 * quantum);
      }
    }
  }
}

}  // namespace callboard::runtime
