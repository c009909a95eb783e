#include "runtime/topic/position.hpp"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <optional>

namespace callboard::runtime {

namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<int> parse_field(std::string_view text, std::size_t at, std::size_t size) {
  if (at + size > text.size()) return std::nullopt;
  for (const char c : text.substr(at, size)) {
    if (c < '0' || c > '9') return std::nullopt;
  }
  return static_cast<int>(*parse_number(text.substr(at, size)));
}

/// RFC 3339 date-time, down to milliseconds (further digits are dropped).
std::optional<time_ms> parse_time(std::string_view text) {
  const auto year = parse_field(text, 0, 4);
  const auto month = parse_field(text, 5, 2);
  const auto day = parse_field(text, 8, 2);
  const auto hour = parse_field(text, 11, 2);
  const auto minute = parse_field(text, 14, 2);
  const auto second = parse_field(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':'
      || text[16] != ':') {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{
      std::chrono::year{*year},
      std::chrono::month{static_cast<unsigned>(*month)},
      std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  time_ms time = std::chrono::sys_days{date} + std::chrono::hours{*hour}
                 + std::chrono::minutes{*minute} + std::chrono::seconds{*second};
  auto rest = text.substr(19);
  if (rest.starts_with('.')) {
    int ms = 0;
    int digits = 0;
    for (rest.remove_prefix(1); !rest.empty() && rest[0] >= '0' && rest[0] <= '9';
         rest.remove_prefix(1), ++digits) {
      if (digits < 3) ms = ms * 10 + (rest[0] - '0');
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 3; ++digits)
      ms *= 10;
    time += std::chrono::milliseconds{ms};
  }
  if (rest == "Z" || rest == "z") return time;
  if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-') || rest[3] != ':') {
    return std::nullopt;
  }
  const auto zone_hour = parse_field(rest, 1, 2);
  const auto zone_minute = parse_field(rest, 4, 2);
  if (!zone_hour || !zone_minute || *zone_hour > 23 || *zone_minute > 59) return std::nullopt;
  const auto zone = std::chrono::minutes{*zone_hour * 60 + *zone_minute};
  return rest[0] == '+' ? time - zone : time + zone;
}

bool is_epoch(std::string_view text) {
  if (text.empty() || text.size() > 40) return false;
  for (const char c : text) {
    const bool fits = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
    if (!fits) return false;
  }
  return true;
}

/// "<step>.<attempt>.<index>"
bool is_frame(std::string_view text) {
  int numbers = 0;
  for (;;) {
    const auto dot = text.find('.');
    if (!parse_number(text.substr(0, dot))) return false;
    ++numbers;
    if (dot == std::string_view::npos) return numbers == 3;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace

result<position> parse_position(std::string_view text) {
  if (text == "now") return from_now{};
  if (text == "first") return from_first{};
  if (text.starts_with("time:")) {
    if (const auto time = parse_time(text.substr(5))) return from_time{*time};
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    auto behind = text.substr(colon + 1);
    const auto slash = behind.find('/');
    const bool is_sound = slash == std::string_view::npos || is_frame(behind.substr(slash + 1));
    const auto seq = is_sound ? parse_number(behind.substr(0, slash)) : std::nullopt;
    if (seq && is_epoch(text.substr(0, colon))) {
      return after_cursor{{std::string{text.substr(0, colon)}, sequence{*seq}}};
    }
  } else if (const auto seq = parse_number(text)) {
    return from_seq{sequence{*seq}};
  }
  return fail(
      errc::bad_request,
      "a position is \"now\", \"first\", a seq, a cursor \"<epoch>:<seq>\" as the server gave it, "
      "or \"time:\" and an RFC 3339 time");
}

}  // namespace callboard::runtime
