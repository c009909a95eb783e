// One HTTP answer, and its bytes.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::gateway {

struct http_response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// What an answer takes over from its request and connection.
struct response_frame {
  std::string_view request_id;
  /// Raw header lines for the browser, each with CRLF; may be empty.
  std::string_view cors;
  bool keep_alive = true;
  /// HTTP/1.0 must be told when the connection stays.
  bool old_version = false;
  time_ms now{};
};

/// A problem document with its headers (Retry-After, WWW-Authenticate). `status` 0: the one that
/// stands for the code.
[[nodiscard]] http_response problem_response(const error& problem, unsigned status = 0);

[[nodiscard]] http_response json_response(unsigned status, std::string body);

/// Appends status line and headers; the body follows as it is (never after 204 or HEAD).
void append_response_head(
    std::string& out, const http_response& response, const response_frame& frame);

}  // namespace callboard::gateway
