// The door for clients: one listener, I/O threads, and a session per connection.
#pragma once

#include "base/byte_budget.hpp"
#include "base/clock.hpp"
#include "base/config.hpp"
#include "base/error.hpp"
#include "base/metrics.hpp"

#include <caf/fwd.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace callboard::actors {
class router;
}  // namespace callboard::actors

namespace callboard::gateway {

/// What the gateway is built on; all outlive it.
struct gateway_parts {
  const config& settings;
  caf::actor_system& system;
  actors::router& router;
  const clock& time;
  metrics& counters;
  byte_budget& payload_budget;
  /// For `/readyz`: nothing when the node can serve, else why not.
  std::function<std::optional<error>()> readiness;
  /// For `/v1/cluster` and `doctor`: a JSON object.
  std::function<std::string()> node_status;
  /// For `/v1/admin/backup`: copies to a folder on the node. Returns at once; `done` is called on
  /// another thread (post back to the I/O thread) with a JSON object.
  std::function<void(std::string target, std::function<void(result<std::string>)> done)> backup;
};

/// Lifecycle: `start` listens and serves; `drain` stops accepting, tells clients to go and waits
/// for work in flight; `stop` ends everything. Owned by `node`.
class gateway {
public:
  virtual ~gateway() = default;

  /// Errors: io_error (address in use, bad certificate), invalid_setting.
  [[nodiscard]] static result<std::unique_ptr<gateway>> start(gateway_parts parts);

  /// The port that was bound.
  [[nodiscard]] virtual std::uint16_t port() const = 0;

  /// `/readyz` turns false, no new connections, `goaway` to WebSockets with spread hints, event
  /// streams end with a retry hint, requests in flight are answered. Returns when all is done or
  /// `timeout` has passed.
  virtual void drain(std::chrono::milliseconds timeout) = 0;

  virtual void stop() = 0;
};

}  // namespace callboard::gateway
