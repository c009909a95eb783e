// What the queue has decided and a page of rows may not show yet.
//
// A page stands for an lsn. Whatever was decided in a record behind that lsn, or in one that is
// not committed, is known here and takes the place of what the page says. Entries go once they are
// committed and no read is under way: a read that begins later shows them itself.
#pragma once

#include "base/ids.hpp"
#include "runtime/queue/queue_task.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

namespace callboard::runtime {

/// Counts what a queue hands to the journal; each is one atomic append.
using batch_number = counter_id<struct batch_number_tag>;

class recent_changes {
public:
  struct change {
    task_state state;
    task_phase phase = task_phase::waiting;
    batch_number batch{};
  };

  void note(const task_state& state, task_phase phase, batch_number batch) {
    changes_.insert_or_assign(state.task, change{state, phase, batch});
  }

  void committed(batch_number batch, lsn last) { commits_.emplace_back(batch, last); }

  /// Forgets what every read from now on shows.
  void prune() {
    if (commits_.empty()) return;
    const auto up_to = commits_.back().first;
    std::erase_if(changes_, [&](const auto& entry) { return entry.second.batch <= up_to; });
    commits_.clear();
    pruned_up_to_ = up_to;
  }

  /// What was decided about `task` behind `as_of`.
  [[nodiscard]] const change* later(task_id task, lsn as_of) const {
    const auto found = changes_.find(task);
    if (found == changes_.end() || !is_later(found->second, as_of)) return nullptr;
    return &found->second;
  }

  /// Calls `visit` with everything that was decided behind `as_of`.
  template <class Visit>
  void visit_later(lsn as_of, const Visit& visit) const {
    for (const auto& [task, one] : changes_) {
      if (is_later(one, as_of)) visit(one);
    }
  }

  [[nodiscard]] std::size_t size() const { return changes_.size(); }

private:
  [[nodiscard]] bool is_later(const change& one, lsn as_of) const {
    if (one.batch <= pruned_up_to_) return false;
    for (const auto& [batch, last] : commits_) {
      // A page in the middle of a batch shows a part of it at most: the batch is newer.
      if (batch == one.batch) return last > as_of;
    }
    return true;
  }

  std::map<task_id, change> changes_;
  /// Committed since the last prune, with the lsn of their last record.
  std::deque<std::pair<batch_number, lsn>> commits_;
  batch_number pruned_up_to_{};
};

}  // namespace callboard::runtime
