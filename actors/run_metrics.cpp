#include "actors/run_metrics.hpp"

#include <string>

namespace callboard::actors {

namespace {

prometheus::Counter& endings(metrics& counters, const std::string& status) {
  return counters.counter(
      "workflow_runs_ended_total", "Runs that have ended, by status.", {{"status", status}});
}

}  // namespace

run_metrics::run_metrics(metrics& counters)
    : long_turns{counters.counter(
          "workflow_long_turns_total",
          "Times that code of a run did not suspend for more than 50 ms.")},
      step_time{counters.histogram(
          "step_seconds",
          "Of one attempt of a step, without its wait.",
          metrics::latency_bounds())},
      replay_time{counters.histogram(
          "workflow_replay_seconds",
          "From the load of a run to its going on, with reading its history.",
          metrics::latency_bounds())},
      replay_bytes{counters.histogram(
          "workflow_replay_bytes",
          "Of the history, as stored, that a replay went through.",
          {1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456})},
      started_{counters.counter("workflow_runs_started_total", "Runs that have begun.")},
      completed_{endings(counters, "completed")},
      failed_{endings(counters, "failed")},
      cancelled_{endings(counters, "cancelled")},
      continued_{endings(counters, "continued")} {}

void run_metrics::count(const runtime::run_event& event) {
  if (event.kind == runtime::run_event_kind::started) return started_.Increment();
  if (event.kind != runtime::run_event_kind::ended) return;
  switch (event.status) {
  case runtime::run_status::completed:
    return completed_.Increment();
  case runtime::run_status::failed:
    return failed_.Increment();
  case runtime::run_status::cancelled:
    return cancelled_.Increment();
  case runtime::run_status::continued:
    return continued_.Increment();
  default:
    return;
  }
}

}  // namespace callboard::actors
