// Runs that wait for each other, as the journal has them: none of them would ever end. Blocks on
// disk: reader pool only.
#pragma once

#include "base/names.hpp"
#include "storage/journal.hpp"

#include <callboard/failure.hpp>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace callboard::actors {

/// Code of a run that waits for itself in the end; how it is told.
inline constexpr std::string_view wait_cycle_code = "wait_cycle";

/// Of one look, and events of each of them that are read.
inline constexpr std::size_t cycle_runs_max = 64;
inline constexpr std::size_t cycle_events_max = 20'000;

/// Says why `asker`, which waits for the ends of `waits_for` and for nothing else, would do so for
/// ever: each of them, and each that they wait for, waits for the end of another run and for
/// nothing else, so that the way comes back to one of them. Nothing if one of them may still go on,
/// or that cannot be told. Waits of less than `age` do not count: the runs are not looked at at
/// once, and what was seen of the first must hold still when the last is seen.
[[nodiscard]] std::optional<failure> find_wait_cycle(
    storage::journal& journal,
    const topic_ref& asker,
    std::vector<topic_ref> waits_for,
    std::chrono::milliseconds age);

}  // namespace callboard::actors
