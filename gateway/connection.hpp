// A client connection: one CAF actor on its I/O thread that carries the answers of the broker to
// whatever session (HTTP, WebSocket, event stream) currently owns the socket. No CAF and no Beast
// here, so that both sides can include it.
#pragma once

#include "actors/requests.hpp"
#include "base/byte_budget.hpp"
#include "base/clock.hpp"
#include "base/config.hpp"
#include "base/metrics.hpp"

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace callboard::actors {
class relay_hub;
}  // namespace callboard::actors

namespace callboard::gateway {

class control_gate;
class token_verifier;
struct gateway_parts;

/// What a session is told. All calls come on the connection's I/O thread.
class session {
public:
  virtual ~session() = default;

  virtual void on_publish_replies(actors::publish_replies& replies) = 0;
  virtual void on_control_reply(actors::control_reply& reply) = 0;

  /// The node drains: say goodbye within `spread` (each connection at its own random moment),
  /// finish requests in flight, then close.
  virtual void on_drain(std::chrono::milliseconds spread) = 0;

  /// About four times a second, for all timeouts and heartbeats.
  virtual void on_tick(boot_time now) = 0;

  /// The actor ends (node stops): close the socket now.
  virtual void on_stop() = 0;
};

/// One I/O thread and what lives on it. Everything is used on that thread only.
struct io_thread {
  boost::asio::io_context& context;
  actors::relay_hub& hub;
  /// Null: no bound.
  control_gate* gate = nullptr;
};

/// What a session may do; implemented by the connection actor. I/O thread only.
class connection_port {
public:
  virtual ~connection_port() = default;

  /// Hands a batch to the broker. On error nothing was sent and no reply follows.
  [[nodiscard]] virtual result<void> publish(actors::publish_batch batch) = 0;

  [[nodiscard]] virtual result<void> control(actors::control_request request) = 0;

  [[nodiscard]] virtual correlation_id next_correlation() = 0;

  /// Another session takes the socket over (HTTP upgrade). The old one is destroyed after this
  /// call returns to the event loop.
  virtual void become(std::shared_ptr<session> next) = 0;

  /// Ends the actor; the session is destroyed once its pending operations have come back.
  virtual void close() = 0;

  [[nodiscard]] virtual io_thread& thread() = 0;

  /// Unique on this node since it was made, for logs and welcome frames.
  [[nodiscard]] virtual const std::string& id() const = 0;
};

/// What all sessions of the node share; outlives them.
struct session_environment {
  const config& settings;
  const clock& time;
  metrics& counters;
  byte_budget& payload_budget;
  /// Null when authentication is off.
  const token_verifier* verifier = nullptr;
  const std::string& node_id;
};

}  // namespace callboard::gateway
