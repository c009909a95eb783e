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
#include <vector>

namespace callboard::actors {

/// Why nothing would wake a run, as its row tells; nothing if something will, or it has ended.
[[nodiscard]] std::optional<failure>
stuck_because(const runtime::workflow_row& row, const runtime::workflow_registry* code);

/// The stuck workflows of a shard by key, tail included. Reader pool only. Errors: corruption.
[[nodiscard]] result<std::map<std::string, failure>>
find_stuck(storage::shard_reader& reader, const runtime::workflow_registry* code);

/// What has ended but still has to tell somebody is kept so much longer than its retention.
inline constexpr std::chrono::hours owing_kept_max{30 * 24};

/// Channels of workflows that ended before `cutoff` and owe nobody anything, or did so
/// `owing_kept_max` before it, tail included; at most `count_max`. Agents do not end. Reader pool
/// only. Errors: corruption.
[[nodiscard]] result<std::vector<topic_ref>>
find_expired(storage::shard_reader& reader, time_ms cutoff, std::size_t count_max);

/// Counts the shard's stuck workflows in the gauge `workflows_stuck`, logs each when it becomes so,
/// and deletes those that ended longer ago than `workflows.retention_s`. Works on the reader pool,
/// one look at a time. Survives a restart: nothing, so that each is logged again.
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
