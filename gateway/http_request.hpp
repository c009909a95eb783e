// One HTTP request as plain values: what the reader makes and the handlers take.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::gateway {

struct http_request {
  std::string method;
  std::string target;
  /// 10 or 11.
  unsigned version = 11;
  /// Names in lower case, in the order they came.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  /// The raw head, kept only when the request asks for an upgrade.
  std::string head;
  bool keep_alive = true;
  bool chunked = false;
  std::optional<std::uint64_t> content_length;

  /// The first header of this (lower-case) name, or null.
  [[nodiscard]] const std::string* find(std::string_view name) const {
    const auto at = std::ranges::find(headers, name, &std::pair<std::string, std::string>::first);
    return at == headers.end() ? nullptr : &at->second;
  }

  [[nodiscard]] bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

}  // namespace callboard::gateway
