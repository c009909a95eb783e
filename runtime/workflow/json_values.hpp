// Reading and showing the JSON that histories, rows and answers are made of.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <callboard/json.hpp>
#include <callboard/json_text.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// Empty if the member is not there, or is no text.
[[nodiscard]] inline std::string text_at(const boost::json::object& from, std::string_view key) {
  const auto* value = from.if_contains(key);
  return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

/// The value of a text that is to be recorded; nothing is null. `what`: begins the words of an
/// error. Errors: invalid_json.
[[nodiscard]] inline result<json> value_of(std::string_view what, std::string_view text) {
  if (text.empty()) return json{};
  auto value = accept_json(text);
  if (value) return *std::move(value);
  return fail(errc::invalid_json, std::string{what} + ' ' + value.error());
}

/// As times are shown: milliseconds since 1970.
[[nodiscard]] inline std::int64_t shown_ms(time_ms when) {
  return when.time_since_epoch().count();
}

}  // namespace callboard::runtime
