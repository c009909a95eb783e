// What becomes of one attempt at a step that has ended: its result, another attempt later, or the
// failure of the step.
#pragma once

#include "runtime/workflow/run_engine.hpp"
#include "runtime/workflow/run_event.hpp"

#include <cstdint>
#include <string_view>

namespace callboard::runtime {

struct ended_attempt {
  std::uint32_t command = 0;
  std::uint32_t attempt = 1;
  outcome<json> ended;
};

/// The input to be recorded for it, without its time. `step` is the open command, whose current
/// attempt it is. A result of more than `limits.result_bytes_max` is a failure. One of the class
/// `rate` that names a time is waited for until then and counts as no attempt,
/// `limits.deferrals_max` times; unless a single attempt is all that the policy allows.
[[nodiscard]] run_event event_of(
    ended_attempt attempt,
    const open_command& step,
    std::string_view workflow_id,
    time_ms now,
    const run_limits& limits);

/// Whether such a failure would be waited for so.
[[nodiscard]] bool may_be_put_off(const open_command& step, const run_limits& limits);

}  // namespace callboard::runtime
