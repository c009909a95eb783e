// The names of task priorities, as clients and journals write them.
#pragma once

#include "runtime/queue/queue_task.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace callboard::runtime {

/// In the order of `task_priority`.
inline constexpr std::array<std::string_view, priority_count> priority_names{
    "control", "interactive", "normal", "bulk"};

[[nodiscard]] inline std::optional<task_priority> priority_named(std::string_view name) {
  const auto found = std::ranges::find(priority_names, name);
  if (found == priority_names.end()) return std::nullopt;
  return static_cast<task_priority>(found - priority_names.begin());
}

}  // namespace callboard::runtime
