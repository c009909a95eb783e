// The router of a single node: all shards are here.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/router.hpp"
#include "actors/run_census.hpp"
#include "actors/run_memory.hpp"
#include "actors/stuck_runs.hpp"
#include "actors/topic_actor.hpp"
#include "base/byte_budget.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include <atomic>
#include <memory>
#include <vector>

namespace callboard::actors {

/// Lifecycle: made with all shards spawned, `drain`, `stop`. Admission is a bound per shard,
/// counted in events; what is beyond it is refused at once. Any thread. Jobs of the pools read what
/// it has: they are stopped between its `stop` and its end.
class local_router final : public router {
public:
  /// Sets `parts.router` to itself. Both arguments outlive it.
  local_router(caf::actor_system& system, broker_parts& parts);
  ~local_router() override;

  local_router(const local_router&) = delete;
  local_router& operator=(const local_router&) = delete;

  [[nodiscard]] result<void> publish(publish_batch batch, const caf::actor& reply_to) override;
  [[nodiscard]] result<void> control(control_request request, const caf::actor& reply_to) override;
  void attach(attach_relay message, const caf::actor& relay) override;
  void detach(detach_relay message, const caf::actor& relay) override;
  void watch(const watch_pattern& message, const caf::actor& hub) override;
  void unwatch(const unwatch_pattern& message, const caf::actor& hub) override;
  [[nodiscard]] time_ms event_time() const override;

  /// New publishes and changes are refused with `draining`; what is in flight goes on.
  void drain();

  /// Tells all shards to refuse what is new, answer what they were given and end.
  void begin_stop();

  /// `begin_stop`, and waits until all have ended; what has not after a few seconds is ended by
  /// force, and what that leaves behind may use the router until the actor system has no actor
  /// left. Idempotent.
  void stop();

private:
  [[nodiscard]] std::size_t index_of(const topic_ref& topic) const;
  /// Reads what is copied, and has its channel's shard begin with it.
  [[nodiscard]] result<void> rerun(control_request request, const caf::actor& reply_to);
  [[nodiscard]] result<void> read(control_request request, const caf::actor& reply_to);
  void add_gauges();

  caf::actor_system& system_;
  broker_parts& parts_;
  topic_metrics counters_;
  stuck_runs stuck_;
  run_census census_;
  run_memory runs_;
  byte_budget bulk_events_;
  std::vector<std::unique_ptr<shard_admission>> admission_;
  std::vector<caf::actor> shards_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> stopped_{false};
};

}  // namespace callboard::actors
