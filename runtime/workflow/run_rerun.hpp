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

/// A record is copied in slices, each of which goes to the journal in one piece: so many events, or
/// one that is larger than so many bytes.
inline constexpr std::size_t rerun_slice_events_max = 500;
inline constexpr std::size_t rerun_slice_bytes_max = 1U << 20;

/// What a restart or a fork copies.
struct rerun_plan {
  /// The first event of the run.
  run_event start;
  sequence first{};
  /// That are copied, the start included.
  std::size_t events = 0;
  /// The command behind the cut; 0 and empty if there is none.
  std::uint32_t command = 0;
  std::string command_name;
};

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
