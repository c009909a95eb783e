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

namespace callboard::runtime {

/// Takes the events of one run in their order. Bound: a number per unread signal and per command
/// that waits for one.
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

  /// Sizes, the oldest first, and readers, the first of whom gets the next signal; by name.
  std::map<std::string, std::deque<std::size_t>> unread_;
  std::map<std::string, std::set<std::uint32_t>> readers_;
  std::map<std::uint32_t, std::string> names_;
  std::size_t unread_count_ = 0;
  std::size_t unread_bytes_ = 0;
};

}  // namespace callboard::runtime
