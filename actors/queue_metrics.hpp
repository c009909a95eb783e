// What the task queues of one shard report. Gauges of backlog are sums over all shards: each adds
// its own part and takes it out again.
#pragma once

#include "base/ids.hpp"
#include "base/metrics.hpp"
#include "runtime/queue/queue_commands.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace callboard::actors {

class queue_metrics {
public:
  /// Lasts no longer than `counters`.
  queue_metrics(metrics& counters, shard_id shard);
  ~queue_metrics();

  queue_metrics(const queue_metrics&) = delete;
  queue_metrics& operator=(const queue_metrics&) = delete;

  void enqueued() { enqueued_.Increment(); }

  void completed() { completed_.Increment(); }

  void failed(bool is_dead) {
    failed_.Increment();
    if (is_dead) died_.Increment();
  }

  /// `waited`: since the enqueue; of a first attempt.
  void leased(std::uint32_t attempt, std::chrono::milliseconds waited);

  void expired(std::uint64_t count) { expired_.Increment(static_cast<double>(count)); }

  void lease_lost() { lost_.Increment(); }

  /// What the shard's queues hold now, and since how long the oldest task could be leased.
  void report(const runtime::queue_counts& sum);
  void report_age(std::optional<std::chrono::milliseconds> oldest);

private:
  prometheus::Counter& enqueued_;
  prometheus::Counter& leased_;
  prometheus::Counter& completed_;
  prometheus::Counter& failed_;
  prometheus::Counter& died_;
  prometheus::Counter& expired_;
  prometheus::Counter& lost_;
  prometheus::Histogram& wait_;
  prometheus::Gauge& waiting_;
  prometheus::Gauge& in_flight_;
  prometheus::Gauge& dead_;
  prometheus::Gauge& workers_;
  prometheus::Gauge& oldest_;
  std::array<double, 4> reported_{};
};

}  // namespace callboard::actors
