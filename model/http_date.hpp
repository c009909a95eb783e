// Dates of HTTP headers (RFC 9110 section 5.6.7).
#pragma once

#include "base/ids.hpp"

#include <optional>
#include <string_view>

namespace callboard::model {

/// All three forms: `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and
/// `Sun Nov  6 08:49:37 1994`. Nothing for anything else.
[[nodiscard]] std::optional<time_ms> parse_http_date(std::string_view text);

}  // namespace callboard::model
