#include "runtime/workflow/attempt_end.hpp"

#include "base/hash.hpp"
#include "runtime/retry_after.hpp"
#include "runtime/workflow/run_limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace callboard::runtime {

namespace {

enum class next : std::uint8_t { counted, deferred };

/// Nothing if the failure is final.
std::optional<next> next_attempt(
    const ended_attempt& one,
    const failure& why,
    const open_command& step,
    const run_limits& limits) {
  const auto& retry = step.request.retry;
  if (!retry.again.contains(why.kind) || retry.attempts_max <= 1) return std::nullopt;
  const bool asks_for_later = why.kind == failure_class::rate && why.retry_after_ms != 0;
  if (asks_for_later && may_be_put_off(step, limits)) return next::deferred;
  const auto counted = one.attempt - step.interruptions - step.deferrals;
  return counted < retry.attempts_max ? std::optional{next::counted} : std::nullopt;
}

std::chrono::milliseconds delay_before(
    next again,
    const ended_attempt& one,
    const failure& why,
    const open_command& step,
    std::string_view workflow_id) {
  const auto& retry = step.request.retry;
  // Who was put off is no further along.
  const auto counted = std::max(one.attempt - step.interruptions - step.deferrals, 1U);
  auto delay = std::min<std::uint64_t>(
      retry.delay_max_ms,
      static_cast<std::uint64_t>(retry.first_delay_ms)
          << std::min((again == next::deferred ? one.attempt : counted) - 1, 20U));
  const auto jitter = hash_64(fmt::format("{}/{}/{}", workflow_id, one.command, one.attempt));
  delay -= delay == 0 ? 0 : jitter % (delay / 2 + 1);
  const std::chrono::milliseconds own{delay};
  return std::max(own, honoured_retry_after(why.retry_after_ms, jitter));
}

}  // namespace

bool may_be_put_off(const open_command& step, const run_limits& limits) {
  const auto& retry = step.request.retry;
  return retry.again.contains(failure_class::rate) && retry.attempts_max > 1
         && step.deferrals < limits.deferrals_max;
}

run_event event_of(
    ended_attempt one,
    const open_command& step,
    std::string_view workflow_id,
    time_ms now,
    const run_limits& limits) {
  const bool is_model = step.request.kind == command_kind::model;
  run_event event;
  event.command = one.command;
  if (one.ended && is_larger(*one.ended, limits.result_bytes_max)) {
    one.ended = std::unexpected{result_too_large(limits.result_bytes_max)};
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
  auto why = recordable(std::move(one.ended.error()));
  event.attempt = one.attempt;
  if (is_model && why.code == interrupted_code) {
    event.kind = run_event_kind::attempt_failed;
    event.due = now;
  } else if (const auto again = next_attempt(one, why, step, limits)) {
    event.kind = run_event_kind::attempt_failed;
    event.is_deferred = *again == next::deferred;
    event.due = now + delay_before(*again, one, why, step, workflow_id);
  } else {
    event.kind = run_event_kind::failed;
  }
  event.why = std::move(why);
  return event;
}

}  // namespace callboard::runtime
