// Who waits for a task of a queue, as the queue keeps it: opaque to the queue, and never what a
// client said.
#pragma once

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

/// At most 300 bytes.
[[nodiscard]] std::string format_origin(const task_waiter& who);

/// Nothing for what `format_origin` did not write.
[[nodiscard]] std::optional<task_waiter> parse_origin(std::string_view origin);

}  // namespace callboard::actors
