// Finds the shard of a topic and hands requests over. A single node has all shards here.
#pragma once

#include "actors/boxed.hpp"
#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "base/clock.hpp"

#include <caf/actor.hpp>

#include <cstdint>

namespace callboard::actors {

/// Admission and routing. Any thread; never blocks. Answers come to `reply_to` as
/// `boxed<publish_replies>` and `boxed<control_reply>`; work that is refused here is not answered
/// a second time. `cluster` will implement it for many nodes.
class router {
public:
  virtual ~router() = default;

  /// Errors: overloaded (shard or lane full, with a retry hint), draining, quarantined.
  [[nodiscard]] virtual result<void> publish(publish_batch batch, const caf::actor& reply_to) = 0;

  /// Errors: overloaded, draining, quarantined.
  [[nodiscard]] virtual result<void>
  control(control_request request, const caf::actor& reply_to) = 0;

  /// Hands a relay's message to the shard of its topic.
  virtual void attach(attach_relay message, const caf::actor& relay) = 0;
  virtual void detach(detach_relay message, const caf::actor& relay) = 0;

  /// Tells every shard that `hub` wants to hear of matching topics.
  virtual void watch(const watch_pattern& message, const caf::actor& hub) = 0;
  virtual void unwatch(const unwatch_pattern& message, const caf::actor& hub) = 0;

  /// Events that are yet to come are not older than this, whatever the machine's clock says. Any
  /// thread.
  [[nodiscard]] virtual time_ms event_time() const = 0;
};

}  // namespace callboard::actors
