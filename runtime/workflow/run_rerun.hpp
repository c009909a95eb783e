// What a restart or a fork takes over from a run: its record up to the place where the code shall
// go on differently.
#pragma once

#include "base/error.hpp"
#include "runtime/workflow/run_event.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// More is not copied: it goes to the journal in one piece.
inline constexpr std::size_t rerun_events_max = 2000;
inline constexpr std::size_t rerun_bytes_max = 8U << 20;

/// True for what belongs to the copy: what happened to the run and what its code did, not how it
/// ended, was parked, or was made.
[[nodiscard]] bool is_copied(const run_event& event);

/// Finds where a record is cut. Feed it with all events in order.
class rerun_cut {
public:
  /// Index of a command, or a name: its last command. Empty: behind everything.
  explicit rerun_cut(std::string_view from);

  /// `copied` events were kept before this one.
  void take(const run_event& event, std::size_t copied);

  /// What is copied: so many events. Errors: not_found, if there is no such command.
  [[nodiscard]] result<std::size_t> count(std::size_t copied) const;

  /// The command behind the cut; 0 if there is none.
  [[nodiscard]] std::uint32_t command() const { return command_; }

  [[nodiscard]] const std::string& name() const { return name_; }

private:
  std::string from_;
  std::uint32_t index_ = 0;
  std::uint32_t command_ = 0;
  std::string name_;
  std::size_t at_ = 0;
};

}  // namespace callboard::runtime
