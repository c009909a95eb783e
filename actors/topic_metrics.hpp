// What all shards and topics of a node count together.
#pragma once

#include "actors/requests.hpp"
#include "actors/run_metrics.hpp"
#include "base/error.hpp"
#include "base/metrics.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace callboard::actors {

/// Counters that all topics of the node add to. Outlives them. Any thread.
struct topic_metrics {
  explicit topic_metrics(metrics& counters);

  topic_metrics(const topic_metrics&) = delete;
  topic_metrics& operator=(const topic_metrics&) = delete;

  /// Counts what a publish came to.
  void answered(const publish_reply& reply);

  /// Counts publishes that were refused, by reason.
  void refused(errc reason, std::uint64_t count = 1);

  /// Counts what retention lets go of a topic that began with `first`; nothing if that is behind
  /// it.
  void count_trim(sequence first, sequence up_to);

  prometheus::Counter& published;
  prometheus::Counter& published_bytes;
  prometheus::Counter& duplicates;
  prometheus::Counter& trimmed;
  prometheus::Histogram& publish_to_durable;
  prometheus::Gauge& active;
  run_metrics runs;

  /// Batches in the mailboxes of shards and of topics.
  std::atomic<std::int64_t> shard_mailbox{0};
  std::atomic<std::int64_t> topic_mailbox{0};

private:
  struct reason_counter {
    errc reason{};
    prometheus::Counter* counter = nullptr;
  };

  std::array<reason_counter, 9> refused_;
  prometheus::Counter& refused_other_;
};

}  // namespace callboard::actors
