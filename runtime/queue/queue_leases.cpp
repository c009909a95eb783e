// Who gets which task, and how a lease ends.
#include "base/utf8.hpp"
#include "runtime/backoff.hpp"
#include "runtime/queue/queue_core.hpp"
#include "runtime/retry_after.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace callboard::runtime {

namespace {

/// How long a request outlasts its wait for a read that may serve it.
constexpr boot_time read_patience = std::chrono::seconds{1};

/// Of leases, for classes that are as urgent as each other: control, interactive, normal, bulk.
constexpr std::array<std::int64_t, priority_count> shares{8, 4, 2, 1};

error lost() {
  return {errc::lease_lost, "the lease has ended or has passed to somebody else"};
}

}  // namespace

void queue_core::lease(lease_command command, queue_time now) {
  if (waiters_.size() >= limits_.waiters_max) {
    return refuse(
        command.key,
        {errc::overloaded,
         fmt::format(
             "{} requests for leases of this queue are waiting (queues.waiters_max)",
             limits_.waiters_max),
         1000});
  }
  command.max = std::clamp(command.max, 1U, limits_.lease_tasks_max);
  if (command.bytes_max == 0) command.bytes_max = limits_.lease_bytes_max;
  command.bytes_max = std::min(command.bytes_max, limits_.lease_bytes_max);
  const auto lease_ms = command.lease_ms != 0 ? command.lease_ms : settings_.lease_ms;
  command.lease_ms = std::clamp(lease_ms, 1U, limits_.lease_ms_max);
  const auto wait = std::chrono::milliseconds{std::min(command.wait_ms, limits_.lease_wait_ms_max)};
  waiters_.push_back({std::move(command), now.boot + wait, {}, 0});
}

bool queue_core::has_lease_room() const {
  const auto most = settings_.concurrency == 0
                        ? limits_.leases_max
                        : std::min(settings_.concurrency, limits_.leases_max);
  return leases_.size() < most;
}

/// The class to serve: the most urgent, where what has waited long counts as more urgent. Classes
/// that are equal by that have shares by what they were enqueued as, or an old backlog would make
/// all tasks alike, and so has what came later and is of a class above one of theirs; who has
/// waited longest begins.
std::optional<queue_core::choice> queue_core::next_class(queue_time now) const {
  constexpr auto none = std::numeric_limits<std::size_t>::max();
  std::array<std::size_t, priority_count> levels{};
  std::array<time_ms, priority_count> since{};
  std::size_t best_level = none;
  for (std::size_t i = 0; i < priority_count; ++i) {
    levels[i] = none;
    const auto& ring = rings_[i];
    if (!ring.has_next(load_, now.shard)) continue;
    since[i] = ring.oldest(load_, now.shard).value_or(now.shard);
    levels[i] = i;
    if (settings_.aging_ms != 0) {
      const auto waited = static_cast<std::uint64_t>((now.shard - since[i]).count());
      levels[i] -=
          static_cast<std::size_t>(std::min<std::uint64_t>(waited / settings_.aging_ms, i));
    }
    best_level = std::min(best_level, levels[i]);
  }
  if (best_level == none) return std::nullopt;
  std::size_t least_urgent = 0;
  for (std::size_t i = 0; i < priority_count; ++i)
    if (levels[i] == best_level) least_urgent = i;
  choice next;
  for (std::size_t i = 0; i <= least_urgent; ++i)
    next.rivals[i] = levels[i] != none;
  next.has_rival = std::ranges::count(next.rivals, true) > 1;
  const bool is_beginning =
      std::ranges::all_of(deficits_, [](std::int64_t deficit) { return deficit == 0; });
  std::optional<std::pair<std::int64_t, time_ms>> best;
  for (std::size_t i = 0; i < priority_count; ++i) {
    if (!next.rivals[i]) continue;
    const std::pair rank{is_beginning ? 0 : -(deficits_[i] + shares[i]), since[i]};
    if (best && *best <= rank) continue;
    best = rank;
    next.priority = static_cast<task_priority>(i);
  }
  return next;
}

