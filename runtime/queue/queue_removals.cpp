// Tasks that are taken out before they have ended: withdrawn when the run that waited for them went
// on, cancelled by somebody, or purged with all that wait.
//
// Where such a task is stands in the views, or among what was decided since they were read.
#include "runtime/queue/queue_core.hpp"

#include <fmt/format.h>

#include <utility>

namespace callboard::runtime {

namespace {

/// Tasks that one part of a purge looks at.
constexpr std::uint32_t purge_part_max = 1000;

}  // namespace

void queue_core::withdraw(withdraw_command command) {
  if (withdraws_.size() >= limits_.enqueues_in_flight_max) {
    return refuse(command.key, {errc::overloaded, "too many tasks are being withdrawn", 50});
  }
  for (auto& parked : parked_origins_)
    parked.is_withdrawn |= parked.command.origin == command.origin;
  withdraws_.push_back(std::move(command));
}

void queue_core::cancel(cancel_command command) {
  if (cancels_.size() >= limits_.enqueues_in_flight_max) {
    return refuse(command.key, {errc::overloaded, "too many tasks are being cancelled", 50});
  }
  cancels_.push_back(std::move(command));
}

void queue_core::loaded_withdraws(const std::vector<std::optional<task_row>>& rows, lsn as_of) {
  for (const auto& row : rows) {
    const auto command = std::move(withdraws_.front());
    withdraws_.pop_front();
    const auto known = origins_.find(command.origin);
    const auto* later = row                       ? recent_.later(row->state.task, as_of)
                        : known != origins_.end() ? recent_.later(known->second.task, as_of)
                                                  : nullptr;
    bool was_open = false;
    if (later != nullptr) {
      was_open = withdraw_task(later->state, later->phase);
    } else if (row) {
      was_open = withdraw_task(row->state, row->phase);
    }
    hold(command.key, task_withdrawn{was_open});
  }
}

void queue_core::loaded_cancels(
    const std::vector<std::optional<task_row>>& rows, lsn as_of, queue_time now) {
  for (const auto& row : rows) {
    const auto command = std::move(cancels_.front());
    cancels_.pop_front();
    const auto* later = recent_.later(command.task, as_of);
    bool was_open = false;
    if (later != nullptr) {
      was_open = cancel_task(command, later->state, later->phase, now);
    } else if (row) {
      was_open = cancel_task(command, row->state, row->phase, now);
    }
    if (was_open) {
      hold(command.key, task_cancelled{});
    } else {
      hold(
          command.key,
          fail(errc::task_not_found, "the queue has no such task: it has ended, or never was"));
    }
  }
}

bool queue_core::withdraw_task(task_state state, task_phase phase) {
  // Of one that has died, whoever waited for it has been told.
  if (state.origin.empty()) return false;
  auto taken = take_out(std::move(state), phase);
  if (!taken) return false;
  auto origin = std::exchange(taken->origin, {});
  auto& change = note(*taken, task_phase::gone);
  change.end = task_end::withdrawn;
  change.origin = std::move(origin);
  return true;
}

bool queue_core::cancel_task(
    const cancel_command& command, task_state state, task_phase phase, queue_time now) {
  if (phase == task_phase::gone) return false;
  drop_task(std::move(state), phase, "cancelled", command.who);
  open_.audits.push_back({command.who, "cancel", {command.task}, now.shard});
  return true;
}

/// Precondition: it has not ended.
void queue_core::drop_task(
    task_state state, task_phase phase, std::string_view how, std::string_view who) {
  auto taken = take_out(std::move(state), phase);
  auto origin = std::exchange(taken->origin, {});
  auto& change = note(*taken, task_phase::gone);
  if (origin.empty()) return;
  auto why = who.empty() ? fmt::format("it was {}", how) : fmt::format("it was {} by {}", how, who);
  end_for_origin(change, std::move(origin), task_end::dead, std::move(why));
}

void queue_core::purge(purge_command command) {
  if (purges_.size() >= limits_.dead_commands_max) {
    return refuse(command.key, {errc::overloaded, "too many purges of this queue wait", 500});
  }
  purges_.push_back({std::move(command), task_id{next_seq_.raw() - 1}, {}, 0, {}});
}

std::optional<open_ask> queue_core::plan_purge() const {
  if (purges_.empty() || purges_.front().part > committed_) return std::nullopt;
  const auto& purge = purges_.front();
  return open_ask{purge.after, purge.up_to, purge_part_max};
}

void queue_core::loaded_purge(const open_page& page, lsn as_of, queue_time now) {
  auto& purge = purges_.front();
  const auto before = purge.count;
  for (const auto& [state, phase] : page.tasks) {
    purge.after = state.task;
    const auto* later = recent_.later(state.task, as_of);
    const auto phase_now = later != nullptr ? later->phase : phase;
    const bool is_wanted = phase_now == task_phase::waiting
                           || (phase_now == task_phase::dead && purge.command.with_dead);
    if (!is_wanted) continue;
    drop_task(later != nullptr ? later->state : state, phase_now, "purged", purge.command.who);
    ++purge.count;
  }
  if (purge.count != before) {
    purge.part = open_.number;
    // With the first part: whatever comes of the others, somebody began it.
    if (before == 0) {
      open_.audits.push_back(
          {purge.command.who, "purge", {}, now.shard, purge.up_to, purge.command.with_dead});
    }
  }
  if (!page.is_whole) return;
  hold(purge.command.key, queue_purged{purge.count});
  purges_.pop_front();
}

/// Nothing if it has ended.
std::optional<task_state> queue_core::take_out(task_state state, task_phase phase) {
  switch (phase) {
  case task_phase::waiting: {
    const auto priority = static_cast<std::size_t>(state.priority);
    rings_[priority].remove(state);
    if (--waiting_[priority] == 0) rings_[priority].emptied();
    break;
  }
  case task_phase::leased:
    return end_lease(state.task).state;
  case task_phase::dead:
    --dead_;
    break;
  case task_phase::gone:
    return std::nullopt;
  }
  return state;
}

}  // namespace callboard::runtime
