// Members of JSON objects that come from the node or from the demo's own programs.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::demo {

/// Empty if it is missing or no string.
[[nodiscard]] inline std::string text_of(const boost::json::object& of, std::string_view name) {
  const auto* found = of.if_contains(name);
  return found != nullptr && found->is_string() ? std::string{found->as_string()} : std::string{};
}

/// 0 if it is missing or no whole number.
[[nodiscard]] inline std::uint64_t number_of(const boost::json::object& of, std::string_view name) {
  const auto* found = of.if_contains(name);
  if (found == nullptr || !found->is_number()) return 0;
  boost::system::error_code inexact;
  const auto number = found->to_number<std::uint64_t>(inexact);
  return inexact ? 0 : number;
}

/// The empty object if it is missing or no object.
[[nodiscard]] inline const boost::json::object&
object_of(const boost::json::object& of, std::string_view name) {
  static const boost::json::object none;
  const auto* found = of.if_contains(name);
  return found != nullptr && found->is_object() ? found->as_object() : none;
}

}  // namespace callboard::demo
