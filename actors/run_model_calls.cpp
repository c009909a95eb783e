// How a run asks models: when a call is begun, and what is recorded of its end.
#include "actors/run_host.hpp"
#include "base/hash.hpp"

#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

/// Answers to what is not stored are not waited for.
constexpr correlation_id shown_only{1};

/// The same for all attempts at one command of one run, also of another process; another for a
/// workflow that was deleted and started again. Ids are UTF-8, a header is not.
std::string
key_of(const topic_ref& channel, const runtime::run_start& start, std::uint32_t command) {
  const auto hash = hash_128(fmt::format(
      "{}/{}/{:016x}/{}/{}",
      channel.tenant.str(),
      channel.topic.str(),
      start.incarnation != 0 ? start.incarnation : start.seed,
      start.identity.run,
      command));
  return fmt::format("run-{:016x}{:016x}", hash.high, hash.low);
}

}  // namespace

bool run_host::is_model(std::uint32_t command) const {
  const auto open = engine_->open().find(command);
  return open != engine_->open().end() && open->second.request.kind == command_kind::model;
}

void run_host::start_model(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { start_model(command); });
  }
  if (!is_model(command)) return;
  begin_attempt(command);
  const auto& one = engine_->open().at(command);
  if (interrupted_.erase(command) != 0) {
    return model_ended(
        command,
        one.attempt,
        std::unexpected{failure{
            failure_class::retryable,
            std::string{runtime::interrupted_code},
            "the process that asked has ended"}});
  }
  auto begun = models_.start(
      {.command = command,
       .attempt = one.attempt,
       .name = one.request.name,
       .idempotency_key = key_of(channel_, *start_, command),
       .question = one.request.question},
      start_->identity);
  if (begun || begun.error().code == errc::draining) return;
  const auto& why = begun.error();
  const std::chrono::milliseconds hint{why.retry_after_ms};
  const auto pause = pause_when_turned_away(command, why, "provider_missing");
  after(std::max(hint, pause), [this, command] { start_model(command); });
}

/// Of an attempt that this process did not begin: its text and its end are lost.
void run_host::note_interrupted() {
  for (const auto& [command, one] : engine_->open()) {
    const bool waits = one.due && *one.due > now();
    const bool is_new = std::ranges::find(batch_issued_, command) != batch_issued_.end();
    // Nothing was at work, so nobody asked: it was to be asked again, and that is late.
    const bool is_late = timers_.contains(command) && !row_->needs_wake;
    if (one.request.kind == command_kind::model && !waits && !is_new && !is_late) {
      interrupted_.insert(command);
    }
  }
}

void run_host::show(std::vector<runtime::encoded_event> events) {
  if (is_retired_ || is_dead_) return;
  runtime::publish_request frames;
  frames.correlation = shown_only;
  frames.ephemeral = true;
  frames.role = runtime::frame_role::stream;
  frames.events = std::move(events);
  home_.append_transition(std::move(frames));
}

void run_host::show_so_far(std::uint64_t relay) {
  if (is_retired_ || is_dead_) return;
  runtime::publish_request frames;
  frames.correlation = shown_only;
  frames.ephemeral = true;
  frames.role = runtime::frame_role::snapshot;
  frames.only_relay = relay;
  frames.events = models_.so_far();
  home_.append_transition(std::move(frames));
}

bool run_host::takes_reply_to_frames(const runtime::publish_reply& reply) {
  if (reply.correlation != shown_only) return false;
  if (!reply.outcome) models_.frames_lost();
  return true;
}

void run_host::model_ended(std::uint32_t command, std::uint32_t attempt, outcome<json> ended) {
  input next;
  next.event.command = command;
  next.step = step_result{attempt, std::move(ended)};
  offer(std::move(next));
}

std::function<void(std::move_only_function<void()>)> run_host::doorbell() {
  return [self = home_.run_handle()](std::move_only_function<void()> rest) {
    caf::anon_send(self, box(run_continuation{std::move(rest)}));
  };
}

void run_host::later(std::chrono::milliseconds delay, std::move_only_function<void()> rest) {
  after(delay, std::move(rest));
}

}  // namespace callboard::actors
