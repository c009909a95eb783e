// Looks for workflows that nothing would ever wake, and for those that have been over for long.
// Part of the SHARD actor, used by it alone.
#pragma once

#include "actors/broker_parts.hpp"
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

/// What has ended but still has to tell somebody is kept so much longer than its retention.
inline constexpr std::chrono::hours owing_kept_max{30 * 24};

/// What one look at the rows of a shard gives. At most `expired_max`, `checks_max` and `reads_max`.
struct sweep_found {
  /// By key.
  std::map<std::string, failure> stuck;
  /// Workflows that ended before the cutoff and owe nobody anything, or did so `owing_kept_max`
  /// before it. Agents do not end.
  std::vector<topic_ref> expired;
  /// Recorded as blocked, though their code is here: it may fit by now.
  std::map<std::string, topic_ref> blocked;
  /// Those that wait for something, behind the key of the last look; in order of key.
  std::map<std::string, topic_ref> working;
  /// The others that run, behind the key of the last look; in order of key.
  std::map<std::string, topic_ref> parked;
};

struct sweep_order {
  const runtime::workflow_registry* code = nullptr;
  stuck_runs& known;
  /// Nothing: none expire.
  std::optional<time_ms> cutoff;
  std::string working_after;
  std::string parked_after;
};

inline constexpr std::size_t expired_max = 500;
inline constexpr std::size_t checks_max = 20;
inline constexpr std::size_t reads_max = 200;

/// Tail included. Reader pool only. Errors: corruption.
[[nodiscard]] result<sweep_found>
look_through(storage::shard_reader& reader, const sweep_order& order);

/// Counts the shard's stuck workflows in the gauge `workflows_stuck`, logs each when it becomes so,
/// and deletes those that ended longer ago than `workflows.retention_s`. With each look it has
/// `checks_max` runs see whether what they wait for is still there, and reads the histories of
/// `reads_max` that are parked, each once: so it comes to all of them. Those that another build has
/// recorded are replayed, so that it is known whether their code still fits, though nothing wakes
/// them. Works on the reader pool, one look at a time. Survives a restart: nothing, so that each is
/// looked at and logged again.
class run_sweep {
public:
  run_sweep(const broker_parts& parts, shard_id shard);

  /// Begins a look if the last one is `workflows.sweep_ms` ago. Call it often. `self` gets the
  /// answers to the deletions.
  void look(const caf::actor& self);

private:
  struct seen;

  const broker_parts& parts_;
  const shard_id shard_;
  std::shared_ptr<seen> seen_;
  boot_time next_{};
};

}  // namespace callboard::actors
