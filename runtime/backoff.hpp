// How long what failed waits for its next attempt: the same for tasks and for deliveries of groups.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace callboard::runtime {

/// `least_ms` before attempt 1 (or 0), doubling with each one, and up to half more; never less than
/// `least_ms` nor more than `most_ms`. Who has come to `most_ms` waits up to a quarter less, so
/// that those who failed together do not stay in step there.
[[nodiscard]] inline std::chrono::milliseconds backoff_of(
    std::uint32_t attempt, std::uint64_t least_ms, std::uint64_t most_ms, std::uint64_t random) {
  most_ms = std::max(most_ms, least_ms);
  const auto doublings = std::min(attempt > 0 ? attempt - 1 : 0, 31U);
  const auto base_ms = std::min(least_ms << doublings, most_ms);
  const auto from_ms = std::max(least_ms, std::min(base_ms, most_ms - most_ms / 4));
  const auto to_ms = std::min(base_ms + base_ms / 2, most_ms);
  return std::chrono::milliseconds{from_ms + random % (to_ms - from_ms + 1)};
}

}  // namespace callboard::runtime
