// Reading and showing the JSON that histories, rows and answers are made of.
#pragma once

#include "base/ids.hpp"

#include <boost/json/parse.hpp>

#include <callboard/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// Empty if the member is not there, or is no text.
[[nodiscard]] inline std::string text_at(const boost::json::object& from, std::string_view key) {
  const auto* value = from.if_contains(key);
  return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

/// Null if `text` is no JSON.
[[nodiscard]] inline json parsed_or_null(std::string_view text) {
  boost::system::error_code failed;
  auto value = boost::json::parse(text, failed);
  return failed ? json{} : value;
}

/// As times are shown: milliseconds since 1970.
[[nodiscard]] inline std::int64_t shown_ms(time_ms when) {
  return when.time_since_epoch().count();
}

}  // namespace callboard::runtime
