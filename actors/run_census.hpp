// How many runs do what, in the gauge `workflow_runs`: counted once from the rows of each shard,
// and from then on by what is committed.
#pragma once

#include "actors/broker_parts.hpp"
#include "base/ids.hpp"
#include "base/metrics.hpp"
#include "runtime/workflow/run_row.hpp"

#include <array>
#include <cstdint>
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

  /// A row was committed in place of `before`; null: there was none.
  void
  moved(shard_id shard, const runtime::workflow_row* before, const runtime::workflow_row& after);

  /// What has moved so far: to be taken before the rows of a shard are read.
  [[nodiscard]] counts moved_so_far(shard_id shard) const;

  /// The rows of the shard say `rows`; they were read behind `mark`. A row that was committed
  /// meanwhile may count twice until the next time.
  void counted(shard_id shard, const counts& rows, const counts& mark);

private:
  struct shard_counts {
    counts moved{};
    /// Of the rows, less what had moved before they were read.
    counts base{};
    bool is_counted = false;
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
    const std::optional<runtime::workflow_row>& before,
    const runtime::workflow_row& after);

}  // namespace callboard::actors