/// Each rival earns its share of the lease, and the one that is served pays for all of it.
void queue_core::account(const choice& served) {
  if (!served.has_rival) {
    deficits_ = {};
    return;
  }
  auto& payer = deficits_[static_cast<std::size_t>(served.priority)];
  for (std::size_t i = 0; i < priority_count; ++i) {
    if (!served.rivals[i]) continue;
    deficits_[i] += shares[i];
    payer -= shares[i];
  }
}

void queue_core::match(queue_time now) {
  std::size_t at = 0;
  std::size_t full = 0;
  while (full < waiters_.size() && has_lease_room()) {
    // One each in turn, so that a large request does not take everything from a small one.
    auto& to = waiters_[at++ % waiters_.size()];
    if (to.given.size() >= to.command.max || to.given_bytes >= to.command.bytes_max) {
      ++full;
      continue;
    }
    full = 0;
    const auto next = next_class(now);
    if (!next) break;
    account(*next);
    grant_next(to, next->priority, now);
  }
  std::erase_if(waiters_, [this](waiter& one) {
    if (one.given.empty()) return false;
    open_.grants.push_back({one.command.key, std::move(one.given), one.command.bytes_max});
    return true;
  });
}

void queue_core::grant_next(waiter& to, task_priority priority, queue_time now) {
  auto taken = take_waiting(priority, now);
  const auto task = taken.state.task;
  auto& lease = leases_[task];
  lease.state = std::move(taken.state);
  lease.lease = {
      ++last_lease_,
      static_cast<std::uint32_t>(random_()),
      to.command.worker,
      to.command.lease_ms,
      now.shard};
  lease.poll = to.command.poll;
  workers_[lease.lease.worker].insert(task);
  ++load_.leased[lease.state.fairness];
  note(lease.state, task_phase::leased).lease = lease.lease;
  if (taken.payload) to.given_bytes += taken.payload->size();
  to.given.push_back(
      {{shard_, entity_, task, lease.lease.number, lease.lease.nonce},
       lease.state.attempts + 1,
       lease.state.attempts_max,
       priority,
       lease.state.enqueued,
       lease.lease.duration_ms,
       lease.state.place,
       std::move(taken.payload)});
}

queue_core::live_lease* queue_core::find_lease(const std::string& text) {
  const auto token = parse_lease(text);
  if (!token || token->shard != shard_ || token->queue != entity_) return nullptr;
  const auto found = leases_.find(token->task);
  if (found == leases_.end()) return nullptr;
  const auto& lease = found->second.lease;
  return lease.number == token->number && lease.nonce == token->nonce ? &found->second : nullptr;
}

void queue_core::set_deadline(live_lease& lease, boot_time deadline) {
  if (lease.deadline) deadlines_.erase({*lease.deadline, lease.state.task});
  lease.deadline = deadline;
  deadlines_.emplace(deadline, lease.state.task);
}

void queue_core::extend(const extend_command& command, queue_time now) {
  auto* lease = find_lease(command.lease);
  if (lease == nullptr) return hold(command.key, std::unexpected{lost()});
  const auto lease_ms = command.lease_ms != 0 ? command.lease_ms : lease->lease.duration_ms;
  const auto duration_ms = std::clamp(lease_ms, 1U, limits_.lease_ms_max);
  set_deadline(*lease, now.boot + std::chrono::milliseconds{duration_ms});
  // The record says how long, never until when: the same duration again is nothing new.
  if (duration_ms != lease->lease.duration_ms) {
    lease->lease.duration_ms = duration_ms;
    note(lease->state, task_phase::leased).lease = lease->lease;
  }
  hold(command.key, lease_extended{duration_ms});
}

