// The RELAY actor: one topic's relay on one I/O thread, as an actor that the topic can send to.
#pragma once

#include "actors/io_actor.hpp"
#include "actors/relay.hpp"
#include "base/clock.hpp"

#include <caf/actor.hpp>

namespace callboard::actors {

class router;

/// What relays of one I/O thread share; outlives them.
struct relay_setup {
  router& broker;
  const clock& time;
  relay_limits limits;
  relay_counts& counts;
  std::uint32_t credits = 0;
  std::uint32_t page_events_max = 0;
  std::uint64_t page_bytes_max = 0;
};

/// Spawned by the hub of its I/O thread, which ends it some time after its last subscription left.
/// Accepts boxed<relay_attached>, boxed<deliver>, boxed<relay_skipped>, boxed<topic_gone> from the
/// topic (or its shard) and boxed<control_reply> for its reads. Its inbox is bounded by the credits
/// it grants.
class relay_actor final : public io_actor, private relay_upstream {
public:
  relay_actor(
      caf::actor_config& setup, boost::asio::io_context& loop, relay_setup shared, topic_ref topic);

  [[nodiscard]] relay& get() { return relay_; }

  /// Asks for events. Call once, on the loop.
  void attach_to_topic();

  /// Tells the topic and ends. On the loop.
  void leave_topic();

  void on_tick(boot_time now);

  caf::behavior make_behavior() override;
  void on_exit() override;

  const char* name() const override { return "callboard.relay"; }

private:
  result<void> read(std::uint64_t read, const runtime::position& from) override;
  void ask_snapshot() override;
  void after_messages() override;
  void note_sender();

  relay_setup shared_;
  relay relay_;
  /// Who sends us events: the topic's actor of the moment.
  caf::actor topic_;
  std::uint32_t owed_credits_ = 0;
  bool attach_again_ = false;
};

}  // namespace callboard::actors
