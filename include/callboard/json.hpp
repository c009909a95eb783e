// JSON as workflow code sees it, and conversion between it and C++ values.
#pragma once

#include "callboard/json_shape.hpp"

#include <boost/json/value.hpp>
#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>

#include <exception>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace callboard {

/// Every input, result, signal and event of a workflow is one of these. A C++ type takes part by
/// Boost.JSON's conversions (described structs, or `tag_invoke`).
using json = boost::json::value;

/// Stands for "no value" where a type is needed.
struct nothing {
  friend bool operator==(nothing, nothing) = default;
};

template <class T>
[[nodiscard]] json to_json(T&& value) {
  using plain = std::remove_cvref_t<T>;
  if constexpr (std::is_same_v<plain, json>) {
    return std::forward<T>(value);
  } else if constexpr (std::is_same_v<plain, nothing>) {
    return nullptr;
  } else {
    return boost::json::value_from(std::forward<T>(value));
  }
}

/// A JSON value does not have the shape of the C++ type that was asked for.
class wrong_shape : public std::invalid_argument {
public:
  using std::invalid_argument::invalid_argument;
};

/// Throws wrong_shape, whose words name the member, if the value has another shape: in workflow
/// code that is a bug.
template <class T>
[[nodiscard]] T from_json(const json& value) {
  if constexpr (std::is_same_v<T, json>) {
    return value;
  } else if constexpr (std::is_same_v<T, nothing>) {
    return {};
  } else {
    try {
      return boost::json::value_to<T>(value);
    } catch (const std::exception&) {
      throw wrong_shape{
          "the JSON value has another shape than expected: " + detail::flaw_in_shape<T>(value, {})};
    }
  }
}

}  // namespace callboard