queue_core::live_lease queue_core::end_lease(task_id task) {
  auto lease = std::move(leases_.extract(task).mapped());
  if (lease.deadline) deadlines_.erase({*lease.deadline, task});
  const auto worker = workers_.find(lease.lease.worker);
  worker->second.erase(task);
  if (worker->second.empty()) workers_.erase(worker);
  const auto load = load_.leased.find(lease.state.fairness);
  if (--load->second == 0) load_.leased.erase(load);
  if (load_.most != 0) {
    for (auto& ring : rings_)
      ring.stir();
  }
  return lease;
}

void queue_core::complete(complete_command command, queue_time) {
  auto* found = find_lease(command.lease);
  if (found == nullptr) return hold(command.key, std::unexpected{lost()});
  if (!found->state.origin.empty() && command.result.size() > limits_.result_bytes_max) {
    return hold(
        command.key,
        std::unexpected{error{
            errc::too_large,
            fmt::format(
                "a workflow waits for this result: it has {} bytes, at most {} are allowed "
                "(workflows.result_bytes_max); hand on where it is instead",
                command.result.size(),
                limits_.result_bytes_max)}});
  }
  auto lease = end_lease(found->state.task);
  auto& change = note(lease.state, task_phase::gone);
  if (!lease.state.origin.empty()) {
    end_for_origin(
        change, std::move(lease.state.origin), task_end::completed, std::move(command.result));
  }
  hold(command.key, task_completed{});
}

void queue_core::fail_task(const fail_command& command, queue_time now) {
  auto* found = find_lease(command.lease);
  if (found == nullptr) return hold(command.key, std::unexpected{lost()});
  const auto task = found->state.task;
  auto lease = end_lease(task);
  attempt_end how{"failed", command.error, backoff(lease.state.attempts + 1, now)};
  how.is_last = !command.is_retryable;
  if (command.is_retryable && command.retry_after_ms) {
    how.ready =
        std::max(how.ready, now.shard + honoured_retry_after(*command.retry_after_ms, random_()));
    how.outcome = "deferred";
    how.counts = false;
  }
  end_attempt(std::move(lease), how, now);
  const auto& change = open_.changes.at(task);
  hold(command.key, task_failed{change.phase == task_phase::dead, change.ready});
}

void queue_core::end_attempt(live_lease lease, const attempt_end& how, queue_time now) {
  task_attempt attempt;
  attempt.number = lease.state.attempts + 1;
  attempt.started = lease.lease.started;
  attempt.ended = now.shard;
  attempt.worker = lease.lease.worker;
  attempt.outcome = how.outcome;
  attempt.error = front_of(how.error, task_error_size_max);
  if (how.counts) ++lease.state.attempts;
  if (how.is_last || (how.counts && lease.state.attempts >= lease.state.attempts_max)) {
    return bury(std::move(lease), std::move(attempt));
  }
  lease.state.ready = how.ready;
  note(lease.state, task_phase::waiting).ended.push_back(std::move(attempt));
  put_waiting(std::move(lease.state), std::nullopt);
}

/// For a lease that nobody was told of.
void queue_core::put_back(task_id task, std::optional<shared_bytes> payload) {
  auto lease = end_lease(task);
  note(lease.state, task_phase::waiting);
  put_waiting(std::move(lease.state), std::move(payload));
}

void queue_core::bury(live_lease lease, task_attempt attempt) {
  ++dead_;
  // Told now, and never again: a redrive is for whoever asks for it.
  auto origin = std::exchange(lease.state.origin, {});
  auto& change = note(lease.state, task_phase::dead);
  if (!origin.empty()) {
    end_for_origin(change, std::move(origin), task_end::dead, attempt.error);
  }
  change.ended.push_back(std::move(attempt));
}

time_ms queue_core::backoff(std::uint32_t attempt, queue_time now) {
  return now.shard
         + backoff_of(attempt, settings_.backoff_min_ms, settings_.backoff_max_ms, random_());
}

