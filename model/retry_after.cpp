#include "model/retry_after.hpp"

#include "model/http_date.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace callboard::model {

namespace {

using std::chrono::milliseconds;

milliseconds bounded(double ms) {
  const auto most = static_cast<double>(retry_after_max.count());
  // The small part taken off keeps 0.1 + 0.2 from being rounded up.
  return milliseconds{static_cast<std::int64_t>(std::ceil(std::clamp(ms - 1e-7, 0.0, most)))};
}

/// A plain decimal number without sign and exponent; takes it off `text`.
std::optional<double> take_number(std::string_view& text) {
  const auto size = std::min(text.find_first_not_of("0123456789."), text.size());
  if (size == 0 || text.front() == '.') return std::nullopt;
  double value = 0;
  const auto [end, code] =
      std::from_chars(text.data(), text.data() + size, value, std::chars_format::fixed);
  if (code != std::errc{} || end != text.data() + size || !std::isfinite(value)) {
    return std::nullopt;
  }
  text.remove_prefix(size);
  return value;
}

std::optional<double> plain_number(std::string_view text) {
  const auto value = take_number(text);
  return text.empty() ? value : std::nullopt;
}

/// Milliseconds of a unit; takes it off `text`.
std::optional<double> take_unit(std::string_view& text) {
  // The longer name of two with the same beginning comes first.
  constexpr std::array<std::pair<std::string_view, double>, 8> units{{
      {"ms", 1.0},
      {"us", 1e-3},
      {"\u00b5s", 1e-3},
      {"\u03bcs", 1e-3},
      {"ns", 1e-6},
      {"h", 3'600'000.0},
      {"m", 60'000.0},
      {"s", 1'000.0},
  }};
  for (const auto& [name, ms] : units) {
    if (!text.starts_with(name)) continue;
    text.remove_prefix(name.size());
    return ms;
  }
  return std::nullopt;
}

std::optional<milliseconds> from_standard_header(const response_head& head, time_ms now) {
  const auto value = head.header("retry-after");
  if (const auto seconds = plain_number(value)) return bounded(*seconds * 1000.0);
  const auto until = parse_http_date(value);
  if (!until) return std::nullopt;
  const auto from = parse_http_date(head.header("date")).value_or(now);
  return std::clamp(*until - from, milliseconds{0}, retry_after_max);
}

std::optional<milliseconds> from_rate_headers(const response_head& head) {
  std::optional<milliseconds> used_up;
  std::optional<milliseconds> soonest;
  for (const auto* what : {"requests", "tokens"}) {
    const auto reset = parse_duration(head.header(std::string{"x-ratelimit-reset-"} + what));
    if (!reset) continue;
    soonest = std::min(*reset, soonest.value_or(*reset));
    const auto remaining = head.header(std::string{"x-ratelimit-remaining-"} + what);
    if (plain_number(remaining).value_or(0.0) > 0.0) continue;
    used_up = std::max(*reset, used_up.value_or(*reset));
  }
  return used_up ? used_up : soonest;
}

}  // namespace

std::optional<milliseconds> parse_duration(std::string_view text) {
  text = trimmed(text);
  if (const auto seconds = plain_number(text)) return bounded(*seconds * 1000.0);
  if (text.empty()) return std::nullopt;
  double ms = 0;
  while (!text.empty()) {
    const auto count = take_number(text);
    if (!count) return std::nullopt;
    const auto unit = take_unit(text);
    if (!unit) return std::nullopt;
    ms += *count * *unit;
  }
  return bounded(ms);
}

std::optional<milliseconds> retry_after_of(const response_head& head, time_ms now) {
  if (const auto ms = plain_number(head.header("retry-after-ms"))) return bounded(*ms);
  if (const auto wait = from_standard_header(head, now)) return wait;
  return from_rate_headers(head);
}

}  // namespace callboard::model
