// How many runs do what, in the gauge `workflow_runs`: counted once from the rows of each shard,
// and from then on by what is committed.
#pragma once

#include "actors/broker_parts.hpp"
#include "base/ids.hpp"
#include "base/metrics.hpp"
#include "runtime/workflow/run_row.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace callboard::actors {

/// Of the node; outlives its shards. Runs that have ended are in no count. Survives a restart:
/// nothing, as each shard is counted again. Any thread.
class run_census {
public:
  /// By what they do, workflows first, then agents.
  using counts = std::array<std::int64_t, 6>;

  run_census(metrics& counters, std::uint32_t shard_count);
  ~run_census();

  run_census(const run_census&) = delete;
  run_census& operator=(const run_census&) = delete;

  /// Adds the run whose row it is. `is_blocked`: also where its row does not say so, as its code is
  /// not there.
  static void
  add(counts& to, const runtime::workflow_row& row, bool is_blocked, std::int64_t by = 1);

  /// Of the workflow with this channel a row was committed in place of `before`, or it was deleted.
  /// Null: there was none, or there is none.
  void moved(
      shard_id shard,
      const topic_ref& channel,
      const runtime::workflow_row* before,
      const runtime::workflow_row* after);

  /// The rows of the shard are about to be read: from now on it is noted which of them move.
  void begin_count(shard_id shard);

  /// What one workflow was counted as.
  using count_of = std::function<counts(const topic_ref& channel)>;

  /// The rows that were read say `rows`. Which of those that have moved meanwhile were read as they
  /// were before, and which as they are now, `seen` tells of each, from the same reading; it is
  /// called without a lock.
  void end_count(shard_id shard, const counts& rows, const count_of& seen);

  /// They could not be read.
  void give_up_count(shard_id shard);

private:
  struct shard_counts {
    counts moved{};
    /// Of the rows, less what had moved before they were read.
    counts base{};
    bool is_counted = false;
    bool is_being_counted = false;
    /// Meanwhile: what those that have moved are now. Bound: what is committed while the rows of a
    /// shard are read.
    std::map<topic_ref, counts> moved_meanwhile;
  };

  void report(const counts& change, std::int64_t sign);

  std::array<prometheus::Gauge*, 6> gauges_;
  mutable std::mutex mutex_;
  std::vector<shard_counts> shards_;
};

/// `moved`, where somebody counts.
void count_moved(
    const broker_parts& parts,
    shard_id shard,
    const topic_ref& channel,
    const std::optional<runtime::workflow_row>& before,
    const std::optional<runtime::workflow_row>& after);

}  // namespace callboard::actors
