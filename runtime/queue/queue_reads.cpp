// What a queue reads, and how later decisions are merged into it.
#include "runtime/queue/queue_codec.hpp"
#include "runtime/queue/queue_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace callboard::runtime {

namespace {

constexpr std::size_t key_pages_max = 16;
constexpr std::size_t payloads_max = 256;
constexpr std::size_t dedupe_max = 512;
constexpr std::size_t origins_max = 512;
constexpr std::uint32_t restated_tasks_max = 64;
constexpr std::uint64_t restated_bytes_max = 1ULL << 20;
/// Ends looked at in one read.
constexpr std::size_t endings_visited_max = 10'000;
/// Records without a task per task before tasks are written again to give them back.
constexpr std::uint64_t dead_records_per_task = 3;

}  // namespace

std::optional<queue_read> queue_core::plan_read(queue_time now) {
  if (reading_) return std::nullopt;
  // Leases may have ended since: what is left has one.
  feed();
  queue_read read;
  const bool is_wanted = !waiters_.empty() && has_lease_room();
  for (auto& ring : rings_) {
    for (auto& ask : ring.plan_keys(load_, key_pages_max))
      read.keys.push_back(ask);
    if (!is_wanted) continue;
    if (const auto ask = ring.plan_segment(load_, now.shard)) read.segments.push_back(*ask);
  }
  for (const auto& grant : unfed_) {
    for (const auto& task : grant.tasks) {
      if (read.payloads.size() == payloads_max) break;
      // Where the payload is by now: the task may have been written again since.
      const auto& lease = leases_.at(task.token.task);
      if (!task.payload) read.payloads.push_back({task.token.task, lease.state.place});
    }
  }
  read.payload_bytes_max = limits_.lease_bytes_max;
  for (const auto& parked : parked_) {
    if (read.dedupe.size() == dedupe_max) break;
    read.dedupe.push_back(parked.hash);
  }
  if (!dead_commands_.empty()) read.dead = dead_commands_.front().tasks;
  for (const auto& parked : parked_origins_) {
    if (read.origins.size() == origins_max) break;
    read.origins.push_back(parked.command.origin);
  }
  for (const auto& command : withdraws_) {
    if (read.withdraws.size() == origins_max) break;
    read.withdraws.push_back(command.origin);
  }
  for (const auto& command : cancels_) {
    if (read.cancels.size() == origins_max) break;
    read.cancels.push_back(command.task);
  }
  read.purge = plan_purge();
  plan_trim(read, now);
  if (read.segments.empty() && read.keys.empty() && read.payloads.empty() && read.dedupe.empty()
      && read.dead.empty() && read.origins.empty() && read.withdraws.empty() && read.cancels.empty()
      && !read.purge && !read.trim) {
    return std::nullopt;
  }
  reading_ = read;
  return read;
}

void queue_core::loaded(queue_read_result read, queue_time now) {
  const auto asked = *std::exchange(reading_, std::nullopt);
  const auto ring_of = [this](task_priority priority) -> ready_ring& {
    return rings_[static_cast<std::size_t>(priority)];
  };
  for (std::size_t i = 0; i < asked.keys.size(); ++i) {
    ring_of(asked.keys[i].priority)
        .loaded(asked.keys[i], std::move(read.keys[i]), read.as_of, recent_);
  }
  for (auto& page : read.segments) {
    auto& ring = ring_of(page.priority);
    // Nothing waits there any more, so that all of it is known.
    if (waiting_[static_cast<std::size_t>(page.priority)] == 0) continue;
    ring.loaded(std::move(page), read.as_of, recent_, now.shard);
  }
  const bool is_cut = read.payloads.size() < asked.payloads.size();
  loaded_payloads(std::move(read.payloads), is_cut);
  loaded_dedupe(read.dedupe, now);
  // Before what was enqueued behind them; what came before them is marked.
  loaded_withdraws(read.withdraws, read.as_of);
  loaded_origins(read.origins, now);
  loaded_cancels(read.cancels, read.as_of, now);
  if (read.purge) loaded_purge(*read.purge, read.as_of, now);
  if (!asked.dead.empty()) loaded_dead(read.dead, read.as_of, now);
  if (read.trim) loaded_trim(*read.trim, read.as_of);
  recent_.prune();
  prune_origins();
}

