// When a provider wants to be asked again: every form in which providers say so.
#pragma once

#include "base/ids.hpp"
#include "model/response_head.hpp"

#include <chrono>
#include <optional>
#include <string_view>

namespace callboard::model {

/// Longer wishes are cut to this.
inline constexpr std::chrono::milliseconds retry_after_max = std::chrono::hours{24};

/// In this order: `retry-after-ms`; `retry-after` in seconds (also with a fraction) or as a date,
/// which is compared with the answer's own `date` if it has one, because clocks differ, else with
/// `now`; `x-ratelimit-reset-requests` and `-tokens`: the later one of what is used up
/// (`x-ratelimit-remaining-*` is 0 or absent), else the sooner one. A date that has passed is 0.
/// What cannot be understood is passed over.
[[nodiscard]] std::optional<std::chrono::milliseconds>
retry_after_of(const response_head& head, time_ms now);

/// `6m0s`, `1s`, `20ms`, `1h2m3.5s`, also `µs` and `ns`, rounded up to milliseconds; a bare number
/// is seconds.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace callboard::model
