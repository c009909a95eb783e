// What a run may leave to others: children, tasks and messages that are on disk with those who are
// to carry them out, and attempts that are not due soon to the clock. Then nothing of it has to be
// in memory, nor after a restart: children and queues tell of ends until they are heard. Agents
// wake who called them once; a run that was not there then asks at the next start, or when the
// sweep comes by. Whoever has called an agent that is read again, as its shard is, asks it anew.
#include "actors/armed_timers.hpp"
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/telling.hpp"
#include "runtime/workflow/json_values.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

/// Numbers that go with the row of each transition.
constexpr std::size_t shown_at_once_max = 64;

/// Commands whose end nothing reports unless this process works on it. An update is open only while
/// its mirror has not got it.
bool needs_wake(command_kind kind) {
  return kind == command_kind::step || kind == command_kind::publish || kind == command_kind::child
         || kind == command_kind::call || kind == command_kind::model
         || kind == command_kind::update || kind == command_kind::task;
}

bool has_attempts(command_kind kind) {
  return kind == command_kind::step || kind == command_kind::model;
}

}  // namespace

void run_host::note_accepted(std::uint32_t command) {
  accepted_.insert(command);
  is_row_behind_ = true;
  leave_lane(command);
}

void run_host::forget_accepted() {
  accepted_.clear();
  borrowed_.clear();
  is_row_behind_ = false;
  woken_calls_.clear();
  resent_calls_.clear();
  refused_.clear();
  lanes_.clear();
  armed_.clear();
  row_->accepted.clear();
  row_->unasked_models.clear();
}

/// Agents do not owe their callers anything, so calls are no part of it; nor are children of
/// others, of which a start makes sure. While a wide fan-out comes in, its long lists are not
/// written with each transition, but when the run rests.
void run_host::show_accepted() {
  // What code that does not fit has open is not all true.
  if (!row_->ended && (!engine_ || engine_->blocked())) return;
  row_->accepted.clear();
  row_->unasked_models.clear();
  if (row_->ended) return;
  std::vector<std::uint32_t> unasked;
  for (const auto& [command, timer] : timers_) {
    if (is_open_model(command)) unasked.push_back(command);
  }
  is_row_behind_ = !is_settling_ && accepted_.size() + unasked.size() > shown_at_once_max;
  if (is_row_behind_) return;
  row_->unasked_models = std::move(unasked);
  for (const auto command : accepted_) {
    const auto open = engine_->open().find(command);
    const bool is_owed = open != engine_->open().end()
                         && open->second.request.kind != command_kind::call
                         && !borrowed_.contains(command);
    if (is_owed) row_->accepted.push_back(command);
  }
}

bool run_host::is_rest_on_disk() const {
  return !is_row_behind_ || is_busy_ || !row_ || row_->ended || !engine_ || engine_->blocked();
}

void run_host::rest_until(const runtime::run_event& failed) {
  const runtime::run_timer timer{*failed.due, failed.command, false};
  const auto known = timers_.find(failed.command);
  // It was refused, and is written again.
  if (known != timers_.end() && known->second == timer) return;
  begin_attempt(failed.command);
  if (!is_attempt_late(failed)) return;
  timers_[failed.command] = timer;
  batch_timers_set_.push_back(timer);
}

/// After a replay.
void run_host::wait_again(std::uint32_t command) {
  const auto waits = timers_.find(command);
  if (waits == timers_.end()) return;
  if (waits->second.due <= now()) return begin_attempt(command);
  // It has a timer on disk, which a version that did not let it rest has not written.
  if (runtime::is_unasked(*row_, command)) return;
  batch_timers_set_.push_back(waits->second);
  is_row_behind_ = true;
}

void run_host::begin_attempt(std::uint32_t command) {
  const auto waited = timers_.extract(command);
  if (!waited) return;
  std::erase(batch_timers_set_, waited.mapped());
  batch_timers_cleared_.push_back(waited.mapped());
  is_row_behind_ = true;
}

bool run_host::is_open_model(std::uint32_t command) const {
  const auto open = engine_->open().find(command);
  return open != engine_->open().end() && open->second.request.kind == command_kind::model;
}

