#include "base/rfc3339.hpp"

#include <chrono>
#include <cstddef>

namespace callboard {

namespace {

void put(std::string& into, std::size_t at, std::size_t digits, unsigned number) {
  while (digits-- != 0) {
    into[at + digits] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
}

}  // namespace

/// By hand, since every event of a run carries one.
std::string format_time(time_ms when) {
  const std::chrono::sys_days day{std::chrono::floor<std::chrono::days>(when)};
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{when - day};
  std::string text = "0000-00-00T00:00:00.000Z";
  put(text, 0, 4, static_cast<unsigned>(static_cast<int>(date.year())));
  put(text, 5, 2, static_cast<unsigned>(date.month()));
  put(text, 8, 2, static_cast<unsigned>(date.day()));
  put(text, 11, 2, static_cast<unsigned>(clock.hours().count()));
  put(text, 14, 2, static_cast<unsigned>(clock.minutes().count()));
  put(text, 17, 2, static_cast<unsigned>(clock.seconds().count()));
  put(text, 20, 3, static_cast<unsigned>(clock.subseconds().count()));
  return text;
}

}  // namespace callboard
