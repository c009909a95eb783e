#include "actors/queue_metrics.hpp"

#include <numeric>
#include <string>

namespace callboard::actors {

namespace {

constexpr const char* tasks_help = "tasks of all queues by what they are: waiting, leased or dead";

/// From a millisecond to a day, in seconds.
std::vector<double> wait_bounds() {
  return {0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600, 86400};
}

}  // namespace

queue_metrics::queue_metrics(metrics& counters, shard_id shard)
    : enqueued_{counters.counter("tasks_enqueued_total", "tasks enqueued and durable")},
      leased_{counters.counter("tasks_leased_total", "leases granted and durable")},
      completed_{counters.counter("tasks_completed_total", "tasks completed and durable")},
      failed_{counters.counter("task_attempts_failed_total", "attempts that workers failed")},
      died_{counters.counter(
          "tasks_dead_total", "of these, attempts that made their task a dead letter")},
      expired_{counters.counter("task_leases_expired_total", "leases that ran out")},
      lost_{counters.counter(
          "task_lease_lost_total", "answers of workers refused because their lease had ended")},
      wait_{counters.histogram(
          "task_queue_wait_seconds", "from the enqueue to the first lease", wait_bounds())},
      waiting_{counters.gauge("tasks", tasks_help, {{"state", "waiting"}})},
      in_flight_{counters.gauge("tasks", tasks_help, {{"state", "leased"}})},
      dead_{counters.gauge("tasks", tasks_help, {{"state", "dead"}})},
      workers_{counters.gauge("task_workers_waiting", "requests for leases that wait for a task")},
      oldest_{counters.gauge(
          "task_oldest_ready_age_seconds",
          "how long the task of the shard that waited longest could have been leased",
          {{"shard", std::to_string(shard.raw())}})} {}

queue_metrics::~queue_metrics() {
  report({});
  report_age(std::nullopt);
}

void queue_metrics::leased(std::uint32_t attempt, std::chrono::milliseconds waited) {
  leased_.Increment();
  if (attempt == 1) wait_.Observe(std::chrono::duration<double>(waited).count());
}

void queue_metrics::report(const runtime::queue_counts& sum) {
  const auto backlog = std::accumulate(sum.waiting.begin(), sum.waiting.end(), std::uint64_t{0});
  const std::array<double, 4> now{
      static_cast<double>(backlog),
      static_cast<double>(sum.leased),
      static_cast<double>(sum.dead),
      static_cast<double>(sum.waiters)};
  waiting_.Increment(now[0] - reported_[0]);
  in_flight_.Increment(now[1] - reported_[1]);
  dead_.Increment(now[2] - reported_[2]);
  workers_.Increment(now[3] - reported_[3]);
  reported_ = now;
}

void queue_metrics::report_age(std::optional<std::chrono::milliseconds> oldest) {
  oldest_.Set(oldest ? std::chrono::duration<double>(*oldest).count() : 0);
}

}  // namespace callboard::actors
