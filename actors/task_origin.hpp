// Whom a task of a queue is for, as the queue keeps it: opaque to the queue, and never what a
// client said.
#pragma once

#include "base/ids.hpp"
#include "base/names.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::actors {

/// The command of a run that waits for a task.
struct task_waiter {
  /// The run's channel, in the queue's tenant.
  std::string channel;
  std::uint32_t run = 1;
  std::uint32_t command = 0;
  /// The workflow's incarnation: another that is started later under its id has another. Of runs
  /// that have none, their seed.
  std::uint64_t seed = 0;

  friend bool operator==(const task_waiter&, const task_waiter&) = default;
};

/// The event that a binding has enqueued it for: it is known until the binding delivers that no
/// more.
struct task_event {
  group_name group;
  /// In the queue's tenant.
  topic_name topic;
  std::string epoch;
  sequence seq{};

  friend bool operator==(const task_event&, const task_event&) = default;
};

/// At most 300 bytes.
[[nodiscard]] std::string format_origin(const task_waiter& who);

/// Nothing for what `format_origin` did not write.
[[nodiscard]] std::optional<task_waiter> parse_origin(std::string_view origin);

/// The same for an event; at most 500 bytes.
[[nodiscard]] std::string format_event_origin(const task_event& what);
[[nodiscard]] std::optional<task_event> parse_event_origin(std::string_view origin);

}  // namespace callboard::actors
