// How long a wish to be asked again later is honoured: the same for tasks and for commands of runs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace callboard::runtime {

inline constexpr std::chrono::milliseconds retry_after_max = std::chrono::hours{24 * 7};

/// At least what was asked for, as far as `retry_after_max` goes, and up to an eighth more: those
/// who were told the same moment do not all come back at it.
[[nodiscard]] inline std::chrono::milliseconds
honoured_retry_after(std::uint64_t asked_ms, std::uint64_t random) {
  const auto ms = std::min(asked_ms, static_cast<std::uint64_t>(retry_after_max.count()));
  return std::chrono::milliseconds{ms + random % (ms / 8 + 1)};
}

}  // namespace callboard::runtime
