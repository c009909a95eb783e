#include "runtime/queue/queue_core.hpp"

#include "base/time.hpp"
#include "runtime/queue/queue_codec.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::runtime {

namespace {

/// Changes that one record of progress lists.
constexpr std::size_t changes_per_record_max = 1000;

}  // namespace

queue_core::queue_core(options with, const queue_image& image, queue_time now)
    : settings_{with.settings},
      limits_{with.limits},
      shard_{with.shard},
      entity_{with.entity},
      random_{std::move(with.random)},
      next_seq_{image.counters.last_seq.next()},
      floor_{image.counters.floor},
      last_lease_{image.counters.last_lease},
      waiting_{image.counters.waiting},
      dead_{image.counters.dead} {
  for (std::size_t i = 0; i < priority_count; ++i)
    rings_.emplace_back(static_cast<task_priority>(i), limits_, waiting_[i] == 0);
  load_.most = settings_.key_concurrency;
  const auto& counters = image.counters;
  uses_keys_ = counters.dedupe_first != counters.dedupe_next;
  keys_known_after_ = uses_keys_ ? now.shard : time_ms::min();
  for (const auto& one : image.leases) {
    const auto task = one.state.task;
    auto& lease = leases_[task];
    lease.state = one.state;
    lease.lease = one.lease;
    workers_[one.lease.worker].insert(task);
    ++load_.leased[one.state.fairness];
    // Its holder may well be alive: the lease is granted anew, and its token stays good.
    set_deadline(lease, now.boot + std::chrono::milliseconds{one.lease.duration_ms});
  }
}

void queue_core::hold(queue_request key, result<queue_outcome> outcome) {
  queue_answer answer{key, std::move(outcome)};
  if (open_.has_changes()) {
    open_.answers.push_back(std::move(answer));
  } else if (!flying_.empty()) {
    flying_.back().answers.push_back(std::move(answer));
  } else {
    answers_.push_back(std::move(answer));
  }
}

/// For refusals that rest on nothing that was decided.
void queue_core::refuse(queue_request key, error why) {
  answers_.push_back({key, std::unexpected{std::move(why)}});
}

void queue_core::enqueue(enqueue_command command, queue_time now) {
  const auto under_way = enqueues_in_flight_ + parked_.size() + parked_origins_.size();
  if (under_way >= limits_.enqueues_in_flight_max) {
    return refuse(
        command.key,
        {errc::overloaded,
         fmt::format(
             "{} enqueues of this queue are under way (queues.enqueues_in_flight_max)",
             limits_.enqueues_in_flight_max),
         50});
  }
  if (command.dedupe_key.empty() || settings_.dedupe_window_s == 0) {
    return admit_unknown_key(std::move(command), std::nullopt, now);
  }
  const auto hash = hash_128(command.dedupe_key);
  if (const auto* known = find_recent(hash, now)) {
    return hold(command.key, enqueued_task{known->task, true});
  }
  const auto window = std::chrono::seconds{settings_.dedupe_window_s};
  if (keys_known_after_ == time_ms::min() || keys_known_after_ + window < now.shard) {
    return admit_unknown_key(std::move(command), hash, now);
  }
  parked_.push_back({std::move(command), hash});
}

void queue_core::admit_unknown_key(
    enqueue_command command, const std::optional<hash128>& hash, queue_time now) {
  if (command.origin.empty()) return admit(std::move(command), hash, now);
  enqueue_once(std::move(command), hash);
}

const dedupe_entry* queue_core::find_recent(const hash128& hash, queue_time now) const {
  const auto found = keys_.find(hash);
  if (found == keys_.end()) return nullptr;
  const auto& entry = found->second.entry;
  const auto window = std::chrono::seconds{settings_.dedupe_window_s};
  return entry.enqueued + window > now.shard ? &entry : nullptr;
}

