// How a socket gets its connection actor, and how HTTP hands it on to WebSocket or event stream.
#pragma once

#include "gateway/connection.hpp"
#include "gateway/principal.hpp"
#include "gateway/transport.hpp"

#include <caf/fwd.hpp>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::actors {
class router;
}  // namespace callboard::actors

namespace callboard::gateway {

/// Spawns the actor of a new connection on `thread` and gives it the session that `make` returns
/// for its port. Call on the I/O thread. `on_end` runs there when the actor has ended.
using session_factory = std::function<std::shared_ptr<session>(connection_port&)>;
void open_connection(
    caf::actor_system& system,
    actors::router& router,
    io_thread& thread,
    const session_factory& make,
    std::function<void()> on_end);

/// The WebSocket subprotocols that are spoken here.
inline constexpr std::array<std::string_view, 3> subprotocols{
    "callboard.v1.json", "callboard.v1.proto", "cloudevents.json"};

/// An HTTP request that wants to become a WebSocket or an event stream, already authenticated.
struct upgrade_request {
  tenant_name tenant;
  principal who;
  /// The raw bytes of the request head, for the WebSocket handshake, and what was read after it.
  std::string head;
  std::string leftover;
  /// Decoded query parameters.
  std::map<std::string, std::string> query;
  /// Lower-case header names.
  std::vector<std::pair<std::string, std::string>> headers;
  /// Why the client may not have this WebSocket. A browser sees no HTTP status of a failed upgrade,
  /// so whoever offers one of our subprotocols is upgraded, told, and closed.
  std::optional<error> refused;
};

/// Answers the handshake and becomes a WebSocket session of the negotiated subprotocol
/// (`callboard.v1.json` if none was asked for), or tells why not and closes (4401, 4403, 4429).
/// Bad handshakes are answered with problem+json.
void start_websocket(
    connection_port& port,
    const session_environment& environment,
    std::unique_ptr<transport> stream,
    upgrade_request request);

/// Answers 200 text/event-stream and becomes an event stream of `topic_or_pattern`; where to begin
/// comes from Last-Event-ID, `?cursor=` or `?from=`, in this order.
void start_event_stream(
    connection_port& port,
    const session_environment& environment,
    std::unique_ptr<transport> stream,
    upgrade_request request,
    const std::string& topic_or_pattern);

}  // namespace callboard::gateway
