#include "runtime/workflow/attempt_end.hpp"

#include "base/hash.hpp"
#include "runtime/workflow/run_limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::runtime {

run_event event_of(
    ended_attempt one,
    const open_command& step,
    std::string_view workflow_id,
    time_ms now,
    std::size_t result_bytes_max) {
  const bool is_model = step.request.kind == command_kind::model;
  run_event event;
  event.command = one.command;
  if (one.ended && is_larger(*one.ended, result_bytes_max)) {
    one.ended = std::unexpected{result_too_large(result_bytes_max)};
  }
  if (one.ended) {
    if (const auto flaw = flaw_of(*one.ended)) {
      one.ended =
          std::unexpected{not_json(fmt::format("the result of '{}'", step.request.name), *flaw)};
    }
  }
  if (one.ended) {
    event.kind = run_event_kind::completed;
    event.data = std::move(*one.ended);
    if (is_model) event.attempt = one.attempt;
    return event;
  }
  const auto& retry = step.request.retry;
  auto why = recordable(std::move(one.ended.error()));
  event.attempt = one.attempt;
  if (is_model && why.code == interrupted_code) {
    event.kind = run_event_kind::attempt_failed;
    event.due = now;
  } else if (
      retry.again.contains(why.kind) && one.attempt - step.interruptions < retry.attempts_max) {
    auto delay = std::min<std::uint64_t>(
        retry.delay_max_ms,
        static_cast<std::uint64_t>(retry.first_delay_ms) << std::min(one.attempt - 1, 20U));
    const auto jitter = hash_64(fmt::format("{}/{}/{}", workflow_id, one.command, one.attempt));
    delay -= delay == 0 ? 0 : jitter % (delay / 2 + 1);
    delay = std::max<std::uint64_t>(delay, why.retry_after_ms);
    event.kind = run_event_kind::attempt_failed;
    event.due = now + std::chrono::milliseconds{delay};
  } else {
    event.kind = run_event_kind::failed;
  }
  event.why = std::move(why);
  return event;
}

}  // namespace callboard::runtime
