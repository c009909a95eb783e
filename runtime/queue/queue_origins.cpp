// Tasks of somebody who has to know of them: one per origin.
//
// Whoever enqueues them asks again until it is answered, maybe long after a crash. So an enqueue
// with an origin waits until it is known whether the origin has a task: in the views, which keep
// its row until the end is told, or among what was admitted since they were read.
#include "runtime/queue/queue_core.hpp"

#include <utility>

namespace callboard::runtime {

void queue_core::enqueue_once(enqueue_command command, const std::optional<hash128>& hash) {
  if (const auto known = origins_.find(command.origin); known != origins_.end()) {
    return hold(command.key, enqueued_task{known->second.task, true});
  }
  parked_origins_.push_back({std::move(command), hash});
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
      admit(std::move(command), parked.hash, now);
    }
  }
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
