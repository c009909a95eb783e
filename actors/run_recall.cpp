// What is known of a run by its row and its record, without its code, which may hang, not fit or
// not be here: enough to show it, and to end it.
#include "actors/run_host.hpp"
#include "base/log.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;

/// Of the others the time of the next attempt is no timer.
bool is_timed(command_kind kind) {
  return kind != command_kind::step && kind != command_kind::model;
}

}  // namespace

void run_host::recall_nothing() {
  start_.emplace();
  start_->identity.tenant = channel_.tenant.str();
  start_->identity.workflow_id = id();
  start_->identity.type = row_->type;
  start_->identity.version = row_->version;
  start_->identity.run = row_->run;
  start_->identity.correlation_id = row_->correlation_id;
}

bool run_host::recall(const std::vector<run_event>& history) {
  auto start = runtime::read_started(history.front());
  if (!start) {
    log::channel("actors")->error("workflow {}: {}", id(), start.error().detail);
    return false;
  }
  start_ = std::move(*start);
  start_->identity.tenant = channel_.tenant.str();
  start_->identity.workflow_id = id();
  recall_replies(start_->input);
  is_being_cancelled_ = false;
  for (const auto& event : history) {
    if (!row_->owes && !row_->ended) owe_if_left(event);
    note(event);
  }
  return true;
}

/// The engine is let go of and not closed: it is another thread's, perhaps for ever.
void run_host::give_up_turn() {
  ++turn_number_;
  is_code_at_work_ = false;
  is_replaying_ = false;
  engine_.reset();
}

void run_host::clear_timers() {
  auto armed = std::exchange(timers_, {});
  armed.merge(std::exchange(recorded_timers_, {}));
  for (const auto& [command, timer] : armed)
    batch_timers_cleared_.push_back(timer);
}

void run_host::note_timer(const run_event& event, std::optional<std::uint32_t> heard) {
  if (heard) recorded_timers_.erase(*heard);
  if (event.command == 0 || heard == event.command) return;
  if (event.kind != run_event_kind::issued) {
    recorded_timers_.erase(event.command);
  } else if (event.due && is_timed(event.what)) {
    recorded_timers_[event.command] = {*event.due, event.command, runtime::is_by_wall(event)};
  }
}

std::optional<error> kept_because(const run_host* run, const delete_topic& ask) {
  if (ask.if_ended_before) {
    if (run != nullptr && run->is_over(*ask.if_ended_before)) return std::nullopt;
    return error{errc::wrong_kind, "the workflow is not over, or not for so long", 0};
  }
  if (run == nullptr || !run->holds_channel()) return std::nullopt;
  return error{
      errc::wrong_kind,
      "the workflow has not ended, and without its channel nobody would tell its children and "
      "tasks: cancel or terminate it first",
      0};
}

}  // namespace callboard::actors
