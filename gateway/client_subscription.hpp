// One subscription of a WebSocket client: turns what relays offer into frames of its connection.
#pragma once

#include "actors/relay_hub.hpp"
#include "gateway/client_op.hpp"
#include "gateway/output_queue.hpp"
#include "gateway/thread_state.hpp"
#include "gateway/ws_protocol.hpp"

#include <memory>

namespace callboard::gateway {

/// A borrowed callable that appends an answer; costs no allocation.
class answer_call {
public:
  template <class Write>
  answer_call(const Write& write)  // NOLINT(google-explicit-constructor): that is its purpose
      : target_{&write}, call_{[](const void* target, std::string& out) {
          (*static_cast<const Write*>(target))(out);
        }} {}

  void operator()(std::string& out) const { call_(target_, out); }

private:
  const void* target_;
  void (*call_)(const void*, std::string&);
};

/// What a subscription needs of its connection.
class subscription_owner {
public:
  virtual ~subscription_owner() = default;

  [[nodiscard]] virtual output_queue& output() = 0;
  [[nodiscard]] virtual const ws_protocol& protocol() const = 0;
  [[nodiscard]] virtual thread_state& state() = 0;

  /// Queues an answer in order with everything else.
  virtual void answer(answer_call write) = 0;

  /// Puts answers that wait to be joined before what is queued next.
  virtual void before_events() = 0;

  /// The output was full: `resume` wanted once it has drained.
  virtual void output_was_full() = 0;

  /// An event of this time was queued; for the latency histogram.
  virtual void queued(time_ms event_time) = 0;

  /// The subscription cannot go on; it may be destroyed, but not at once.
  virtual void subscription_ended(std::uint64_t sub) = 0;

  /// The client is too slow for what it asked for.
  virtual void disconnect_slow() = 0;
};

/// Destroyed only outside of calls to it. Owned by the session.
class client_subscription final : public actors::pattern_output {
public:
  client_subscription(subscription_owner& owner, std::uint64_t sub, op_id asked, std::string wanted)
      : owner_{&owner}, sub_{sub}, asked_{std::move(asked)}, wanted_{std::move(wanted)} {}

  ~client_subscription() override;

  /// Begins; the answer to `asked` follows, sooner or later.
  void begin(
      actors::relay_hub& hub,
      const topic_ref& topic,
      runtime::slow_policy policy,
      std::optional<std::uint64_t> credits,
      runtime::position from);

  /// Errors as `relay_hub::subscribe_pattern`.
  [[nodiscard]] result<void> begin_pattern(
      actors::relay_hub& hub,
      const tenant_name& tenant,
      const topic_pattern& pattern,
      runtime::slow_policy policy,
      std::optional<std::uint64_t> credits,
      actors::pattern_start start);

  void resume();

  void add_credits(std::uint64_t count) {
    credits_.add(count);
    resume();
  }

  [[nodiscard]] std::uint64_t sub() const { return sub_; }

  [[nodiscard]] const op_id& asked() const { return asked_; }

  /// The topic or pattern.
  [[nodiscard]] const std::string& wanted() const { return wanted_; }

  [[nodiscard]] bool is_answered() const { return answered_; }

  /// When the client asked, for the timeout of the answer.
  boot_time asked_at{};

private:
  void started(
      actors::topic_subscription& which,
      const runtime::start_outcome& outcome,
      const runtime::topic_head& head) override;
  std::uint32_t write(
      actors::topic_subscription& which,
      actors::offered_batch& batch,
      runtime::portion planned,
      actors::delivery_mode mode) override;
  void
  lagging(actors::topic_subscription& which, std::uint64_t behind, std::uint64_t dropped) override;
  void caught_up(actors::topic_subscription& which) override;
  void
  gap(actors::topic_subscription& which,
      runtime::loss reason,
      std::optional<runtime::seq_gap> gone,
      const runtime::topic_head& head) override;
  void failed(actors::topic_subscription& which, const error& why) override;
  void disconnect(actors::topic_subscription& which) override;
  void
  pattern_started(const std::map<std::string, runtime::cursor>& cursors, bool complete) override;
  void pattern_settled() override;
  void pattern_failed(const error& why) override;
  void topic_left_out(const std::string& topic, const error& why) override;

  subscription_owner* owner_;
  std::uint64_t sub_;
  op_id asked_;
  std::string wanted_;
  runtime::credit_account credits_;
  std::unique_ptr<actors::topic_subscription> single_;
  std::unique_ptr<actors::pattern_subscription> pattern_;
  bool answered_ = false;
  std::uint32_t lagging_topics_ = 0;
  /// Of a pattern: the time of the newest event that was sent, and what it was at the last mark.
  time_ms newest_{};
  time_ms marked_{};
};

}  // namespace callboard::gateway
