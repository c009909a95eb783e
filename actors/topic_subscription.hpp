// One subscription in one topic: moves events from the topic's relay to an output, at the output's
// pace. No CAF; I/O thread only.
#pragma once

#include "actors/offered_batch.hpp"
#include "actors/requests.hpp"
#include "runtime/subscription/subscription_core.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace callboard::actors {

class relay;
class topic_subscription;

/// Ephemeral events of one subscription that may wait for room before the oldest go.
inline constexpr std::uint32_t waiting_events_max = 256;

/// How events are told to the client.
enum class delivery_mode : std::uint8_t { live, catching_up };

/// Of the news of its topic that a subscription begins with.
enum class news_age : std::uint8_t {
  /// They came just now: nothing since them is lost.
  fresh,
  /// It had to wait: what was ephemeral meanwhile may be gone.
  old,
};

/// Where a subscription's events go; implemented by the gateway. Calls may come from within calls
/// to the subscription. It must not make or destroy subscriptions inside a call.
class subscription_output {
public:
  virtual ~subscription_output() = default;

  /// The relay is attached and the position is settled; events may follow at once.
  virtual void started(
      topic_subscription& which,
      const runtime::start_outcome& outcome,
      const runtime::topic_head& head) = 0;

  /// Takes events `planned.skip`.. of `batch`, as many of `planned.count` as there is room for,
  /// and says how many that was.
  virtual std::uint32_t write(
      topic_subscription& which,
      offered_batch& batch,
      runtime::portion planned,
      delivery_mode mode) = 0;

  /// `behind` durable events wait in the journal; `dropped` ephemeral ones are gone for good.
  virtual void lagging(topic_subscription& which, std::uint64_t behind, std::uint64_t dropped) = 0;
  virtual void caught_up(topic_subscription& which) = 0;

  /// Durable events are gone: trimmed, or the topic was deleted and made again.
  virtual void
  gap(topic_subscription& which,
      runtime::loss reason,
      std::optional<runtime::seq_gap> gone,
      const runtime::topic_head& head) = 0;

  /// History cannot be read for good (a quarantined shard). The subscription does nothing more.
  virtual void failed(topic_subscription& which, const error& why) = 0;

  /// The policy says that the connection must end. The subscription does nothing more.
  virtual void disconnect(topic_subscription& which) = 0;
};

/// Made by a hub, ends when destroyed. Bounds: ephemeral events that wait for room, by
/// `waiting_events_max`; nothing else is kept. `output` and `credits` outlive it.
class topic_subscription {
public:
  topic_subscription(
      relay& source,
      subscription_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      runtime::position from);
  ~topic_subscription();

  topic_subscription(const topic_subscription&) = delete;
  topic_subscription& operator=(const topic_subscription&) = delete;

  /// It begins with news of the topic, which have this number or none. If they are fresh, it also
  /// gets what was ephemeral since them before its relay was there. Call before `open`.
  void expect_unheard(news_age age, std::uint64_t number = 0) {
    news_ = age;
    news_number_ = number;
  }

  /// Begins: `started` follows, at once if the relay is attached. Call once, from outside of calls
  /// to outputs.
  void open();

  /// The output has room again, or the client gave credit.
  void resume();

  /// True if `resume` could do something.
  [[nodiscard]] bool waits() const {
    return started_ && (core_.is_behind() || !waiting_.empty() || dropped_ != 0);
  }

  [[nodiscard]] const topic_ref& topic() const { return topic_; }

  [[nodiscard]] const runtime::subscription_core& core() const { return core_; }

  [[nodiscard]] bool has_started() const { return started_; }

  /// Where it is: everything before was sent or told as gone. Only while there is a relay.
  [[nodiscard]] runtime::cursor place() const;

  /// Everything there is was sent.
  [[nodiscard]] bool is_at_rest() const;

  /// It failed, or ends the connection.
  [[nodiscard]] bool is_over() const { return over_; }

  /// Whether it gets what came behind the news of this number before its relay was there.
  [[nodiscard]] bool expects_unheard(std::uint64_t news) const {
    return news_ == news_age::fresh && news_number_ <= news;
  }

  /// Batches that came while it was there, ephemeral ones too.
  [[nodiscard]] std::uint64_t offered() const { return offered_; }

  /// The topic was deleted, or never was, and its relay is told when it is made.
  [[nodiscard]] bool topic_is_gone() const;

private:
  friend relay;

  // Calls of the relay.
  void begin(const runtime::topic_head& head);
  void restart(const runtime::topic_head& head, bool existed_before);
  void topic_gone(const runtime::topic_head& head);
  void abandon();
  void offer(const offered_batch_ptr& batch);
  void skipped(sequence last, std::uint64_t dropped);
  void page(const offered_batch_ptr& page, sequence first_seq, sequence next_from);
  void read_failed(const error& why);

  void offer_ephemeral(const offered_batch_ptr& batch);
  void flush_ephemeral();
  void drop_waiting();
  /// Frames of streams are worth nothing any more until a snapshot comes.
  void lose_streams();
  void want_snapshot();
  [[nodiscard]] std::uint64_t waiting_count() const;
  void tell(const runtime::advice& what);
  /// Sends what it can of a batch of history.
  void feed(offered_batch& batch);
  void deliver(offered_batch& batch, runtime::portion planned, delivery_mode mode);

  /// Ephemeral events that wait for room, oldest first.
  struct waiting_batch {
    offered_batch_ptr batch;
    std::uint32_t sent = 0;
  };

  relay* source_;
  topic_ref topic_;
  subscription_output* output_;
  runtime::subscription_core core_;
  runtime::position from_;
  std::vector<waiting_batch> waiting_;
  std::uint64_t dropped_ = 0;
  std::uint64_t offered_ = 0;
  bool started_ = false;
  std::optional<news_age> news_;
  std::uint64_t news_number_ = 0;
  /// Until it has first caught up, ephemeral events wait: they came live, behind the news.
  bool holds_ephemeral_ = false;
  /// What streams of the topic told before is not known to the client.
  bool lacks_snapshot_ = true;
  /// A read is under way or waits for its turn.
  bool reading_ = false;
  /// The output was full; nothing is tried until `resume`.
  bool stalled_ = false;
  bool pumping_ = false;
  bool over_ = false;
};

}  // namespace callboard::actors
