// The stand-in for one topic on one I/O thread: takes each batch once and offers it to all
// subscriptions there, keeps a short tail, and reads history for those that are behind. No CAF.
#pragma once

#include "actors/offered_batch.hpp"
#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "actors/topic_subscription.hpp"
#include "runtime/subscription/subscription_core.hpp"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace callboard::actors {

/// What a relay asks of the broker. Answers come as calls of the relay.
class relay_upstream {
public:
  virtual ~relay_upstream() = default;

  /// Answered by `on_page` with the same `read`. On error nothing follows.
  [[nodiscard]] virtual result<void> read(std::uint64_t read, const runtime::position& from) = 0;

  /// A batch of role `snapshot` follows, unless the topic goes first.
  virtual void ask_snapshot() = 0;
};

struct relay_limits {
  /// Recent batches kept for subscriptions that lag a little.
  std::uint32_t tail_batches_max = 256;
  std::uint64_t tail_bytes_max = 512U << 10;
  /// Reads of history under way at the same time; others wait for their turn.
  std::uint32_t reads_max = 4;
  /// How long the tail is kept when nobody lags.
  boot_time tail_age_max = std::chrono::seconds{5};
};

/// Counts of one I/O thread, gathered without locks and published by its hub.
struct relay_counts {
  std::uint64_t batches = 0;
  std::uint64_t offered = 0;
  std::uint64_t dropped_ephemeral = 0;
  std::uint64_t reads = 0;
  std::uint64_t reads_shared = 0;
  std::uint64_t tail_hits = 0;
};

/// Bounds: its tail by `relay_limits`, its reads by `reads_max`; subscriptions by the connections'
/// own limits.
class relay {
public:
  relay(topic_ref topic, const relay_limits& limits, relay_upstream& upstream, relay_counts& counts)
      : topic_{std::move(topic)}, limits_{limits}, upstream_{&upstream}, counts_{&counts} {}

  ~relay() { abandon(); }

  relay(const relay&) = delete;
  relay& operator=(const relay&) = delete;

  /// Its subscriptions get nothing more and may outlive it.
  void abandon();

  // From the topic.
  void on_attached(const relay_attached& attached);
  void on_deliver(runtime::event_batch_ptr batch, boot_time now);
  /// For subscriptions that began with news.
  void on_unheard(const unheard_since& unheard, boot_time now);
  void on_skipped(const relay_skipped& skipped);
  void on_gone();
  void on_page(std::uint64_t read, const result<event_page>& page);

  /// Retries reads that failed and lets the tail go that nobody needs.
  void on_tick(boot_time now);

  [[nodiscard]] const topic_ref& topic() const { return topic_; }

  [[nodiscard]] bool is_attached() const { return attached_; }

  [[nodiscard]] const runtime::topic_head& head() const { return head_; }

  [[nodiscard]] std::size_t subscription_count() const { return subscriptions_.size(); }

  /// Events that the subscription furthest behind has yet to be sent; walks all.
  [[nodiscard]] std::uint64_t slowest_lag() const;

  [[nodiscard]] std::uint64_t tail_bytes() const { return tail_bytes_; }

private:
  friend topic_subscription;

  // Calls of subscriptions.
  void add(topic_subscription& one);
  void remove(topic_subscription& one);
  /// The batch with this seq, if the tail or a recent page has it.
  [[nodiscard]] offered_batch_ptr find(sequence seq);
  /// All that lack a snapshot get the one that comes next.
  void want_snapshot();
  /// Reads history for `one`; `one.page` or `one.read_failed` follows.
  void read_for(topic_subscription& one);

  struct pending_read {
    std::uint64_t id = 0;
    /// Nothing: a search by time, shared with nobody.
    std::optional<sequence> from;
    std::vector<topic_subscription*> readers;
  };

  void keep(const offered_batch_ptr& batch);
  void forget_history();
  void start_read(pending_read read, const runtime::position& from);
  void start_waiting();
  void answer(const result<event_page>& page);
  void fail_read(const error& why);

  topic_ref topic_;
  relay_limits limits_;
  relay_upstream* upstream_;
  relay_counts* counts_;

  bool attached_ = false;
  bool has_streams_ = false;
  bool snapshot_is_asked_ = false;
  runtime::topic_head head_;

  bool existed_ = false;
  std::vector<topic_subscription*> subscriptions_;

  std::vector<offered_batch_ptr> tail_;
  std::uint64_t tail_bytes_ = 0;
  std::vector<offered_batch_ptr> pages_;

  std::vector<pending_read> reads_;
  /// The read whose readers are being answered.
  pending_read answering_;
  std::vector<topic_subscription*> waiting_;
  std::vector<topic_subscription*> retry_;
  std::uint64_t next_read_ = 1;
};

}  // namespace callboard::actors
