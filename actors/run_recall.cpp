// What is known of a run by its row and its record, without its code, which may hang, not fit or
// not be here: enough to show it, and to end it.
#include "actors/armed_timers.hpp"
#include "actors/run_host.hpp"
#include "actors/run_sweep.hpp"
#include "base/log.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event;

/// Most of what a run that has ended must tell is heard within this time.
constexpr std::uint32_t holding_retry_ms = 500;

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
  const auto is_answered = [](const run_event& before, const run_event& event) {
    return !runtime::is_input(before.kind) && runtime::is_input(event.kind);
  };
  is_fresh_ = std::ranges::adjacent_find(history, is_answered) == history.end();
  for (const auto& event : history) {
    if (!row_->owes && !row_->ended) owe_if_left(event);
    note(event);
  }
  if (row_->ended) return true;
  const auto commands = std::max(row_->commands, runtime::last_command(history));
  if (commands > row_->commands || last_seq_ > row_->last_seq) {
    row_->commands = commands;
    row_->last_seq = last_seq_;
    shown_ = row_;
    is_row_behind_ = true;
  }
  for (const auto& timer : timers_with_rows(history))
    timers_[timer.command] = timer;
  return true;
}

/// The engine is let go of and not closed: it is another thread's, perhaps for ever.
void run_host::give_up_turn() {
  ++turn_number_;
  is_code_at_work_ = false;
  is_replaying_ = false;
  engine_.reset();
  loan_.reset();
}

void run_host::clear_timers() {
  for (const auto& [command, timer] : std::exchange(timers_, {}))
    batch_timers_cleared_.push_back(timer);
}

std::optional<error> run_host::holds_channel() const {
  if (is_agent() || (!row_ && !is_busy_)) return std::nullopt;
  if (row_ && !row_->ended) {
    return error{
        errc::wrong_kind,
        "the workflow has not ended, and without its channel nobody would tell its children and "
        "tasks: cancel or terminate it first",
        0};
  }
  const auto under_way = [this]() -> std::string_view {
    if (is_busy_) return "its latest change is being written";
    if (*row_->ended < now() - owing_kept_max) return {};
    if (start_ && owes_parent(*row_)) return "its parent is still being told how it ended";
    return has_debts() ? "others that it left or that wait for it are still being told" : "";
  }();
  if (under_way.empty()) return std::nullopt;
  return error{
      errc::overloaded,
      fmt::format("{}, which nobody would do without the workflow's channel; retry", under_way),
      holding_retry_ms};
}

std::optional<error> kept_because(const run_host* run, const delete_topic& ask) {
  if (ask.if_ended_before) {
    if (run != nullptr && run->is_over(*ask.if_ended_before)) return std::nullopt;
    return error{errc::wrong_kind, "the workflow is not over, or not for so long", 0};
  }
  return run == nullptr ? std::nullopt : run->holds_channel();
}

}  // namespace callboard::actors
