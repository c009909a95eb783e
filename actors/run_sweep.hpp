// Looks for workflows that nothing would ever wake, and for those that have been over for long.
// Part of the SHARD actor, used by it alone.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/run_census.hpp"
#include "base/error.hpp"
#include "base/names.hpp"
#include "runtime/workflow/run_row.hpp"
#include "storage/journal.hpp"

#include <caf/actor.hpp>

#include <callboard/failure.hpp>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::actors {

/// Code of a run whose history cannot be read; how it is told.
inline constexpr std::string_view unreadable_code = "history_unreadable";
[[nodiscard]] failure unreadable_history(std::string_view detail);

/// Why nothing would wake a run, as its row tells; nothing if something will, or it has ended.
[[nodiscard]] std::optional<failure>
stuck_because(const runtime::workflow_row& row, const runtime::workflow_registry* code);

/// The same with what was found where its row does not tell. `key` as `runtime::workflow_key`.
[[nodiscard]] std::optional<failure> stuck_because(
    const std::string& key,
    const runtime::workflow_row& row,
    const runtime::workflow_registry* code,
    const stuck_runs& known);

/// What has ended but still has to tell somebody, or has a group or binding behind it, is kept so
/// much longer than its retention.
inline constexpr std::chrono::hours owing_kept_max{30 * 24};

/// Where a lap over the runs of one kind is, and how many of them the next look takes.
struct run_place {
  std::string after;
  std::size_t most = 0;
};

/// Runs of one kind behind such a place, in order of key, and how many there are at all.
struct run_page {
  std::map<std::string, topic_ref> runs;
  std::size_t count = 0;
};

/// Looks in which a lap comes to all runs, however many: an hour, if they are a minute apart.
inline constexpr std::size_t looks_per_lap = 60;

/// What one look at the rows of a shard gives.
struct sweep_found {
  /// By key, the first `stuck_named_max`; and how many there are.
  std::map<std::string, failure> stuck;
  std::size_t stuck_count = 0;
  /// Workflows that ended before the cutoff, owe nobody anything and have no group or binding that
  /// is behind, or ended `owing_kept_max` before it. Agents do not end. At most `expired_max`.
  std::vector<topic_ref> expired;
  /// Recorded as blocked, though their code is here: it may fit by now.
  run_page blocked;
  /// Those that wait for something.
  run_page working;
  /// The others that run.
  run_page parked;
  run_census::counts counts{};
};

struct sweep_order {
  const runtime::workflow_registry* code = nullptr;
  stuck_runs& known;
  /// Nothing: none expire.
  std::optional<time_ms> cutoff;
  run_place blocked{};
  run_place working{};
  run_place parked{};
};

inline constexpr std::size_t expired_max = 500;
inline constexpr std::size_t stuck_named_max = 1000;

/// Tail included. Reader pool only. Errors: corruption.
[[nodiscard]] result<sweep_found>
look_through(storage::shard_reader& reader, const sweep_order& order);

/// Counts the shard's stuck workflows in the gauge `workflows_stuck`, logs each when it becomes so,
/// and deletes those that ended longer ago than `workflows.retention_s`. In `looks_per_lap` looks
/// it has each run see whether what it waits for is still there, again and again, and reads the
/// history of each that is parked, once. Those that another build has recorded are replayed, so
/// that it is known whether their code still fits, though nothing wakes them. In memory are the
/// runs of one look, and the names of the first `stuck_named_max` that are stuck. Works on the
/// reader pool, one look at a time. Survives a restart: nothing, so that each is looked at and
/// logged again.
class run_sweep {
public:
  run_sweep(const broker_parts& parts, shard_id shard);

  /// Asks those that the last look has found, a few at a time; begins a look if the last one is
  /// `workflows.sweep_ms` ago. Call it often. `self` gets the answers to the deletions.
  void look(const caf::actor& self);

private:
  struct seen;

  const broker_parts& parts_;
  const shard_id shard_;
  std::shared_ptr<seen> seen_;
  boot_time next_{};
};

}  // namespace callboard::actors