void queue_core::stop_waiting(const std::string& worker, std::span<const std::uint64_t> unseen) {
  std::erase_if(waiters_, [&](const waiter& one) {
    if (one.command.worker != worker) return false;
    hold(one.command.key, granted_tasks{});
    return true;
  });
  const auto found = workers_.find(worker);
  if (found == workers_.end() || unseen.empty()) return;
  const auto held = found->second;
  for (const auto task : held) {
    const auto poll = leases_.at(task).poll;
    if (poll != 0 && std::ranges::find(unseen, poll) != unseen.end()) put_back(task, std::nullopt);
  }
}

void queue_core::leave(const leave_command& command, queue_time now) {
  stop_waiting(command.worker, command.unseen);
  if (!command.keeps_leases) release_all(command.worker, now);
  hold(command.key, worker_left{});
}

void queue_core::release_all(const std::string& worker, queue_time now) {
  const auto found = workers_.find(worker);
  if (found == workers_.end()) return;
  const auto held = found->second;
  for (const auto task : held) {
    auto lease = end_lease(task);
    const auto before = lease.state.attempts;
    // The worker that vanished may have died of the task: the next one should not at once, too.
    const auto ready = before == 0 ? now.shard : backoff(before, now);
    end_attempt(
        std::move(lease),
        {"released", "worker_left: the worker went away before it had ended the task", ready},
        now);
  }
}

void queue_core::tick(queue_time now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now.boot) {
    auto lease = end_lease(deadlines_.begin()->second);
    const auto why = fmt::format(
        "lease_expired: the worker neither ended the task nor extended its lease of {} ms",
        lease.lease.duration_ms);
    end_attempt(std::move(lease), {"expired", why, now.shard}, now);
  }
}

void queue_core::paused(boot_time pause, queue_time now) {
  for (auto& [task, lease] : leases_) {
    if (!lease.deadline) continue;
    const auto anew = now.boot + std::chrono::milliseconds{lease.lease.duration_ms};
    set_deadline(lease, std::max(*lease.deadline, std::min(*lease.deadline + pause, anew)));
  }
}

void queue_core::expire_waiters(queue_time now) {
  const bool may_come = reading_ && (!reading_->segments.empty() || !reading_->keys.empty());
  std::erase_if(waiters_, [&](const waiter& one) {
    const auto patience = may_come ? read_patience : boot_time{};
    if (one.deadline + patience > now.boot) return false;
    hold(one.command.key, granted_tasks{});
    return true;
  });
}

bool queue_core::is_granted(const granted_task& task) const {
  const auto found = leases_.find(task.token.task);
  return found != leases_.end() && found->second.lease.number == task.token.number;
}

/// Leaves in the grant as much as one answer may hold, and after a read that was cut no more than
/// there is: whoever waited for the rest would hold payloads meanwhile. The rest is put back.
void queue_core::shorten(grant& one, bool is_cut) {
  std::uint64_t bytes = 0;
  std::vector<granted_task> kept;
  std::vector<granted_task> rest;
  for (auto& task : one.tasks) {
    if (!is_granted(task)) continue;
    const bool fits = task.payload && bytes < one.bytes_max;
    if (fits) bytes += task.payload->size();
    (fits ? kept : rest).push_back(std::move(task));
  }
  const bool is_enough = bytes >= one.bytes_max || (is_cut && !kept.empty());
  one.tasks = std::move(kept);
  for (auto& task : rest) {
    if (is_enough) {
      put_back(task.token.task, std::move(task.payload));
    } else {
      one.tasks.push_back(std::move(task));
    }
  }
}

/// Answers those whose leases are durable and whose payloads are here.
void queue_core::feed() {
  std::erase_if(unfed_, [this](grant& one) {
    // What was lost meanwhile needs no payload, and nobody needs to be told of it.
    std::erase_if(one.tasks, [this](const granted_task& task) { return !is_granted(task); });
    for (const auto& task : one.tasks) {
      if (!task.payload) return false;
    }
    answers_.push_back({one.key, granted_tasks{std::move(one.tasks)}});
    return true;
  });
}

}  // namespace callboard::runtime
