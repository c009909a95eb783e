// What a run may leave to others: children, tasks and messages that are on disk with those who are
// to carry them out. Then nothing of it has to be in memory, nor after a restart: children and
// queues tell of ends until they are heard. Agents wake who called them once; a run that was not
// there then asks at the next start, or when the sweep comes by.
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "runtime/workflow/json_values.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace callboard::actors {

void run_host::forget_accepted() {
  accepted_.clear();
  woken_calls_.clear();
  row_->accepted.clear();
}

/// Agents do not owe their callers anything, so calls are no part of it.
void run_host::note_accepted() {
  if (row_->ended) return row_->accepted.clear();
  // What code that does not fit has open is not all true.
  if (!engine_ || engine_->blocked()) return;
  row_->accepted.clear();
  for (const auto command : accepted_) {
    const auto open = engine_->open().find(command);
    if (open != engine_->open().end() && open->second.request.kind != command_kind::call)
      row_->accepted.push_back(command);
  }
}

bool run_host::is_accepted_on_disk() const {
  if (!row_ || row_->ended || is_busy_ || !engine_ || engine_->blocked()) return true;
  return std::ranges::all_of(accepted_, [this](std::uint32_t command) {
    const auto open = engine_->open().find(command);
    return open == engine_->open().end() || open->second.request.kind == command_kind::call
           || std::ranges::binary_search(row_->accepted, command);
  });
}

void run_host::ask_for_replies(bool is_there) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [=, this] { ask_for_replies(is_there); });
  }
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
    send_call(command, {});
}

void run_host::wake_caller(const std::string& message) const {
  const auto found = open_messages_.find(message);
  if (found == open_messages_.end() || found->second.caller.empty() || has_caller(message)) return;
  auto channel = topic_name::parse(std::string{runtime::channel_prefix} + found->second.caller);
  if (!channel) return;
  (void)parts_.router->control(
      {correlation_id{}, check_run{{channel_.tenant, *std::move(channel)}, true}},
      home_.run_handle());
}

void run_host::wake_callers() const {
  for (const auto& [message, one] : open_messages_)
    wake_caller(message);
}

}  // namespace callboard::actors
