#include "model/http_date.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <vector>

namespace callboard::model {

namespace {

/// The forms differ only in the order and the separators of the same words.
std::vector<std::string_view> words_of(std::string_view text) {
  constexpr std::size_t words_max = 9;
  constexpr std::string_view separators = " ,-:";
  std::vector<std::string_view> words;
  while (words.size() < words_max) {
    const auto first = text.find_first_not_of(separators);
    if (first == std::string_view::npos) break;
    text.remove_prefix(first);
    const auto size = std::min(text.find_first_of(separators), text.size());
    words.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return words;
}

std::optional<int> number(std::string_view text, std::size_t digits_max) {
  if (text.empty() || text.size() > digits_max) return std::nullopt;
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<unsigned> month_named(std::string_view name) {
  constexpr std::array<std::string_view, 12> names{
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  for (unsigned i = 0; i < names.size(); ++i) {
    if (names[i] == name) return i + 1;
  }
  return std::nullopt;
}

std::optional<int> year_of(std::string_view text) {
  const auto value = number(text, 4);
  if (!value || text.size() == 4) return value;
  if (text.size() != 2) return std::nullopt;
  return *value < 70 ? 2000 + *value : 1900 + *value;
}

}  // namespace

std::optional<time_ms> parse_http_date(std::string_view text) {
  const auto words = words_of(text);
  const bool old_form = words.size() == 7;
  if (!old_form && (words.size() != 8 || words[7] != "GMT")) return std::nullopt;
  const auto day = number(words[old_form ? 2 : 1], 2);
  const auto month = month_named(words[old_form ? 1 : 2]);
  const auto year = year_of(words[old_form ? 6 : 3]);
  const std::size_t time_at = old_form ? 3 : 4;
  const auto hour = number(words[time_at], 2);
  const auto minute = number(words[time_at + 1], 2);
  const auto second = number(words[time_at + 2], 2);
  if (!day || !month || !year || !hour || !minute || !second) return std::nullopt;
  if (*hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const std::chrono::year_month_day date{
      std::chrono::year{*year},
      std::chrono::month{*month},
      std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok()) return std::nullopt;
  return time_ms{
      std::chrono::sys_days{date} + std::chrono::hours{*hour} + std::chrono::minutes{*minute}
      + std::chrono::seconds{*second}};
}

}  // namespace callboard::model
