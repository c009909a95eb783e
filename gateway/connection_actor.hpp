// The CONNECTION actor: one client on its I/O thread. It carries answers of the broker to whatever
// session owns the socket, and holds nothing that must survive.
#pragma once

#include "actors/io_actor.hpp"
#include "actors/relay_hub.hpp"
#include "gateway/sessions.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace callboard::gateway {

/// Spawned by `open_connection`; ends when its session closes or the hub stops. Its inbox holds
/// only answers to requests, which the session bounds.
class connection_actor final : public actors::io_actor,
                               public connection_port,
                               private actors::thread_member {
public:
  connection_actor(
      caf::actor_config& setup,
      actors::router& broker,
      io_thread& thread,
      session_factory make,
      std::function<void()> on_end);

  caf::behavior make_behavior() override;
  void on_exit() override;

  const char* name() const override { return "callboard.connection"; }

  result<void> publish(actors::publish_batch batch) override;
  result<void> control(actors::control_request request) override;

  correlation_id next_correlation() override { return last_ = last_.next(); }

  void become(std::shared_ptr<session> next) override;
  void close() override;

  io_thread& thread() override { return thread_; }

  // Also hides the numeric id of the base, which is not for clients.
  const std::string& id() const override { return id_; }

private:
  void on_tick(boot_time now) override;
  void on_drain(std::chrono::milliseconds spread) override;
  void on_stop() override;
  void forget_asked(std::uint64_t count);

  actors::router& broker_;
  io_thread& thread_;
  session_factory make_;
  std::function<void()> on_end_;
  std::shared_ptr<session> session_;
  std::string id_;
  correlation_id last_{};
  /// Control requests without an answer yet.
  std::uint64_t asked_ = 0;
  /// Nobody else holds a connection: it keeps itself until it ends.
  caf::strong_actor_ptr self_;
};

}  // namespace callboard::gateway
