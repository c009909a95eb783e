// What the views know of a workflow: one row for lists and look-ups, who must be woken at a start,
// and which timers are due when.
#pragma once

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "runtime/workflow/run_event.hpp"
#include "storage/projection.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::runtime {

/// What a run must still tell somebody, because it went on or ended without them.
struct run_debt {
  enum class what : std::uint8_t { cancel_child, withdraw_task, tell_end };

  what kind = what::cancel_child;
  /// The child's workflow id, the queue, or the id of who waits.
  std::string target;
  /// The command, as the receiver knows it (`actors::format_origin`); of `tell_end` the receiver's.
  std::string origin;

  friend bool operator==(const run_debt&, const run_debt&) = default;
};

/// All that a run owes. Bound: one for each command that was open at once, and for each that waits
/// for its end.
struct run_debts {
  std::vector<run_debt> debts;
  /// How it ended, to its parent.
  bool parent = false;

  [[nodiscard]] bool empty() const { return debts.empty() && !parent; }

  friend bool operator==(const run_debts&, const run_debts&) = default;
};

/// A wish to cancel a run. Nobody but a run has none for `who`.
struct run_cancel {
  std::string who;
  std::string reason;

  friend bool operator==(const run_cancel&, const run_cancel&) = default;
};

struct workflow_row {
  std::string type;
  std::uint32_t version = 1;
  std::uint32_t run = 1;
  run_status status = run_status::running;
  time_ms started{};
  std::optional<time_ms> ended;
  /// On the channel: where the current run begins, and where it ended.
  sequence first_seq{};
  sequence last_seq{};
  std::string correlation_id;
  /// Of the first run's input and type: a repeated start is told from another.
  std::uint64_t start_hash = 0;
  /// `state`, as the code set it last; `result` of a completed run, as JSON.
  std::string state;
  std::string result;
  std::optional<failure> why;
  /// Something is under way that nothing outside will report: wake it when the shard starts.
  bool needs_wake = false;
  /// Commands that are open and whose receivers have them on disk and tell of their ends: children,
  /// tasks. Ascending; bound: one for each command that is open at once.
  std::vector<std::uint32_t> accepted;
  /// Model commands whose next attempt waits for its time: nobody has been asked yet. Ascending;
  /// bound: as `accepted`.
  std::vector<std::uint32_t> unasked_models;
  std::uint32_t commands = 0;
  /// Of the events of its current run, as stored; 0: written by a version that did not count them.
  std::uint64_t history_bytes = 0;
  /// Nothing: written by a version that did not record it.
  std::optional<run_debts> owes;
  /// Commands of others that wait for its end without being its parent (`actors::format_origin`).
  /// Ascending; bound: workflows.result_waiters_max. Of a run that has ended they are debts.
  std::vector<std::string> watchers;
  /// The parent's cancel has been taken; told again it is none, whichever run is current then.
  bool parent_cancelled = false;
  /// It was answered while the code was in a turn, and stands in the record only behind that.
  std::optional<run_cancel> cancel_asked;
  /// Of rows of the view: the channel's; 0: not known.
  entity_id entity{};
};

/// True if they differ in nothing but how far the run has come.
[[nodiscard]] bool tell_the_same(const workflow_row& one, const workflow_row& other);

/// Of a child that has ended: its parent does not know yet how.
[[nodiscard]] inline bool owes_parent(const workflow_row& row) {
  if (!row.ended) return false;
  return row.owes ? row.owes->parent : row.needs_wake;
}

/// Whoever reads this row after a crash takes it that the command's attempt, which has waited for
/// its time, was not begun. Earlier versions told it only where nothing else was under way.
[[nodiscard]] bool is_unasked(const workflow_row& row, std::uint32_t command);

/// Events of its current run.
[[nodiscard]] inline std::uint64_t history_size(const workflow_row& row) {
  return row.last_seq.raw() + 1 - row.first_seq.raw();
}

struct run_timer {
  time_ms due{};
  std::uint32_t command = 0;
  /// `due` is a time of the wall clock, not of the shard.
  bool by_wall = false;

  friend auto operator<=>(const run_timer&, const run_timer&) = default;
};

/// When the first of a run's timers is due by each clock.
struct next_timers {
  std::optional<time_ms> by_shard;
  std::optional<time_ms> by_wall;

  void add(const run_timer& timer) {
    auto& first = timer.by_wall ? by_wall : by_shard;
    if (!first || timer.due < *first) first = timer.due;
  }

  [[nodiscard]] bool any() const { return by_shard || by_wall; }
};

/// The record that goes with every transition.
struct workflow_progress {
  topic_ref channel;
  workflow_row row;
  std::vector<run_timer> set;
  std::vector<run_timer> cleared;
};

[[nodiscard]] shared_bytes encode_workflow_progress(const workflow_progress& progress);
[[nodiscard]] result<workflow_progress> decode_workflow_progress(std::string_view payload);

/// Key of a workflow's row: tenant, 0, id.
[[nodiscard]] std::string workflow_key(const tenant_name& tenant, std::string_view id);
[[nodiscard]] std::optional<workflow_row> decode_workflow_row(std::string_view value);

/// Key of a timer: due (8 bytes), entity (8), command (4), all big-endian. Value: as
/// `workflow_key`. Those of the wall clock have a view of their own.
[[nodiscard]] std::string timer_key(const run_timer& timer, entity_id entity);
[[nodiscard]] time_ms timer_due(std::string_view key);
[[nodiscard]] entity_id timer_entity(std::string_view key);

/// The channel that a `workflow_key` belongs to.
[[nodiscard]] std::optional<topic_ref> channel_of_key(std::string_view key);

/// Called for `workflow_progress` and `topic_deleted` records.
void apply_workflow_record(const storage::record& record, storage::view_writer& out);

}  // namespace callboard::runtime
