// Run events as CloudEvents on the channel `workflow.{id}`, and back: a run's history is its
// channel. docs/formats.md lists types and members.
#pragma once

#include "base/error.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/workflow/answered_messages.hpp"
#include "runtime/workflow/run_event.hpp"

#include <callboard/context.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::runtime {

/// Topic names of channels begin with it; the rest is the workflow's id.
inline constexpr std::string_view channel_prefix = "workflow.";

/// The channel of the workflow `id`. Errors: invalid_name.
[[nodiscard]] result<topic_name> workflow_channel(std::string_view id);

/// `number` makes the event's id unique on the channel: events of the workflow before it.
[[nodiscard]] encoded_event
encode_run_event(const run_event& event, const run_identity& run, std::uint64_t number);

/// Errors: corruption. Precondition: `stored` is an event of a channel.
[[nodiscard]] result<run_event> decode_run_event(const delivered_event& stored);

/// What can be told of an event without its data.
struct run_event_outline {
  /// `attempt_failed` whether or not it was the last attempt.
  run_event_kind kind{};
  /// Of an `ended`.
  run_status status = run_status::running;
  std::uint32_t run = 0;
};

/// Nothing if it cannot be read. Precondition: `stored` is an event of a channel.
[[nodiscard]] std::optional<run_event_outline> outline_of(const delivered_event& stored);

/// What `started` carries besides the input.
struct run_start {
  run_identity identity;
  std::uint64_t seed = 0;
  json input;
  /// Of the program that started it.
  std::string build;
  /// Tells this workflow from every other of its id, in other tenants and before and after it; the
  /// same for all its runs. 0: the run began before there was one, and goes without.
  std::uint64_t incarnation = 0;
  /// Of a child: the workflow, run and command that wait for it.
  std::string parent_id;
  std::uint32_t parent_run = 0;
  std::uint32_t parent_command = 0;
  std::uint64_t parent_incarnation = 0;
  /// Ids of those above the parent, from the first on; none in what earlier versions wrote.
  std::vector<std::string> parent_above;
  /// Whoever cancelled the run that went on as this one means it, too.
  bool is_cancelled = false;
  /// What the clock of its code shows at least, as the run that went on as this one has slept until
  /// then.
  std::optional<time_ms> clock_least{};
  /// What signals said, by their ids, that were taken since a run last waited for anything: those
  /// of the transition in which that one went on, and what runs have read that went on at once.
  std::map<std::string, std::uint64_t> signals{};
  /// Of an agent: by the runs before this one.
  answered_messages answered{};
};

[[nodiscard]] run_event make_started(const run_start& start);

/// Errors: corruption.
[[nodiscard]] result<run_start> read_started(const run_event& event);

/// What a restart or a fork writes behind the copy.
struct run_parting {
  std::uint64_t seed = 0;
  /// Right before it: signals that came behind the place where the record was cut.
  std::size_t signals = 0;
  /// That goes on with the run.
  std::string build{};
};

[[nodiscard]] run_event make_parted(const run_parting& parting);
[[nodiscard]] run_parting read_parted(const run_event& event);

/// As it is shown: 16 hexadecimal digits.
[[nodiscard]] std::string format_incarnation(std::uint64_t incarnation);

[[nodiscard]] boost::json::object describe_failure(const failure& why);
[[nodiscard]] failure read_failure(const json& value);

}  // namespace callboard::runtime
