// Who sent a request: its token, or nobody on a node without authentication.
#pragma once

#include "gateway/http_handlers.hpp"

namespace callboard::gateway {

/// The last token of a connection and what it said: a client sends the same one with each request,
/// and verifying a signature costs more than everything else about a small publish.
struct known_token {
  std::string token;
  std::shared_ptr<const principal> who;
};

/// True if one of the WebSocket subprotocols that are spoken here is among those offered.
[[nodiscard]] bool offers_subprotocol(const http_request& request);

/// Takes the token from `Authorization: Bearer`; for WebSockets and event streams also from the
/// subprotocol `bearer.<token>` and from `?access_token=`.
/// Errors: unauthorized; forbidden (the token is of another tenant, or needs admin).
[[nodiscard]] result<std::shared_ptr<const principal>> authenticate(
    const session_environment& environment,
    const exchange& now,
    const http_request& request,
    known_token& known);

}  // namespace callboard::gateway
