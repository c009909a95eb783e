// How large what a run takes in and gives may be. It all becomes part of its history, which is read
// whole when the run is replayed.
#pragma once

#include "base/config.hpp"
#include "runtime/workflow/run_event.hpp"

#include <callboard/failure.hpp>
#include <callboard/json.hpp>
#include <callboard/json_text.hpp>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace callboard::runtime {

/// Bounds that hold where the code of a run does something; those of what comes from outside are
/// checked where it comes in. The settings of the same names are their defaults.
struct run_limits {
  /// Of a step, of a run, also the input it leaves to its next, and of an agent's state.
  std::size_t result_bytes_max = config::workflows_section{}.result_bytes_max;
  /// What a command hands on.
  std::size_t arguments_bytes_max = config::workflows_section{}.arguments_bytes_max;
  /// What an agent answers a message with.
  std::size_t reply_bytes_max = config::workflows_section{}.reply_bytes_max;
  /// How often a step or a model call may ask to come back later without using up an attempt.
  std::uint32_t deferrals_max = config::workflows_section{}.deferrals_max;
  /// Messages of an agent's run, and bytes of its history; see `run_engine::is_history_long`.
  std::uint32_t agent_messages = config::workflows_section{}.agent_messages;
  std::size_t agent_history_bytes = config::workflows_section{}.agent_history_bytes;
};

[[nodiscard]] run_limits limits_of(const config::workflows_section& settings);

/// Commands that code issues before it waits for one, and the bytes of their arguments: they are
/// written as one batch. Those behind the one that reaches it fail at once. A replay has to meet
/// that again, so lowering these blocks runs that had more.
inline constexpr std::uint32_t turn_commands_max = 10'000;
inline constexpr std::size_t turn_bytes_max = 16U << 20;

/// Of runs that go on as new ones at once, and of their bytes, that are written as one batch: what
/// follows waits until they are on disk.
inline constexpr std::uint32_t continued_runs_max = 16;
inline constexpr std::size_t continued_bytes_max = 1U << 20;

/// Workflows that wait for each other, each the child of the one before: beyond it a child is
/// refused, as each start names all above it.
inline constexpr std::size_t child_levels_max = 64;

/// Levels that an agent puts around its state and around the replies it remembers when it goes on
/// as a new run; each of those may have `code_depth_max`.
inline constexpr std::size_t agent_input_levels = 3;

/// Levels that a command puts around what it hands on.
inline constexpr std::size_t argument_levels = 1;

static_assert(
    record_depth_max > code_depth_max + agent_input_levels + argument_levels,
    "what is recorded has to be read again");

/// True if `value` takes more than `most` bytes as JSON, give or take what is escaped. Stops
/// counting there.
[[nodiscard]] bool is_larger(const json& value, std::size_t most);

/// Takes the bytes of `value` off `left`; false, and `left` is of no use, if there are not enough.
[[nodiscard]] bool takes_from(std::size_t& left, const json& value);

/// Bytes of `value` as JSON, counted like that.
[[nodiscard]] std::size_t size_of(const json& value);

/// What becomes of a step or a run that gives more.
[[nodiscard]] failure result_too_large(std::size_t most);

/// What becomes of a command that hands on more. It is recorded without its arguments.
[[nodiscard]] failure arguments_too_large(std::size_t most);

/// What a message gets instead of a reply that is larger.
[[nodiscard]] failure reply_too_large(std::size_t most);

/// What a message gets whose handler leaves a state that is larger.
[[nodiscard]] failure state_too_large(std::size_t most);

/// What becomes of what code gives, or hands on, that no JSON says: `what` it is, and its flaw as
/// `flaw_of` words it.
[[nodiscard]] failure not_json(std::string_view what, std::string_view flaw);

/// `why` as it is read from the record: bytes that are not UTF-8 are replaced, details are written
/// as JSON is written here, and those that are no JSON become a JSON string.
[[nodiscard]] failure recordable(failure why);

/// `value` as it is read from the record, so that code gets the same before a crash and after it:
/// there an integer is `uint64` only if no `int64` holds it. Moves; changes numbers where they are.
[[nodiscard]] json as_recorded(json value);

/// What a signal or a message that is not read counts for, however short it is: it is written again
/// with its names when the run goes on as a new one.
inline constexpr std::size_t unread_overhead = 512;

/// Bytes that `event` counts for while it is not read.
[[nodiscard]] std::size_t unread_size(const run_event& event);

/// What becomes of commands beyond `turn_commands_max` and `turn_bytes_max`.
[[nodiscard]] failure too_many_commands();

}  // namespace callboard::runtime
