// Whether the code of this program fits what a run has recorded: a replay that does nothing else.
#pragma once

#include "base/error.hpp"
#include "runtime/workflow/changed_arguments.hpp"
#include "runtime/workflow/run_event.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::runtime {

/// The current run of a channel, as its history is shown to clients.
struct shown_run {
  std::string workflow_id;
  /// The run's start first.
  std::vector<run_event> events;
};

/// Events as `GET …/history` shows them, from the channel's first on or from some other place
/// before the start of the current run, without a hole. Errors: invalid_json, corruption.
[[nodiscard]] result<shown_run> read_shown_history(const boost::json::array& events);

/// One event as clients see it, a CloudEvent in JSON (run_codec.cpp). Errors: corruption.
[[nodiscard]] result<run_event> read_shown_event(const boost::json::object& shown);

struct replay_check {
  std::string type;
  std::uint32_t version = 1;
  std::uint32_t run = 1;
  std::size_t events = 0;
  /// Why the code does not fit; nothing if it does.
  std::optional<failure> mismatch;
  /// What it hands on otherwise than it is recorded, as far as it came, and how much more of that.
  std::vector<changed_argument> changed;
  std::size_t changed_omitted = 0;
  /// What the code would do next that is not recorded, in words.
  std::vector<std::string> next;
  /// What it waits for.
  std::vector<std::string> open;
  /// It has ended, or would end now.
  std::optional<run_status> end;
};

/// Runs no step and changes nothing. `version` 0: the one that the run is pinned to.
/// Errors: corruption.
[[nodiscard]] result<replay_check>
check_replay(const workflow_registry& code, shown_run run, std::uint32_t version = 0);

}  // namespace callboard::runtime
