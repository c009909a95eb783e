// What the runs of a shard want done in a while: told by the tick that their shard has anyway. A
// message through the clock of the actor system wakes its thread, and most runs have ended before
// it is due.
#pragma once

#include "actors/boxed.hpp"
#include "actors/run_host.hpp"
#include "base/clock.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include <chrono>
#include <mutex>
#include <vector>

namespace callboard::actors {

/// One for each shard, kept by it and its topics. Keeps no actor in memory. Any thread.
class run_alarms {
public:
  /// How often `ring` is called.
  static constexpr std::chrono::milliseconds tick{500};

  /// `is_rung` false: `ring` is never called, all goes through the clock.
  run_alarms(const clock& time, bool is_rung) : time_{time}, is_rung_{is_rung} {}

  /// Has `self` do `rest` after `delay`, or up to a tick before if that is two ticks or more.
  void
  send_later(caf::event_based_actor& self, std::chrono::milliseconds delay, run_continuation rest);

  /// Sends what is due by the next tick to who is still there.
  void ring();

private:
  struct alarm {
    boot_time due{};
    caf::weak_actor_ptr who;
    run_continuation rest;
  };

  const clock& time_;
  const bool is_rung_;
  std::mutex mutex_;
  std::vector<alarm> waiting_;
};

}  // namespace callboard::actors
