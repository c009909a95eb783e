// Runs of a shard that are to be read and for which there is no room yet: in the order in which
// they were refused. Part of the SHARD actor, used by it alone.
#pragma once

#include "actors/run_memory.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"

#include <cstddef>
#include <deque>
#include <unordered_set>
#include <utility>
#include <vector>

namespace callboard::actors {

/// Bound: the names of those that have work to do, which are all of it that is in memory.
class run_turns {
public:
  explicit run_turns(run_memory& memory) : memory_{memory} {}

  /// Before `memory` goes.
  void clear() {
    memory_.add_waiting(-static_cast<std::int64_t>(names_.size()));
    names_.clear();
    order_.clear();
  }

  [[nodiscard]] bool waits(const topic_ref& name) const { return names_.contains(name); }

  void wait(const topic_ref& name) {
    if (!names_.insert(name).second) return;
    order_.push_back(name);
    memory_.add_waiting(1);
  }

  /// Those that may try again: some while there is room, and else one, which gets in if nobody
  /// leaves.
  [[nodiscard]] std::vector<topic_ref> take() {
    if (order_.empty()) return {};
    const std::size_t most = memory_.has_room(run_need::goes_on) ? at_once_max : 1;
    std::vector<topic_ref> next;
    while (next.size() < most && !order_.empty()) {
      names_.erase(order_.front());
      next.push_back(std::move(order_.front()));
      order_.pop_front();
    }
    memory_.add_waiting(-static_cast<std::int64_t>(next.size()));
    return next;
  }

private:
  static constexpr std::size_t at_once_max = 100;

  run_memory& memory_;
  std::deque<topic_ref> order_;
  std::unordered_set<topic_ref> names_;
};

}  // namespace callboard::actors
