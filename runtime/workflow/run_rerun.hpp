// What a restart or a fork takes over from a run: its record up to the place where the code shall
// go on differently.
#pragma once

#include "base/error.hpp"
#include "runtime/workflow/run_event.hpp"
#include "runtime/workflow/signal_ledger.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
  /// Where the cut is: what was signalled from here on is taken over, too. Nothing: there is no
  /// cut, or nobody wants it.
  std::optional<sequence> signals_from;
  /// Of the signals before the cut, those that its code had not read there.
  std::size_t unread_bytes = 0;
  /// A cancel stands before the cut.
  bool keeps_cancel = false;
};

/// True for what belongs to the copy: what happened to the run, what its code did and which, not
/// how it ended, was parked, or was made.
[[nodiscard]] bool is_copied(const run_event& event);

/// Finds where a record is cut. Feed it with all events of the run in order. Bound: what
/// `signal_ledger` needs, and a place per signal of those in a row.
class rerun_cut {
public:
  /// Index of a command, or a name: its last command. Empty: behind everything.
  explicit rerun_cut(std::string_view from);

  void take(const run_event& event, sequence at);

  /// Errors: not_found, if there is no such command.
  [[nodiscard]] result<rerun_plan> plan() const;

private:
  struct place {
    std::size_t events = 0;
    sequence at{};
    std::size_t unread_bytes = 0;
  };

  struct cut {
    place at;
    std::uint32_t command = 0;
    std::string name;
    bool keeps_cancel = false;
  };

  /// `event` is the next that is copied.
  void follow(const run_event& event, const place& here);

  std::string from_;
  std::uint32_t index_ = 0;
  /// Of everything.
  rerun_plan whole_;
  std::optional<cut> cut_;
  signal_ledger signals_;
  bool is_cancelled_ = false;
  /// Of the signals since anything else.
  std::vector<place> row_;
  /// Before the signals that an earlier restart took over, if nothing has come since.
  std::optional<place> taken_over_;
};

}  // namespace callboard::runtime
