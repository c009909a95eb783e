// Which timers a run has, as its history tells: known also where no code of it is there to ask.
#pragma once

#include "runtime/workflow/run_event.hpp"
#include "runtime/workflow/run_row.hpp"

#include <chrono>
#include <vector>

namespace callboard::actors {

/// What is due within this time is waited for in memory.
inline constexpr std::chrono::milliseconds soon_due{2000};

/// The next attempt of a command that failed so has a timer with a row.
[[nodiscard]] bool is_attempt_late(const runtime::run_event& failed);

/// Timers that are armed as far as the record tells.
[[nodiscard]] std::vector<runtime::run_timer>
armed_timers(const std::vector<runtime::run_event>& history);

/// With those that were ended by what came behind the last thing the code did: if it was not there,
/// nobody has cleared their rows. A superset: a row that is not there may be cleared again.
[[nodiscard]] std::vector<runtime::run_timer>
timers_with_rows(const std::vector<runtime::run_event>& history);

}  // namespace callboard::actors
