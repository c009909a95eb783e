// Blocking HTTP/1.1 with keep-alive.
#pragma once

#include "cli/client/byte_stream.hpp"
#include "cli/client/response_reader.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::client {

struct http_request {
  std::string method = "GET";
  /// Path and query, already escaped.
  std::string target = "/";
  header_list headers;
  std::string body;
  std::chrono::milliseconds timeout{35'000};
};

struct http_response {
  unsigned status = 0;
  header_list headers;
  std::string body;

  /// Value of the first header with this lower-case name; empty if there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

/// One server, one connection that is kept open. Owned by one thread.
class http_client {
public:
  explicit http_client(endpoint server) : server_{std::move(server)} {}

  /// Any status is a success here. A kept connection that the server had closed meanwhile is
  /// replaced once, for methods that may be repeated (all but POST) or if nothing was sent.
  /// Errors: unreachable (also when no answer came in time), bad_request (not HTTP).
  [[nodiscard]] result<http_response> send(const http_request& request);

  [[nodiscard]] const endpoint& server() const { return server_; }

private:
  [[nodiscard]] result<http_response> exchange(const http_request& request, deadline until);

  endpoint server_;
  std::optional<byte_stream> stream_;
};

/// The head and body as they go over the wire.
[[nodiscard]] std::string serialize(const http_request& request, const endpoint& to);

/// Reads one response. `leftover`: what was read after it; also taken as what was read before.
/// Errors: unreachable, timeout, bad_request.
[[nodiscard]] result<http_response>
read_response(byte_stream& stream, response_reader& reader, std::string& leftover, deadline until);

/// What a response of status 400 or above says: its problem document, else its status.
[[nodiscard]] error problem_of(const http_response& response);

/// The same of an answer to what was to stay open. A server that fails to (5xx) may do so later, as
/// one that is unreachable: there is nothing that a client did wrong.
[[nodiscard]] error refusal_of(const http_response& response);

}  // namespace callboard::client
