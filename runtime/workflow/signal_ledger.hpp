// Which signals of a run nobody has read, and which commands wait for one: by its record alone, so
// also where its code is gone, hangs, or does something else now.
#pragma once

#include "runtime/workflow/run_event.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace callboard::runtime {

/// Takes the events of one run in their order. Where one turn had several inputs, they all stand
/// before what the code did about each; a command that was cancelled then had no signal after all,
/// as none is cancelled that has one. Bound: a number per unread signal, per command that waits for
/// one, and per command of the current turn.
class signal_ledger {
public:
  /// Gives the command that has a signal now: the first that waited for the one that came, or the
  /// one that was issued, if there was a signal for it.
  std::optional<std::uint32_t> take(const run_event& event);

  [[nodiscard]] std::size_t unread_count() const { return unread_count_; }

  /// As `unread_size` counts.
  [[nodiscard]] std::size_t unread_bytes() const { return unread_bytes_; }

private:
  std::optional<std::uint32_t> on_signal(const run_event& event);
  std::optional<std::uint32_t> on_reader(const run_event& event);
  void on_end_of(std::uint32_t command);
  /// What a cancelled command was thought to have goes to who is next.
  std::optional<std::uint32_t> on_cancelled(std::uint32_t command);

  /// Sizes, the oldest first, and readers, the first of whom gets the next signal; by name.
  std::map<std::string, std::deque<std::size_t>> unread_;
  std::map<std::string, std::set<std::uint32_t>> readers_;
  std::map<std::uint32_t, std::string> names_;
  /// Of the turn that is being read: names and sizes, by the command that has the signal.
  std::map<std::uint32_t, std::pair<std::string, std::size_t>> given_;
  bool is_behind_output_ = false;
  std::size_t unread_count_ = 0;
  std::size_t unread_bytes_ = 0;
};

}  // namespace callboard::runtime
