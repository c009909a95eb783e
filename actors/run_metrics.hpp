// What all runs of a node count together.
#pragma once

#include "base/metrics.hpp"
#include "runtime/workflow/run_event.hpp"

namespace callboard::actors {

/// Counters that all runs of the node add to. Outlives them. Any thread.
struct run_metrics {
  explicit run_metrics(metrics& counters);

  /// One that is on disk.
  void count(const runtime::run_event& event);

  /// Code that ran for longer than it should without suspending.
  prometheus::Counter& long_turns;
  prometheus::Histogram& step_time;
  prometheus::Histogram& replay_time;
  prometheus::Histogram& replay_bytes;

private:
  prometheus::Counter& started_;
  prometheus::Counter& completed_;
  prometheus::Counter& failed_;
  prometheus::Counter& cancelled_;
  prometheus::Counter& continued_;
};

}  // namespace callboard::actors
