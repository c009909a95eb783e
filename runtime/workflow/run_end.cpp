// How a run ends: by what its code came to, or as an agent that goes on as new.
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/run_engine.hpp"

#include <fmt/format.h>

#include <exception>
#include <utility>

namespace callboard::runtime {

void run_engine::finish_if_done() {
  if (!is_started_ || is_ended_ || blocked_) return;
  if (!root_.is_done()) {
    if (open_.empty()) {
      park(
          "nothing_awaited",
          "the code is suspended, but at nothing that the journal could tell the end of: await "
          "commands of the context only");
    }
    return;
  }
  auto end = end_of_root();
  // Before it is missed what it did not come to: why it did not is more to the point.
  const bool goes_on = end.status == run_status::continued || is_cancelling_;
  if (is_agent_type(identity_.type) && !goes_on) return park_ended(std::move(end));
  if (park_if_commands_are_missing()) return;
  is_ended_ = true;
  run_event event;
  event.kind = run_event_kind::ended;
  event.status = end.status;
  event.data = end.result;
  event.why = end.why;
  outputs_.events.push_back(std::move(event));
  outputs_.end = std::move(end);
}

/// An agent has no end: what ended its code elsewhere than in a handler waits for other code.
void run_engine::park_ended(run_end end) {
  auto why = std::move(end.why).value_or(failure{
      failure_class::bug, "agent_ended", fmt::format("it ended as {}", name_of(end.status))});
  why.message = fmt::format(
      "the agent's code failed outside of a handler, and waits for code that does not: {}",
      why.message);
  blocked_ = std::move(why);
}

run_end run_engine::end_of_root() {
  try {
    auto value = root_.take();
    // Whoever cancels the workflow means its next run, too.
    if (next_input_ && is_cancelling_) return {run_status::cancelled, {}, std::nullopt};
    if (auto flawed = flaw_in_end(value)) return {run_status::failed, {}, std::move(flawed)};
    if (next_input_) return {run_status::continued, std::move(*next_input_), std::nullopt};
    return {run_status::completed, std::move(value), std::nullopt};
  } catch (const run_failed& thrown) {
    return {run_status::failed, {}, recordable(thrown.why())};
  } catch (const cancelled& thrown) {
    auto why = thrown.why;
    return {run_status::cancelled, {}, why ? std::optional{recordable(*std::move(why))} : why};
  } catch (const std::exception& thrown) {
    return {
        run_status::failed,
        {},
        recordable(failure{failure_class::bug, "exception", thrown.what()})};
  } catch (...) {
    return {
        run_status::failed,
        {},
        failure{failure_class::bug, "exception", "something that is no std::exception"}};
  }
}

/// Of the result of the run, or of the input for its next.
std::optional<failure> run_engine::flaw_in_end(const json& value) const {
  const bool is_agent = is_agent_type(identity_.type);
  // Of an agent the state was measured when its handler left it, and each reply when it was given:
  // what was taken then is handed on.
  const auto most = limits_.result_bytes_max;
  if (!is_agent && is_larger(next_input_ ? *next_input_ : value, most)) {
    return result_too_large(most);
  }
  if (!next_input_) {
    const auto flaw = flaw_of(value);
    return flaw ? std::optional{not_json("the result of the run", *flaw)} : std::nullopt;
  }
  const auto flaw = flaw_of(*next_input_, code_depth_max, is_agent ? agent_input_levels : 0);
  return flaw ? std::optional{not_json("the input for the next run", *flaw)} : std::nullopt;
}

/// The next message would have less than half of what a turn may issue, or all of it would be
/// written as one batch of more than that.
bool run_engine::is_turn_long() const {
  constexpr auto commands = turn_commands_max / 2;
  constexpr auto bytes = turn_bytes_max / 2;
  return commands_left_ < commands || bytes_left_ < bytes || outputs_.events.size() > commands
         || outputs_bytes_ > bytes;
}

std::optional<failure> run_engine::flaw_in_state(const json& state) const {
  if (!is_larger(state, limits_.result_bytes_max)) return std::nullopt;
  return state_too_large(limits_.result_bytes_max);
}

bool run_engine::is_history_long(std::uint32_t handled) const {
  // Whatever the limits were then: an agent that went on has read its next message.
  if (recorded_.contains(last_index_ + 1)) return false;
  if (is_recorded_continued_ || is_turn_long()) return true;
  if (handled >= limits_.agent_messages) return true;
  // That much would be written again; it pays when as much goes.
  const std::uint64_t kept = input_bytes_ + unread_bytes_ + handed_on_bytes_;
  const auto given_up = history_bytes_ - std::min(history_bytes_, kept);
  return given_up >= std::max<std::uint64_t>(limits_.agent_history_bytes, kept);
}

}  // namespace callboard::runtime
