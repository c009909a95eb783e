// What becomes of one attempt at a step that has ended: its result, another attempt later, or the
// failure of the step.
#pragma once

#include "runtime/workflow/run_engine.hpp"
#include "runtime/workflow/run_event.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace callboard::runtime {

struct ended_attempt {
  std::uint32_t command = 0;
  std::uint32_t attempt = 1;
  outcome<json> ended;
};

/// The input to be recorded for it, without its time. `step` is the open command, whose current
/// attempt it is. A result of more than `result_bytes_max` is a failure.
[[nodiscard]] run_event event_of(
    ended_attempt attempt,
    const open_command& step,
    std::string_view workflow_id,
    time_ms now,
    std::size_t result_bytes_max);

}  // namespace callboard::runtime
