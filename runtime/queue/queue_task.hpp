// The words of a task queue: a task, its phases, and what one record says of it.
#pragma once

#include "base/ids.hpp"
#include "base/shared_bytes.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::runtime {

/// A task in its queue: the sequence of the record that enqueued it.
using task_id = counter_id<struct task_id_tag>;

/// Classes of service, the most urgent first. On disk: never change the numbers.
enum class task_priority : std::uint8_t { control = 0, interactive = 1, normal = 2, bulk = 3 };

inline constexpr std::size_t priority_count = 4;

/// On disk: never change the numbers. `gone`: completed or abandoned.
enum class task_phase : std::uint8_t { waiting = 0, leased = 1, dead = 2, gone = 3 };

/// How a task has ended for whoever enqueued it. On disk: never change the numbers.
enum class task_end : std::uint8_t {
  none = 0,
  completed = 1,
  /// Or cancelled. A redrive may still complete it: that is not told.
  dead = 2,
  /// Whoever enqueued it went on without it; nobody is told.
  withdrawn = 3,
  queue_deleted = 4
};

/// Attempts kept of one task; older ones are dropped from the history, not from the count.
inline constexpr std::size_t task_history_max = 50;
/// Bytes of an attempt's error that are kept: a task's row holds those of its whole history.
inline constexpr std::size_t task_error_size_max = 500;

/// An attempt that ended without success; also what somebody did to a dead letter.
struct task_attempt {
  std::uint32_t number = 0;
  time_ms started{};
  time_ms ended{};
  /// The worker, or who it was.
  std::string worker;
  /// "failed", "deferred", "expired", "released", "redriven" or "edited"
  std::string outcome;
  std::string error;

  friend bool operator==(const task_attempt&, const task_attempt&) = default;
};

/// Where a task stands among those of its priority and fairness key.
struct task_position {
  time_ms ready{};
  task_id task{};

  friend auto operator<=>(const task_position&, const task_position&) = default;
};

/// All that decisions about a task need; about 100 bytes, payload and history excluded.
struct task_state {
  task_id task{};
  /// The record that holds the payload.
  sequence place{};
  task_priority priority = task_priority::normal;
  /// Hash of the fairness key; 0 = none.
  std::uint64_t fairness = 0;
  /// Not to be leased before this shard time.
  time_ms ready{};
  time_ms enqueued{};
  /// Attempts that ended and counted.
  std::uint32_t attempts = 0;
  std::uint32_t attempts_max = 0;
  /// Whom to tell of its end; opaque. Empty once that is recorded.
  std::string origin;

  [[nodiscard]] task_position position() const { return {ready, task}; }

  friend bool operator==(const task_state&, const task_state&) = default;
};

/// A lease as records tell it: a duration, never a deadline.
struct task_lease {
  std::uint64_t number = 0;
  std::uint32_t nonce = 0;
  std::string worker;
  std::uint32_t duration_ms = 0;
  time_ms started{};

  friend bool operator==(const task_lease&, const task_lease&) = default;
};

/// A task as its row tells it.
struct task_row {
  task_state state;
  task_phase phase = task_phase::waiting;
  std::string fairness_key;
  std::string dedupe_key;
  task_lease lease;
  std::vector<task_attempt> history;
  std::uint32_t payload_size = 0;

  friend bool operator==(const task_row&, const task_row&) = default;
};

/// A task with its payload: what task_enqueued and task_restated say.
struct stored_task {
  task_row row;
  shared_bytes payload;
};

/// What one record of progress says of one task: how it is now, and what is new in its history.
struct task_change {
  task_id task{};
  task_phase phase = task_phase::waiting;
  time_ms ready{};
  std::uint32_t attempts = 0;
  task_lease lease;
  std::vector<task_attempt> ended;
  std::string result;
  /// Of a task with an origin.
  task_end end = task_end::none;
  std::string origin;

  friend bool operator==(const task_change&, const task_change&) = default;
};

/// Told of a task with an origin when its end is durable: once by each core that ended it, and by
/// the views until `told` is.
struct task_ending {
  task_id task{};
  std::string origin;
  task_end end = task_end::completed;
  std::uint32_t attempts = 0;
  /// The result, or the last error.
  std::string text;

  friend bool operator==(const task_ending&, const task_ending&) = default;
};

struct task_progress {
  std::vector<task_change> changes;
  /// The highest lease number given so far.
  std::uint64_t last_lease = 0;
  /// Whose end is known to whoever enqueued them.
  std::vector<task_id> told;
  /// Ends that are still to be told, as they were.
  std::vector<task_ending> restated;

  friend bool operator==(const task_progress&, const task_progress&) = default;
};

struct task_audit {
  std::string who;
  /// "redrive", "edit", "abandon", "cancel" or "purge"
  std::string action;
  std::vector<task_id> tasks;
  time_ms time{};
  /// Of a purge, which names no tasks: those up to there, and whether dead letters, too.
  task_id up_to{};
  bool with_dead = false;

  friend bool operator==(const task_audit&, const task_audit&) = default;
};

/// One row per queue, kept by the projection.
struct queue_counters {
  std::array<std::uint64_t, priority_count> waiting{};
  std::uint64_t leased = 0;
  std::uint64_t dead = 0;
  std::uint64_t last_lease = 0;
  /// Last sequence of the entity, and up to where it was trimmed.
  sequence last_seq{};
  sequence floor{};
  /// Dedupe keys are numbered; those in [first, next) have rows.
  std::uint64_t dedupe_first = 0;
  std::uint64_t dedupe_next = 0;
  std::uint32_t dedupe_window_s = 0;

  friend bool operator==(const queue_counters&, const queue_counters&) = default;
};

/// Appends `more` to `history`, dropping the oldest beyond `task_history_max`.
void append_attempts(std::vector<task_attempt>& history, const std::vector<task_attempt>& more);

/// Hash of a fairness key; 0 only for the empty one, never the highest number.
[[nodiscard]] std::uint64_t fairness_hash(std::string_view key);

}  // namespace callboard::runtime
