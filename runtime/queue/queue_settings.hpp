// What an owner may choose for a task queue, and what a node bounds.
#pragma once

#include <cstdint>

namespace callboard::runtime {

struct queue_settings {
  std::uint32_t lease_ms = 30'000;
  std::uint32_t attempts_max = 5;
  std::uint32_t backoff_min_ms = 100;
  std::uint32_t backoff_max_ms = 60'000;
  /// Counted from the enqueue; 0 = dedupe keys are not looked at.
  std::uint32_t dedupe_window_s = 86'400;
  /// Leases at a time, in all; 0 = only `queue_limits::leases_max`.
  std::uint32_t concurrency = 0;
  /// Leases at a time of one fairness key; tasks without a key are not limited. 0 = no limit.
  std::uint32_t key_concurrency = 0;
  /// A waiting task rises one class per interval; 0 = never.
  std::uint32_t aging_ms = 30'000;
  /// Tasks of one fairness key in its turn; 1..
  std::uint32_t fairness_quantum = 4;

  friend bool operator==(const queue_settings&, const queue_settings&) = default;
};

/// Bounds of one queue in memory. The backlog is on disk; these bound what is known of it.
struct queue_limits {
  /// Enqueues that are not durable yet.
  std::uint32_t enqueues_in_flight_max = 4096;
  std::uint32_t leases_max = 100'000;
  std::uint32_t waiters_max = 1000;
  std::uint32_t lease_tasks_max = 1000;
  /// Payload bytes of one lease answer and of one read of payloads, unless one task alone has more.
  std::uint64_t lease_bytes_max = 4ULL << 20;
  std::uint32_t lease_wait_ms_max = 25'000;
  std::uint32_t lease_ms_max = 86'400'000;
  /// Result of a task that somebody waits for; of others none is kept.
  std::uint64_t result_bytes_max = 4ULL << 20;
  /// Commands on dead letters that wait for a read.
  std::uint32_t dead_commands_max = 100;
  std::uint32_t dead_tasks_max = 1000;
  /// Per priority: fairness keys and tasks in memory, tasks of one key, bytes of their payloads.
  std::uint32_t window_keys_max = 1000;
  std::uint32_t window_tasks_max = 10'000;
  std::uint32_t window_key_tasks_max = 1000;
  std::uint64_t window_payload_bytes_max = 4ULL << 20;
  /// Tasks of one key that stay in memory, and are read, however full the window is; 1..
  std::uint32_t window_key_tasks_min = 8;
  /// Dedupe keys that need no read.
  std::uint32_t recent_keys_max = 65'536;
  /// Records of which no task is left before they are given back.
  std::uint32_t trim_records_min = 10'000;
};

}  // namespace callboard::runtime
