// Times as text.
#pragma once

#include "base/ids.hpp"

#include <string>

namespace callboard {

/// RFC 3339 in UTC with milliseconds, `2026-01-31T09:00:00.000Z`.
[[nodiscard]] std::string format_time(time_ms when);

}  // namespace callboard
