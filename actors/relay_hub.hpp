// What lives beside the sockets of one I/O thread: the relays of its subscribers, the patterns they
// watch, the connections' clock tick, and one flush for all that was written in a turn. No CAF
// here.
#pragma once

#include "actors/pattern_subscription.hpp"
#include "actors/topic_subscription.hpp"
#include "base/clock.hpp"
#include "base/config.hpp"
#include "base/metrics.hpp"

#include <boost/asio/io_context.hpp>
#include <caf/fwd.hpp>

#include <chrono>
#include <cstddef>
#include <memory>

namespace callboard::actors {

class router;

/// All outlive the hub.
struct relay_hub_parts {
  caf::actor_system& system;
  router& broker;
  /// Run by exactly one thread.
  boost::asio::io_context& loop;
  const config& settings;
  const clock& time;
  metrics& counters;
  /// Which of the I/O threads, from 0.
  std::uint32_t thread = 0;
};

/// A connection as its I/O thread sees it.
class thread_member {
public:
  virtual ~thread_member() = default;

  virtual void on_tick(boot_time now) = 0;
  virtual void on_drain(std::chrono::milliseconds spread) = 0;
  /// Must end and leave the hub now.
  virtual void on_stop() = 0;

private:
  friend class relay_hub;
  /// Its place in the hub's list.
  std::size_t place_ = 0;
};

/// Something that gathers writes and sends them together at the end of a turn of the event loop.
class flushable {
public:
  virtual ~flushable() = default;

  virtual void flush() = 0;

private:
  friend class relay_hub;
  bool requested_ = false;
};

/// Owned by the gateway, one per I/O thread. After `start`, everything happens on that thread, but
/// for `member_count`. `stop` must have run on the thread before this is destroyed and before the
/// actor system is.
class relay_hub {
public:
  explicit relay_hub(relay_hub_parts parts);
  ~relay_hub();

  relay_hub(const relay_hub&) = delete;
  relay_hub& operator=(const relay_hub&) = delete;

  /// Begins to tick about four times a second. Tests call `tick` instead.
  void start();
  void tick(boot_time now);

  /// Hands `on_drain` to all members: each says goodbye at its own moment within `spread`.
  void drain(std::chrono::milliseconds spread);

  /// Ends all members, relays and watches. Idempotent.
  void stop();

  /// `output` and `credits` outlive the subscription. Call its `open` next.
  [[nodiscard]] std::unique_ptr<topic_subscription> subscribe(
      const topic_ref& topic,
      subscription_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      runtime::position from);

  /// Begins at once; `pattern_started` or `pattern_failed` follows later.
  /// Errors: overloaded or draining when the topics cannot be listed now.
  [[nodiscard]] result<std::unique_ptr<pattern_subscription>> subscribe_pattern(
      const tenant_name& tenant,
      const topic_pattern& pattern,
      pattern_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      pattern_start start);

  void join(thread_member& member);
  /// Says to a member that can hear it now that the hub drains or has stopped, if that came first.
  void catch_up(thread_member& member) const;
  void leave(thread_member& member);

  /// Connections on this thread. Any thread.
  [[nodiscard]] std::size_t member_count() const;

  /// `flush` is called once, after everything that is ready on the thread now has been handled.
  void request_flush(flushable& one);
  void cancel_flush(flushable& one);

  [[nodiscard]] std::size_t relay_count() const;

  [[nodiscard]] boost::asio::io_context& loop();

  [[nodiscard]] boot_time now() const;

  /// Of the broker: events that are yet to come are not older.
  [[nodiscard]] time_ms event_time() const;

  /// A place for what the gateway keeps per I/O thread.
  [[nodiscard]] std::shared_ptr<void>& companion();

private:
  class parts;
  void schedule_tick();

  std::unique_ptr<parts> parts_;
};

}  // namespace callboard::actors
