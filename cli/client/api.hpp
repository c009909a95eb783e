// Calls of the HTTP interface, with tenant and token filled in and refusals turned into errors.
#pragma once

#include "cli/client/http.hpp"
#include "cli/client/websocket.hpp"

#include <string>
#include <string_view>

namespace callboard::client {

/// Whom to talk to, and as whom.
struct account {
  endpoint server;
  std::string tenant = "default";
  /// Empty: no Authorization header.
  std::string token;
};

/// One kept connection. Owned by one thread.
class api {
public:
  explicit api(account who) : who_{std::move(who)}, http_{who_.server} {}

  /// Sends `method` to an absolute target. A status below 400 is the answer's body; above it is
  /// the problem that the server describes. Errors: unreachable if there was no answer.
  [[nodiscard]] result<http_response> call(http_request request);

  [[nodiscard]] result<std::string>
  call(std::string_view method, std::string target, std::string json_body = {});

  /// `/v1/tenants/{tenant}` + `rest`.
  [[nodiscard]] std::string tenant_path(std::string_view rest) const;

  /// `/v1/tenants/{tenant}/topics/{topic}` + `rest`.
  [[nodiscard]] std::string topic_path(std::string_view topic, std::string_view rest = {}) const;

  /// Options of a WebSocket of this account.
  [[nodiscard]] websocket_options websocket_for(std::string subprotocol) const;

  [[nodiscard]] const account& who() const { return who_; }

  /// The HTTP status with which the last call was refused; 0 if it was not, or had no answer.
  [[nodiscard]] unsigned refusal() const { return refusal_; }

private:
  account who_;
  http_client http_;
  unsigned refusal_ = 0;
};

}  // namespace callboard::client