/// What a provider is asked must not look as if it never had been, should this process be killed
/// then. Those that are due as well have their row with it.
void run_host::record_begun(std::uint32_t command) {
  const auto refused_for =
      std::chrono::ceil<std::chrono::milliseconds>(row_refused_until_ - parts_.time.boot());
  if (refused_for > std::chrono::milliseconds{0}) {
    return after(refused_for, [this, command] { start_model(command); });
  }
  std::vector<std::uint32_t> due;
  for (const auto& [other, timer] : timers_) {
    if (is_open_model(other) && timer.due <= now()) due.push_back(other);
  }
  for (const auto other : due)
    begin_attempt(other);
  is_busy_ = is_settling_ = true;
  after(std::chrono::milliseconds{1}, [this, command] { start_model(command); });
  append_row({});
}

template <class Commands>
bool run_host::has_work_beside(const Commands& accepted) const {
  if (!engine_) return false;
  auto next = accepted.begin();
  return std::ranges::any_of(engine_->open(), [&](const auto& one) {
    while (next != accepted.end() && *next < one.first)
      ++next;
    const auto kind = one.second.request.kind;
    if (has_attempts(kind) && timers_.contains(one.first)) return false;
    return needs_wake(kind) && (next == accepted.end() || *next != one.first);
  });
}

template bool run_host::has_work_beside(const std::set<std::uint32_t>&) const;

bool run_host::has_work() const {
  return has_work_beside(row_->accepted);
}

/// Where they went they are looked for first: an agent may remember a message no more that it has
/// answered.
void run_host::ask_for_replies(bool is_there) {
  if (!may_carry_out()) return;
  std::vector<std::uint32_t> asks;
  for (const auto& [command, one] : engine_->open()) {
    if (one.request.kind != command_kind::call) continue;
    if (accepted_.erase(command) != 0) {
      asks.push_back(command);
    } else if (is_there) {
      // The answer that there is no reply yet may be on its way.
      woken_calls_.insert(command);
    }
  }
  for (const auto command : asks)
    send_again(command);
}

void run_host::wake_caller(const std::string& message) {
  const auto found = open_messages_.find(message);
  if (found == open_messages_.end() || found->second.caller.empty() || has_caller(message)) return;
  auto channel = topic_name::parse(std::string{runtime::channel_prefix} + found->second.caller);
  if (!channel) return;
  ++wakes_open_;
  send_wake({channel_.tenant, *std::move(channel)}, 0);
}

void run_host::wake_callers() {
  for (const auto& [message, one] : open_messages_)
    wake_caller(message);
}

/// Once and to whoever hears it: what is not heard now, the sweep finds.
void run_host::have_callers_ask() {
  std::set<topic_ref> callers;
  for (const auto& [correlation, one] : waking_)
    callers.insert(one.first);
  for (const auto& [message, one] : open_messages_) {
    auto channel = topic_name::parse(std::string{runtime::channel_prefix} + one.caller);
    if (!one.caller.empty() && channel) callers.insert({channel_.tenant, *std::move(channel)});
  }
  for (const auto& caller : callers) {
    (void)parts_.router->control(
        {correlation_id{++last_correlation_}, check_run{caller, true}}, home_.run_handle());
  }
}

void run_host::send_wake(const topic_ref& caller, std::uint32_t tries) {
  if (is_dead_ || is_retired_) return;
  const correlation_id correlation{++last_correlation_};
  waking_.emplace(correlation.raw(), std::pair{caller, tries});
  if (parts_.router->control({correlation, check_run{caller, true}}, home_.run_handle())) return;
  waking_.erase(correlation.raw());
  home_.run_later(
      pause_before_telling(tries), [this, caller, tries] { send_wake(caller, tries + 1); });
}

bool run_host::takes_wake_reply(const control_reply& reply) {
  auto asked = waking_.extract(reply.correlation.raw());
  if (!asked) return false;
  if (is_heard(reply)) {
    --wakes_open_;
    return true;
  }
  const auto& [caller, tries] = asked.mapped();
  home_.run_later(
      pause_before_telling(tries), [this, caller, tries] { send_wake(caller, tries + 1); });
  return true;
}

}  // namespace callboard::actors