void queue_core::read_failed(const error& why, queue_time now) {
  const auto asked = *std::exchange(reading_, std::nullopt);
  recent_.prune();
  prune_origins();
  if (why.code == errc::overloaded) return;
  for (auto& one : std::exchange(waiters_, {}))
    refuse(one.command.key, why);
  feed();
  for (auto& one : std::exchange(unfed_, {})) {
    refuse(one.key, why);
    // Nobody was told of these leases.
    for (const auto& task : one.tasks) {
      attempt_end how{"released", why.detail, now.shard + std::chrono::seconds{1}};
      how.counts = false;
      end_attempt(end_lease(task.token.task), how, now);
    }
  }
  for (std::size_t i = 0; i < asked.dedupe.size(); ++i) {
    refuse(parked_.front().command.key, why);
    parked_.pop_front();
  }
  for (std::size_t i = 0; i < asked.origins.size(); ++i) {
    refuse(parked_origins_.front().command.key, why);
    parked_origins_.pop_front();
  }
  for (std::size_t i = 0; i < asked.withdraws.size(); ++i) {
    refuse(withdraws_.front().key, why);
    withdraws_.pop_front();
  }
  for (std::size_t i = 0; i < asked.cancels.size(); ++i) {
    refuse(cancels_.front().key, why);
    cancels_.pop_front();
  }
  if (!asked.dead.empty()) {
    refuse(dead_commands_.front().key, why);
    dead_commands_.pop_front();
  }
  if (asked.purge) {
    refuse(purges_.front().command.key, why);
    purges_.pop_front();
  }
}

void queue_core::loaded_payloads(std::vector<stored_payload> payloads, bool is_cut) {
  for (auto& grant : unfed_) {
    for (auto& task : grant.tasks) {
      if (task.payload) continue;
      const auto found = std::ranges::find(payloads, task.token.task, &stored_payload::task);
      if (found == payloads.end()) continue;
      task.payload = found->payload;
      if (const auto lease = leases_.find(found->task); lease != leases_.end()) {
        lease->second.is_hungry = false;
      }
    }
    shorten(grant, is_cut);
  }
  feed();
}

void queue_core::loaded_dedupe(
    const std::vector<std::optional<dedupe_entry>>& found, queue_time now) {
  const auto window = std::chrono::seconds{settings_.dedupe_window_s};
  for (const auto& entry : found) {
    auto parked = std::move(parked_.front());
    parked_.pop_front();
    // What was decided since the read began is in memory, and newer.
    if (const auto* known = find_recent(parked.hash, now)) {
      hold(parked.command.key, enqueued_task{known->task, true});
    } else if (entry && entry->enqueued + window > now.shard) {
      hold(parked.command.key, enqueued_task{entry->task, true});
    } else {
      admit_unknown_key(std::move(parked.command), parked.hash, now);
    }
  }
}

void queue_core::change_dead(dead_command command) {
  if (dead_commands_.size() >= limits_.dead_commands_max) {
    return refuse(
        command.key,
        {errc::overloaded, "too many changes of this queue's dead letters are waiting", 500});
  }
  if (command.tasks.empty() || command.tasks.size() > limits_.dead_tasks_max
      || (command.what == dead_command::action::edit && command.tasks.size() != 1)) {
    return refuse(
        command.key, {errc::bad_request, "a change of dead letters names 1 to 1000 tasks"});
  }
  std::ranges::sort(command.tasks);
  const auto twice = std::ranges::unique(command.tasks);
  command.tasks.erase(twice.begin(), twice.end());
  dead_commands_.push_back(std::move(command));
}

void queue_core::loaded_dead(
    const std::vector<std::optional<task_row>>& rows, lsn as_of, queue_time now) {
  // What changed behind the page is read again once that is committed.
  for (const auto task : dead_commands_.front().tasks) {
    if (recent_.later(task, as_of) != nullptr) return;
  }
  const auto command = std::move(dead_commands_.front());
  dead_commands_.pop_front();
  const auto is_dead = [](const auto& row) { return row && row->phase == task_phase::dead; };
  if (const auto other = std::ranges::find_if_not(rows, is_dead);
      other != rows.end() && !command.is_found) {
    const auto task = command.tasks[static_cast<std::size_t>(other - rows.begin())];
    return refuse(
        command.key,
        {errc::task_not_found,
         fmt::format(
             "task {} is no dead letter of the queue, so nothing was changed; `queue dead` lists "
             "those that it has",
             task.raw())});
  }
  dead_changed changed;
  task_audit audit{command.who, {}, {}, now.shard};
  for (std::size_t i = 0; i < command.tasks.size(); ++i) {
    if (!is_dead(rows[i])) continue;
    apply_dead(command, *rows[i], now);
    changed.changed.push_back(command.tasks[i]);
  }
  switch (command.what) {
  case dead_command::action::redrive:
    audit.action = "redrive";
    break;
  case dead_command::action::edit:
    audit.action = "edit";
    break;
  case dead_command::action::abandon:
    audit.action = "abandon";
    break;
  }
  audit.tasks = changed.changed;
  if (!audit.tasks.empty()) open_.audits.push_back(std::move(audit));
  hold(command.key, std::move(changed));
}

