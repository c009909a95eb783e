// The opening handshake of a WebSocket (RFC 6455 section 4.2): what was asked, what is answered.
#pragma once

#include "gateway/sessions.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::gateway {

/// In the order of `subprotocols`.
enum class ws_protocol_id : std::uint8_t { json, proto, cloudevents };

struct ws_handshake {
  /// The response head, to be sent as it is.
  std::string response;
  ws_protocol_id protocol = ws_protocol_id::json;
  bool deflate = false;
  /// Upgraded only to be told why not.
  std::optional<error> refused;
};

struct ws_refusal {
  unsigned status = 400;
  /// A whole HTTP response with a problem document; the connection closes after it.
  std::string response;
};

/// Checks the upgrade request and chooses subprotocol and extension. `bearer.<token>` entries are
/// not echoed. A client that offers only unknown subprotocols is answered without one, and speaks
/// callboard.v1.json or goes.
[[nodiscard]] std::expected<ws_handshake, ws_refusal>
answer_handshake(const upgrade_request& request, bool allow_deflate);

/// The value for Sec-WebSocket-Accept.
[[nodiscard]] std::string accept_key(std::string_view client_key);

}  // namespace callboard::gateway