void queue_core::admit(
    enqueue_command command, const std::optional<hash128>& hash, queue_time now) {
  const std::chrono::milliseconds delay{std::min<std::uint64_t>(command.delay_ms, INT64_MAX)};
  stored_task task;
  auto& state = task.row.state;
  state.place = next_seq_;
  state.priority = command.priority;
  state.fairness = fairness_hash(command.fairness_key);
  state.ready = later(now.shard, delay);
  state.enqueued = now.shard;
  state.attempts_max =
      std::max(1U, command.attempts_max != 0 ? command.attempts_max : settings_.attempts_max);
  state.origin = std::move(command.origin);
  task.row.fairness_key = std::move(command.fairness_key);
  task.row.dedupe_key = std::move(command.dedupe_key);
  task.payload = command.payload;
  state.task = task_id{store(storage::record_kind::task_enqueued, task).raw()};
  ++open_.enqueues;
  ++enqueues_in_flight_;
  if (hash) remember_key(*hash, {state.task, now.shard});
  hold(command.key, enqueued_task{state.task, false});
  if (!state.origin.empty()) origins_[state.origin] = {state.task, open_.number};
  recent_.note(state, task_phase::waiting, open_.number);
  put_waiting(std::move(state), std::move(command.payload));
}

void queue_core::remember_key(const hash128& hash, const dedupe_entry& entry) {
  uses_keys_ = true;
  keys_.insert_or_assign(hash, recent_key{entry, open_.number});
  keys_in_order_.emplace_back(hash, entry.task);
}

/// Only what every read from now on finds on disk, and none is under way that might not.
void queue_core::forget_old_keys() {
  const auto oldest_flying = flying_.empty() ? open_.number : flying_.front().number;
  while (keys_in_order_.size() > limits_.recent_keys_max && !reading_) {
    const auto [hash, task] = keys_in_order_.front();
    const auto found = keys_.find(hash);
    if (found != keys_.end() && found->second.entry.task == task) {
      if (found->second.batch >= oldest_flying) return;
      keys_known_after_ = std::max(keys_known_after_, found->second.entry.enqueued);
      keys_.erase(found);
    }
    keys_in_order_.pop_front();
  }
}

void queue_core::put_waiting(task_state state, std::optional<shared_bytes> payload) {
  const auto priority = static_cast<std::size_t>(state.priority);
  ++waiting_[priority];
  rings_[priority].add({std::move(state), std::move(payload)});
}

waiting_task queue_core::take_waiting(task_priority priority, queue_time now) {
  const auto index = static_cast<std::size_t>(priority);
  auto taken = rings_[index].take_next(load_, now.shard, settings_.fairness_quantum);
  if (--waiting_[index] == 0) rings_[index].emptied();
  return taken;
}

task_change& queue_core::note(const task_state& state, task_phase phase) {
  auto& change = open_.changes[state.task];
  change.task = state.task;
  change.phase = phase;
  change.ready = state.ready;
  change.attempts = state.attempts;
  change.lease = {};
  recent_.note(state, phase, open_.number);
  return change;
}

/// The sequence of the record that will hold it.
sequence queue_core::store(storage::record_kind kind, const stored_task& task) {
  const auto at = next_seq_;
  open_.stored.push_back({kind, entity_, at, shared_bytes{encode_stored_task(task)}});
  next_seq_ = at.next();
  return at;
}

