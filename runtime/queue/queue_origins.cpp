// Tasks that somebody waits for: one per origin, withdrawn when nobody does any more.
//
// Whoever enqueues them asks again until it is answered, maybe long after a crash. So an enqueue
// with an origin waits until it is known whether the origin has a task: in the views, which keep
// its row until the end is told, or among what was admitted since they were read.
#include "runtime/queue/queue_core.hpp"

#include <utility>

namespace callboard::runtime {

void queue_core::enqueue_once(enqueue_command command) {
  if (const auto known = origins_.find(command.origin); known != origins_.end()) {
    return hold(command.key, enqueued_task{known->second.task, true});
  }
  parked_origins_.push_back({std::move(command)});
}

void queue_core::loaded_origins(const std::vector<std::optional<task_id>>& found, queue_time now) {
  for (const auto& task : found) {
    auto parked = std::move(parked_origins_.front());
    parked_origins_.pop_front();
    auto& command = parked.command;
    if (const auto known = origins_.find(command.origin); known != origins_.end()) {
      hold(command.key, enqueued_task{known->second.task, true});
    } else if (task) {
      hold(command.key, enqueued_task{*task, true});
    } else if (parked.is_withdrawn) {
      refuse(command.key, {errc::cancelled, "the task was withdrawn"});
    } else {
      admit(std::move(command), std::nullopt, now);
    }
  }
}

void queue_core::withdraw(withdraw_command command) {
  if (withdraws_.size() >= limits_.enqueues_in_flight_max) {
    return refuse(command.key, {errc::overloaded, "too many tasks are being withdrawn", 50});
  }
  for (auto& parked : parked_origins_)
    parked.is_withdrawn |= parked.command.origin == command.origin;
  withdraws_.push_back(std::move(command));
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
      was_open = take_out(later->state, later->phase);
    } else if (row) {
      was_open = take_out(row->state, row->phase);
    }
    hold(command.key, task_withdrawn{was_open});
  }
}

bool queue_core::take_out(task_state state, task_phase phase) {
  if (phase == task_phase::waiting && !state.origin.empty()) {
    const auto priority = static_cast<std::size_t>(state.priority);
    rings_[priority].remove(state);
    if (--waiting_[priority] == 0) rings_[priority].emptied();
  } else if (phase == task_phase::leased && !state.origin.empty()) {
    state = end_lease(state.task).state;
  } else {
    return false;
  }
  auto origin = std::exchange(state.origin, {});
  auto& change = note(state, task_phase::gone);
  change.end = task_end::withdrawn;
  change.origin = std::move(origin);
  return true;
}

void queue_core::end_for_origin(
    task_change& change, std::string origin, task_end end, std::string text) {
  change.end = end;
  change.origin = origin;
  change.result = text;
  open_.endings.push_back({change.task, std::move(origin), end, change.attempts, std::move(text)});
}

void queue_core::told(const std::vector<task_id>& tasks) {
  open_.told.insert(open_.told.end(), tasks.begin(), tasks.end());
  for (const auto task : tasks)
    told_lately_[task] = open_.number;
}

/// Every read from now on finds them in the views.
void queue_core::prune_origins() {
  std::erase_if(origins_, [this](const auto& one) { return one.second.batch <= committed_; });
  std::erase_if(told_lately_, [this](const auto& one) { return one.second <= committed_; });
}

}  // namespace callboard::runtime
