// The RELAY actor: one topic's relay on one I/O thread, as an actor that the topic can send to.
#pragma once

#include "actors/io_actor.hpp"
#include "actors/relay.hpp"
#include "base/clock.hpp"

#include <caf/actor.hpp>

#include <functional>
#include <optional>

namespace callboard::actors {

class router;

/// What relays of one I/O thread share; outlives them.
struct relay_setup {
  router& broker;
  const clock& time;
  relay_limits limits;
  relay_counts& counts;
  /// Told of the next event after `let_go`, and of news of the topic, before it is offered.
  const std::function<void(const topic_active&)>& on_news;
  std::uint32_t credits = 0;
  std::uint32_t page_events_max = 0;
  std::uint64_t page_bytes_max = 0;
};

/// Spawned by the hub of its I/O thread, which ends it some time after its last subscription left.
/// Accepts boxed<relay_attached>, boxed<unheard_since>, boxed<topic_active>, boxed<deliver>,
/// boxed<relay_skipped>, boxed<relay_released>, boxed<topic_gone> from the topic (or its shard) and
/// boxed<control_reply> for its reads. Its inbox is bounded by the credits it grants.
class relay_actor final : public io_actor, private relay_upstream {
public:
  relay_actor(
      caf::actor_config& setup, boost::asio::io_context& loop, relay_setup shared, topic_ref topic);

  [[nodiscard]] relay& get() { return relay_; }

  /// Asks for events. On the loop.
  void attach_to_topic();

  /// Tells the topic and ends. On the loop.
  void leave_topic();

  /// A subscription goes that has had everything and relies on hearing of the next event.
  void let_go();

  /// For a relay without subscriptions: true if it has ended. One that was `let_go` first makes
  /// sure that the topic tells of its next event, which takes a while.
  [[nodiscard]] bool try_to_leave();

  /// The topic sends nothing any more: attach again before it is subscribed to.
  [[nodiscard]] bool is_released() const { return released_; }

  void on_tick(boot_time now);

  caf::behavior make_behavior() override;
  void on_exit() override;

  const char* name() const override { return "callboard.relay"; }

private:
  result<void> read(std::uint64_t read, const runtime::position& from) override;
  void ask_snapshot() override;
  void after_messages() override;
  void note_sender();
  /// `of`: nothing if there is only the next event.
  void tell_news(const std::optional<topic_active>& of = {});

  relay_setup shared_;
  relay relay_;
  /// Who sends us events: the topic's actor of the moment.
  caf::actor topic_;
  std::uint32_t owed_credits_ = 0;
  bool attach_again_ = false;
  /// Where those stand who have let go.
  std::optional<runtime::cursor> let_go_at_;
  bool released_ = false;
};

}  // namespace callboard::actors
