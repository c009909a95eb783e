// Sums of times and of waits whose length others choose: none overflows, so that nothing which is
// to last for ever is over at once.
#pragma once

#include "base/ids.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace callboard {

/// The last that RFC 3339 can tell: the end of the year 9999.
inline constexpr time_ms latest_time{std::chrono::milliseconds{253'402'300'799'999}};

/// Some time after `from`, where code or a request says how long: nothing is too long for it.
/// What would be beyond 1970 or `latest_time` is there.
[[nodiscard]] constexpr time_ms later(time_ms from, std::chrono::milliseconds by) {
  return from + std::clamp(by, time_ms{} - from, latest_time - from);
}

/// The same on the boot clock, where the end is that of its counter. Not before `from`.
[[nodiscard]] constexpr boot_time later(boot_time from, std::chrono::milliseconds by) {
  const auto most = std::chrono::floor<std::chrono::milliseconds>(boot_time::max() - from);
  return by > most ? boot_time::max() : from + std::max(by, std::chrono::milliseconds{0});
}

/// So many seconds before `from`, or 1970.
[[nodiscard]] constexpr time_ms seconds_before(time_ms from, std::uint64_t seconds) {
  const auto most = std::chrono::floor<std::chrono::seconds>(from).time_since_epoch().count();
  if (seconds > static_cast<std::uint64_t>(std::max<std::int64_t>(most, 0))) return {};
  return from - std::chrono::seconds{seconds};
}

}  // namespace callboard
