// What a run is told by those it waits for: bodies of control_request that no client sends.
#pragma once

#include "actors/task_origin.hpp"
#include "base/names.hpp"
#include "runtime/queue/queue_commands.hpp"

#include <cstdint>
#include <string>

namespace callboard::actors {

/// Tells the run of a parent how its child ended.
struct end_child {
  topic_ref topic;
  std::uint32_t run = 1;
  std::uint32_t command = 0;
  /// Of the parent that the child was started by; 0: it had none.
  std::uint64_t incarnation = 0;
  /// JSON; of a child that completed.
  std::string result;
  /// JSON (`runtime::describe_failure`) of one that did not; else empty.
  std::string why;
};

/// Tells a run how a task that it enqueued has ended; again and again until the answer says that it
/// is on disk, or that the run does not wait for it.
struct end_task {
  topic_ref topic;
  task_waiter who;
  runtime::task_end how = runtime::task_end::completed;
  /// Those that ended and counted.
  std::uint32_t attempts = 0;
  /// The result, or the last error.
  std::string text;
};

}  // namespace callboard::actors
