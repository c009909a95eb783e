// What is known in memory of the tasks that wait in one priority, and whose turn it is.
//
// The keys with waiting tasks form a ring in the order of their hashes. A segment of it is in
// memory: every key with waiting tasks in [from, to], each with the first of its tasks up to a
// position below which nothing is missing. Everything else is on disk and is asked for when the
// turn comes there, so that a million tasks, or keys, cost no more memory than a few thousand.
#pragma once

#include "base/shared_bytes.hpp"
#include "runtime/queue/queue_rows.hpp"
#include "runtime/queue/queue_settings.hpp"
#include "runtime/queue/queue_task.hpp"
#include "runtime/queue/recent_changes.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace callboard::runtime {

/// Leases per fairness key, of all priorities.
struct key_load {
  std::unordered_map<std::uint64_t, std::uint32_t> leased;
  /// 0 = no limit.
  std::uint32_t most = 0;

  [[nodiscard]] bool has_room(std::uint64_t fairness) const {
    if (most == 0 || fairness == 0) return true;
    const auto found = leased.find(fairness);
    return found == leased.end() || found->second < most;
  }
};

/// A task that waits; its payload if that is at hand.
struct waiting_task {
  task_state state;
  std::optional<shared_bytes> payload;
};

class ready_ring {
public:
  /// `is_empty`: no task of this priority waits, on disk either.
  ready_ring(task_priority priority, const queue_limits& limits, bool is_empty);

  // -- what happens to tasks --

  /// It waits from now on.
  void add(waiting_task task);

  /// It has ended without a lease.
  void remove(const task_state& state);

  /// Its record has moved.
  void move(const task_state& state);

  /// No task of this priority waits any more, on disk either.
  void emptied();

  /// Something that kept tasks from being leased has changed.
  void stir() { is_fruitful_ = true; }

  // -- whose turn --

  /// True if `take_next` would give a task.
  [[nodiscard]] bool has_next(const key_load& load, time_ms now) const;

  /// The task whose turn it is by deficit round robin. Precondition: `has_next`.
  [[nodiscard]] waiting_task take_next(const key_load& load, time_ms now, std::uint32_t quantum);

  /// When the task that has waited longest of those that may be leased became ready.
  [[nodiscard]] std::optional<time_ms> oldest(const key_load& load, time_ms now) const;

  // -- what to read --

  /// The next segment, if the turn has come to where nothing is known.
  [[nodiscard]] std::optional<segment_ask> plan_segment(const key_load& load, time_ms now);

  /// Keys of which more is needed.
  [[nodiscard]] std::vector<key_ask> plan_keys(const key_load& load, std::size_t count_max) const;

  void loaded(segment_page page, lsn as_of, const recent_changes& later, time_ms now);
  void loaded(const key_ask& ask, key_page page, lsn as_of, const recent_changes& later);

  // -- queries --

  [[nodiscard]] std::size_t task_count() const { return task_count_; }

  [[nodiscard]] std::size_t key_count() const { return keys_.size(); }

  [[nodiscard]] std::uint64_t payload_bytes() const { return payload_bytes_; }

private:
  struct key_window {
    std::map<task_position, shared_bytes> payloads;
    std::map<task_position, task_state> tasks;
    /// All waiting tasks of the key up to here are in `tasks`; nothing: all of them.
    std::optional<task_position> known_up_to;
    /// Tasks left of the turn.
    std::uint32_t deficit = 0;
    /// Some were taken since it was read: more will be wanted.
    bool is_used = false;

    [[nodiscard]] bool is_whole() const { return !known_up_to; }
  };

  using key_map = std::map<std::uint64_t, key_window>;

  [[nodiscard]] bool covers(std::uint64_t fairness) const {
    return is_covered_ && fairness >= from_ && fairness <= to_;
  }

  [[nodiscard]] bool is_all_covered() const;
  [[nodiscard]] bool
  may_serve(key_map::const_iterator key, const key_load& load, time_ms now) const;
  [[nodiscard]] key_map::const_iterator find_turn(const key_load& load, time_ms now) const;
  void insert(key_map::iterator key, waiting_task task);
  void erase(key_map::iterator key, std::map<task_position, task_state>::iterator task);
  [[nodiscard]] waiting_task take_head(key_map::iterator key);
  void bound_key(key_map::iterator key);
  void bound_keys();
  void drop_key(key_map::iterator key);
  void forget_key(key_map::iterator key);
  void note_head(key_map::iterator key, std::optional<task_position> before);
  [[nodiscard]] static std::optional<task_position> head_of(const key_window& window);
  void account_rotation(const segment_page& page);

  const task_priority priority_;
  const queue_limits limits_;
  key_map keys_;
  /// First task of each key.
  std::set<std::pair<task_position, std::uint64_t>> heads_;
  std::size_t task_count_ = 0;
  std::uint64_t payload_bytes_ = 0;

  bool is_covered_ = false;
  std::uint64_t from_ = 0;
  std::uint64_t to_ = 0;
  /// The key with the turn is the first at or after it; `is_turn_begun_`: that one, and it was
  /// given its quantum.
  std::uint64_t turn_ = 0;
  bool is_turn_begun_ = false;

  // A rotation that gave nothing is not repeated before something changes.
  bool is_fruitful_ = true;
  bool has_wrapped_ = false;
  std::uint64_t mark_ = 0;
  std::optional<time_ms> wake_;
};

}  // namespace callboard::runtime
