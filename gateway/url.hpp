// The target of an HTTP request: path segments and query parameters, decoded once.
#pragma once

#include "base/error.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::gateway {

inline constexpr std::size_t path_segments_max = 16;
inline constexpr std::size_t query_parameters_max = 32;

struct request_target {
  /// Without empty ends: "/v1/tenants/" has "v1", "tenants".
  std::vector<std::string> path;
  /// Of a parameter that is given twice, the first counts.
  std::map<std::string, std::string> query;

  /// The value of a parameter, or null.
  [[nodiscard]] const std::string* find(const std::string& name) const {
    const auto at = query.find(name);
    return at == query.end() ? nullptr : &at->second;
  }
};

/// Parses origin-form ("/path?query") and absolute-form ("http://host/path"). Each segment is
/// percent-decoded by itself, so "%2F" never becomes a separator; "." and ".." are refused, not
/// resolved. Errors: bad_request.
[[nodiscard]] result<request_target> parse_target(std::string_view target);

}  // namespace callboard::gateway
