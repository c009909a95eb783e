#include "actors/armed_timers.hpp"

#include "runtime/workflow/signal_ledger.hpp"

#include <cstdint>
#include <map>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;
using runtime::run_timer;

using timers_by_command = std::map<std::uint32_t, run_timer>;

struct timers_of_history {
  timers_by_command armed;
  /// Ended since the code did something.
  timers_by_command ended_behind_code;

  void end(std::uint32_t command) {
    if (auto ended = armed.extract(command)) ended_behind_code.insert(std::move(ended));
  }
};

bool is_by_code(const run_event& event) {
  return event.kind == run_event_kind::issued || event.kind == run_event_kind::command_cancelled;
}

timers_of_history read_timers(const std::vector<run_event>& history) {
  timers_of_history timers;
  runtime::signal_ledger signals;
  for (const auto& event : history) {
    const auto answered = signals.take(event);
    const bool is_timed = event.what != command_kind::step && event.what != command_kind::model;
    if (event.kind != run_event_kind::issued) {
      timers.end(event.command);
    } else if (event.due && is_timed && answered != event.command) {
      timers.armed[event.command] = {*event.due, event.command, is_by_wall(event)};
    }
    if (is_attempt_late(event)) timers.armed[event.command] = {*event.due, event.command, false};
    if (answered) timers.end(*answered);
    if (is_by_code(event)) timers.ended_behind_code.clear();
  }
  return timers;
}

std::vector<run_timer> listed(const timers_by_command& timers) {
  std::vector<run_timer> list;
  for (const auto& [command, timer] : timers)
    list.push_back(timer);
  return list;
}

}  // namespace

bool is_attempt_late(const run_event& failed) {
  return failed.kind == run_event_kind::attempt_failed && failed.due
         && *failed.due - failed.time > soon_due;
}

std::vector<run_timer> armed_timers(const std::vector<run_event>& history) {
  return listed(read_timers(history).armed);
}

std::vector<run_timer> timers_with_rows(const std::vector<run_event>& history) {
  auto timers = read_timers(history);
  timers.armed.merge(timers.ended_behind_code);
  return listed(timers.armed);
}

}  // namespace callboard::actors
