// What waits in the consumer groups of a shard, and for how long, in gauges: also of groups that
// nobody fetches from. Part of the GROUPS actor, used by it alone.
#pragma once

#include "actors/group_reads.hpp"
#include "base/ids.hpp"
#include "base/metrics.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace callboard::actors {

/// Gauges of events are sums over all shards: each adds its own part and takes it out again. Ages
/// are the shard's own.
class group_backlogs {
public:
  /// Lasts no longer than `counters`.
  group_backlogs(metrics& counters, shard_id shard);
  ~group_backlogs();

  group_backlogs(const group_backlogs&) = delete;
  group_backlogs& operator=(const group_backlogs&) = delete;

  /// Begins the sum over the groups of the shard.
  void begin();
  void add(bool is_binding, const group_backlog& of);
  /// Says what was added.
  void report(time_ms now);

private:
  /// Of consumer groups, and of bindings.
  static constexpr std::size_t kinds = 2;

  struct sum {
    std::uint64_t events = 0;
    std::optional<time_ms> oldest;
  };

  std::array<prometheus::Gauge*, kinds> events_;
  std::array<prometheus::Gauge*, kinds> ages_;
  std::array<sum, kinds> sums_{};
  std::array<double, kinds> reported_{};
};

}  // namespace callboard::actors
