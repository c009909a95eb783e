#include "base/rfc3339.hpp"

#include <fmt/format.h>

#include <chrono>

namespace callboard {

std::string format_time(time_ms when) {
  const std::chrono::sys_days day{std::chrono::floor<std::chrono::days>(when)};
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{when - day};
  return fmt::format(
      "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
      static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()),
      static_cast<unsigned>(date.day()),
      clock.hours().count(),
      clock.minutes().count(),
      clock.seconds().count(),
      clock.subseconds().count());
}

}  // namespace callboard
