// What a run wants done later, kept in its actor: few messages are on their way through the clock
// of the actor system, which wakes a thread for each and keeps the actor in memory until it is
// there.
#pragma once

#include "base/clock.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <vector>

namespace callboard::actors {

/// Used in one actor only. Lives as long as the actor's behaviour.
class run_timers {
public:
  using work = std::move_only_function<void()>;
  /// Has the actor do `work` after a time, or somewhat earlier.
  using sender = std::function<void(std::chrono::milliseconds, work)>;

  run_timers(const clock& time, sender send) : time_{time}, send_{std::move(send)} {}

  /// Not before `delay` is over.
  void add(std::chrono::milliseconds delay, work rest);

  /// When the actor is woken next, within a second.
  void add_at_leisure(work rest);

private:
  void wake_by(boot_time due);
  void on_wake(boot_time meant_for);

  const clock& time_;
  sender send_;
  std::multimap<boot_time, work> waiting_;
  std::vector<work> at_leisure_;
  /// The next message that is on its way.
  std::optional<boot_time> wakes_at_;
  std::chrono::milliseconds hold_ = shortest_hold;

  /// A message is on its way for no longer than this, twice as long each time nothing was due.
  static constexpr std::chrono::milliseconds shortest_hold{1000};
  static constexpr std::chrono::milliseconds longest_hold{8000};
};

}  // namespace callboard::actors