std::optional<queue_append> queue_core::take_append() {
  if (!open_.has_changes() || flying_.size() >= appends_in_flight_max) return std::nullopt;
  queue_append append;
  append.frees_space = open_.enqueues == 0;
  append.records = std::exchange(open_.stored, {});
  const auto add = [&](storage::record_kind kind, sequence at, std::string payload) {
    append.records.push_back({kind, entity_, at, shared_bytes{std::move(payload)}});
  };
  task_progress progress;
  progress.last_lease = last_lease_;
  const auto flush = [&] {
    add(storage::record_kind::task_progress, next_seq_, encode_task_progress(progress));
    next_seq_ = next_seq_.next();
    progress.changes.clear();
    progress.told.clear();
    progress.restated.clear();
  };
  for (auto& [task, change] : open_.changes) {
    progress.changes.push_back(std::move(change));
    if (progress.changes.size() == changes_per_record_max) flush();
  }
  progress.told = open_.told;
  progress.restated = std::move(open_.restated);
  // A trim leaves one record of progress behind it, which tells the last lease's number.
  if (!progress.changes.empty() || !progress.told.empty() || !progress.restated.empty()
      || open_.trim) {
    flush();
  }
  const sequence last{next_seq_.raw() - 1};
  for (const auto& audit : open_.audits)
    add(storage::record_kind::task_audited, last, encode_task_audit(audit));
  if (open_.trim) add(storage::record_kind::trimmed, last, encode_queue_trimmed(*open_.trim));
  open_.changes.clear();
  auto next = open_.number.next();
  flying_.push_back(std::exchange(open_, {}));
  open_.number = next;
  return append;
}

void queue_core::committed(lsn last, queue_time now) {
  auto done = std::move(flying_.front());
  flying_.pop_front();
  recent_.committed(done.number, last);
  committed_ = done.number;
  if (!reading_) {
    recent_.prune();
    prune_origins();
  }
  enqueues_in_flight_ -= done.enqueues;
  forget_old_keys();
  std::ranges::move(done.answers, std::back_inserter(answers_));
  std::ranges::move(done.endings, std::back_inserter(endings_));
  std::ranges::move(done.told, std::back_inserter(told_));
  for (auto& grant : done.grants) {
    for (const auto& task : grant.tasks) {
      const auto found = leases_.find(task.token.task);
      if (found == leases_.end() || found->second.lease.number != task.token.number) continue;
      // Whoever leased it has the whole time from when it can know of it.
      set_deadline(
          found->second, now.boot + std::chrono::milliseconds{found->second.lease.duration_ms});
      found->second.is_hungry = !task.payload;
    }
    unfed_.push_back(std::move(grant));
  }
  feed();
}

void queue_core::change_settings(const queue_settings& settings) {
  settings_ = settings;
  load_.most = settings_.key_concurrency;
  for (auto& ring : rings_)
    ring.stir();
}

std::vector<queue_request> queue_core::unanswered() const {
  std::vector<queue_request> keys;
  const auto add_batch = [&](const batch& one) {
    for (const auto& answer : one.answers)
      keys.push_back(answer.key);
    for (const auto& grant : one.grants)
      keys.push_back(grant.key);
  };
  add_batch(open_);
  for (const auto& one : flying_)
    add_batch(one);
  for (const auto& grant : unfed_)
    keys.push_back(grant.key);
  for (const auto& waiter : waiters_)
    keys.push_back(waiter.command.key);
  for (const auto& parked : parked_)
    keys.push_back(parked.command.key);
  for (const auto& command : dead_commands_)
    keys.push_back(command.key);
  for (const auto& parked : parked_origins_)
    keys.push_back(parked.command.key);
  for (const auto& command : withdraws_)
    keys.push_back(command.key);
  for (const auto& command : cancels_)
    keys.push_back(command.key);
  for (const auto& one : purges_)
    keys.push_back(one.command.key);
  for (const auto& answer : answers_)
    keys.push_back(answer.key);
  return keys;
}

queue_counts queue_core::counts() const {
  queue_counts counts;
  counts.waiting = waiting_;
  counts.leased = leases_.size();
  counts.dead = dead_;
  counts.waiters = waiters_.size();
  for (const auto& ring : rings_) {
    counts.window_tasks += ring.task_count();
    counts.window_keys += ring.key_count();
    counts.window_payload_bytes += ring.payload_bytes();
  }
  return counts;
}

bool queue_core::idle() const {
  return leases_.empty() && waiters_.empty() && unfed_.empty() && parked_.empty()
         && dead_commands_.empty() && parked_origins_.empty() && withdraws_.empty()
         && cancels_.empty() && purges_.empty() && flying_.empty() && !open_.has_changes()
         && !reading_;
}

}  // namespace callboard::runtime
