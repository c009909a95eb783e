// What the history of a run consists of. Each event is stored and published as one CloudEvent on
// the run's channel (run_codec.hpp); together they are all that a run is.
#pragma once

#include "base/ids.hpp"

#include <algorithm>
#include <callboard/command.hpp>
#include <callboard/failure.hpp>
#include <callboard/json.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace callboard::runtime {

enum class run_event_kind : std::uint8_t {
  // Inputs: what happened to the run.
  started,
  /// A command ended well.
  completed,
  /// An attempt of a step failed and will be followed by another.
  attempt_failed,
  /// A command failed for good.
  failed,
  timer_fired,
  signalled,
  cancel_requested,
  // Outputs: what the run's code did about it.
  issued,
  command_cancelled,
  ended,
  /// The parent has recorded how this child ended.
  parent_told,
  /// The run begins with a copy of what another recorded; `name` says how: restarted or forked.
  rerun,
  /// Another build of the program has taken the run over.
  build_changed,
  /// The code fits the history again.
  unblocked,
  /// Of a restart or a fork: what was copied ends here. From here on the run draws numbers of its
  /// own (`data` has the seed), and its time is that of this event. Signals that came behind the
  /// cut stand right before it (`data` has their number).
  parted,
};

[[nodiscard]] constexpr bool is_input(run_event_kind kind) {
  return kind < run_event_kind::issued;
}

/// Whatever comes after it says nothing about the command.
[[nodiscard]] constexpr bool ends_command(run_event_kind kind) {
  using enum run_event_kind;
  return kind == completed || kind == failed || kind == timer_fired;
}

enum class run_status : std::uint8_t { running, completed, failed, cancelled, continued, blocked };

[[nodiscard]] std::string_view name_of(run_status status);
[[nodiscard]] std::optional<run_status> run_status_named(std::string_view name);

[[nodiscard]] std::string_view name_of(command_kind kind);
[[nodiscard]] std::optional<command_kind> command_kind_named(std::string_view name);

/// Code of an attempt of a model call that this process knows nothing of: the one before it ended
/// while it may have been under way. It counts as an attempt that was not made.
inline constexpr std::string_view interrupted_code = "interrupted";

struct run_event {
  run_event_kind kind{};
  /// Of the shard, when the event was recorded.
  time_ms time{};
  /// 1-based; 0 where no command is concerned.
  std::uint32_t command = 0;
  /// Of the command, or the signal's.
  std::string name;
  /// `issued`: which command.
  command_kind what{};
  /// Attempts that ended, this one included.
  std::uint32_t attempt = 0;
  /// Input, result, payload, or arguments of a command.
  json data;
  std::optional<failure> why;
  /// Timers: when by shard time, or by the wall clock (`is_by_wall`). `attempt_failed`: when the
  /// next attempt is due. `timer_fired` and `started`: `time` is behind the wall clock, and the
  /// code has slept until then; its own clock shows no less.
  std::optional<time_ms> due;
  /// Of a signal or a start, so that a repetition is known.
  std::string id;
  run_status status = run_status::running;
  /// That a stored event belongs to; 0 elsewhere.
  std::uint32_t run = 0;
  /// Of a command that was ended by hand: how, who and why; else null.
  json by_hand;
  /// `attempt_failed`: it asked to come back later, and counts as no attempt.
  bool is_deferred = false;
  /// `started`: the workflow was cancelled before the code of this run began.
  bool is_cancelled = false;
};

/// Of an `issued`: its `due` is a time of the wall clock.
[[nodiscard]] inline bool is_by_wall(const run_event& issued) {
  const auto* arguments = issued.data.if_object();
  const auto* clock = arguments == nullptr ? nullptr : arguments->if_contains("clock");
  return issued.what == command_kind::sleep && clock != nullptr && *clock == "wall";
}

/// The highest index of a command among these; 0 if there is none.
[[nodiscard]] inline std::uint32_t last_command(std::span<const run_event> history) {
  std::uint32_t last = 0;
  for (const auto& event : history) {
    if (event.kind == run_event_kind::issued) last = std::max(last, event.command);
  }
  return last;
}

}  // namespace callboard::runtime