void queue_core::apply_dead(const dead_command& command, const task_row& row, queue_time now) {
  task_attempt mark{row.state.attempts, now.shard, now.shard, command.who, "redriven", {}};
  auto state = row.state;
  switch (command.what) {
  case dead_command::action::redrive:
    --dead_;
    state.attempts = 0;
    state.ready = now.shard;
    note(state, task_phase::waiting).ended.push_back(std::move(mark));
    put_waiting(std::move(state), std::nullopt);
    break;
  case dead_command::action::edit: {
    stored_task edited{row, command.payload};
    mark.outcome = "edited";
    append_attempts(edited.row.history, {std::move(mark)});
    restate(edited);
    break;
  }
  case dead_command::action::abandon:
    --dead_;
    note(state, task_phase::gone);
    break;
  }
}

/// Writes a task again whole. Nothing about it may have been decided behind its row.
void queue_core::restate(const stored_task& task) {
  auto state = task.row.state;
  state.place = store(storage::record_kind::task_restated, task);
  recent_.note(state, task.row.phase, open_.number);
  if (task.row.phase == task_phase::waiting) {
    rings_[static_cast<std::size_t>(state.priority)].move(state);
  }
  if (task.row.phase == task_phase::leased) leases_.at(state.task).state.place = state.place;
}

void queue_core::plan_trim(queue_read& read, queue_time now) {
  const auto records = next_seq_.raw() - 1 - floor_.raw();
  auto tasks = dead_ + leases_.size();
  for (const auto waiting : waiting_)
    tasks += waiting;
  const auto dead = records > tasks ? records - tasks : 0;
  const auto wanted = std::max<std::uint64_t>(limits_.trim_records_min, 1);
  if (dead < std::max(wanted, dead_records_per_task * tasks) || next_seq_ < trim_at_) return;
  if (open_.trim) return;
  trim_ask ask{restated_tasks_max, restated_bytes_max, std::nullopt, std::nullopt};
  if (lap_) {
    ask.endings = old_endings_ask{
        lap_->next, lap_->up_to, restated_tasks_max, restated_bytes_max, endings_visited_max};
  }
  // Views made anew find the keys of this time in their records only.
  const auto window = std::chrono::seconds{settings_.dedupe_window_s};
  if (uses_keys_ && settings_.dedupe_window_s != 0) ask.keep_from = now.shard - window;
  read.trim = ask;
}

void queue_core::loaded_trim(const trim_page& page, lsn as_of) {
  if (page.endings) go_round(*page.endings);
  auto kept_up_to = page.last_seq;
  if (page.keep_from) kept_up_to = std::min(kept_up_to, sequence{page.keep_from->raw() - 1});
  // Views made anew find what is still to be told in its record only.
  const auto bound = std::min(kept_up_to, no_ends_up_to_);
  auto up_to = bound;
  if (!page.oldest.empty()) {
    up_to = std::min(up_to, sequence{page.oldest.front().row.state.place.raw() - 1});
  }
  const auto least = std::max<std::uint64_t>(limits_.trim_records_min / 2, 1);
  const sequence enough{floor_.raw() + least};
  if (up_to >= enough) {
    floor_ = up_to;
    open_.trim = up_to;
    return;
  }
  // With nothing to be done it is looked into again when there is more to give back.
  const sequence later{next_seq_.raw() + least};
  if (kept_up_to < enough) {
    trim_at_ = later;
    return;
  }
  if (bound < enough) {
    // Half of what may go: an end written again is in the other half, also for the lap of a core
    // that begins anew.
    const sequence half{std::midpoint(floor_.raw(), kept_up_to.raw())};
    if (!lap_) lap_ = ending_lap{{}, std::max(enough, half), kept_up_to};
    return;
  }
  bool is_restated = false;
  for (const auto& task : page.oldest) {
    const auto id = task.row.state.task;
    if (task.row.state.place > bound) break;
    if (recent_.later(id, as_of) != nullptr) continue;
    const auto lease = leases_.find(id);
    if (lease != leases_.end() && (lease->second.is_hungry || !lease->second.deadline)) continue;
    restate(task);
    is_restated = true;
  }
  if (!is_restated) trim_at_ = later;
}

void queue_core::go_round(const old_endings& page) {
  std::size_t restated = 0;
  for (const auto& one : page.endings) {
    if (told_lately_.contains(one.task)) continue;
    open_.restated.push_back(one);
    ++restated;
  }
  // Not sooner than others have written as much: those whom nobody hears would be written for ever.
  if (restated != 0) trim_at_ = sequence{next_seq_.raw() + 1 + restated};
  if (page.first_left) {
    lap_->none_up_to = std::min(lap_->none_up_to, sequence{page.first_left->raw() - 1});
  }
  if (page.next) {
    lap_->next = *page.next;
    return;
  }
  no_ends_up_to_ = lap_->none_up_to;
  lap_.reset();
}

}  // namespace callboard::runtime
