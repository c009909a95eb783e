// What a run takes in, and who waits for what becomes of it.
#pragma once

#include "actors/requests.hpp"
#include "actors/run_notes.hpp"
#include "runtime/workflow/run_event.hpp"
#include "runtime/workflow/run_row.hpp"

#include <caf/actor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::actors {

/// Gets one answer.
struct run_waiter {
  correlation_id correlation{};
  caf::actor reply_to;
  enum class ask : std::uint8_t {
    start,
    signal,
    cancel,
    child_end,
    call,
    task_end,
    terminate,
    rerun,
    resolve,
    watch
  } what = ask::start;
  std::uint32_t wait_ms = 0;
  /// `call`: id of the message; `watch`: which command watches.
  std::string message;
  /// `resolve`, `child_end`, `task_end`
  std::uint32_t command = 0;
  /// It says something else than the one that it waits with, and is refused once that is on disk.
  bool is_conflict = false;
};

/// What is said of that by the workflow `id`.
[[nodiscard]] error conflict_of(const run_waiter& with, const std::string& id);

/// Worked on one at a time.
struct run_input {
  runtime::run_event event;
  std::optional<step_result> step;
  std::vector<run_waiter> waiters;
  /// That it is for; 0: the one that is current when it is offered.
  std::uint32_t run = 0;
  std::shared_ptr<const begin_rerun> rerun = nullptr;
  /// A cancel that the parent asks for.
  bool is_by_parent = false;
  /// Of a signal or a message.
  std::size_t bytes = 0;
};

[[nodiscard]] run_input input_of(const runtime::run_cancel& wish);

}  // namespace callboard::actors
