// JSON that is nested as deep as a test wants it.
#pragma once

#include <callboard/json.hpp>
#include <cstddef>
#include <string>

namespace callboard::testing {

/// `levels` arrays around `core`.
[[nodiscard]] inline std::string deep_text(std::size_t levels, const std::string& core = "") {
  return std::string(levels, '[') + core + std::string(levels, ']');
}

/// The same as a value; `core` counts as none of the levels.
[[nodiscard]] inline json deep_value(std::size_t levels, json core = {}) {
  for (; levels > 0; --levels) {
    boost::json::array outer;
    outer.push_back(std::move(core));
    core = std::move(outer);
  }
  return core;
}

}  // namespace callboard::testing
