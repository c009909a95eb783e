// Monotonic time for measuring: nanoseconds, comparable within this process.
#pragma once

#include <cstdint>
#include <ctime>

namespace callboard::bench {

[[nodiscard]] inline std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

inline constexpr std::int64_t ns_per_s = 1'000'000'000;

}  // namespace callboard::bench
