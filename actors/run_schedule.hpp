// Which runs of a shard must be woken: those that were at work when it started, and those whose
// timers come due. Part of the SHARD actor, used by it alone.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/run_alarms.hpp"
#include "actors/run_reads.hpp"
#include "actors/run_sweep.hpp"

#include <caf/actor.hpp>

#include <optional>
#include <vector>

namespace callboard::actors {

/// INTERNAL, READER POOL -> SHARD: runs to be woken.
struct runs_found {
  struct looks {
    std::vector<topic_ref> to_wake;
    std::optional<time_ms> next;
    /// Where the next looks begin.
    std::string front;
    std::string lap;
    /// More is due that was not looked at.
    bool has_more = false;
    /// Some timer is due, also of who cannot be woken.
    bool has_timers = false;
  };

  result<looks> found;
  bool is_start = false;
};

/// INTERNAL: look at timers again.
struct schedule_tick {};

/// Timers of sleeping runs are read from disk shortly before they are due; in memory is only when
/// to look next, and up to where was looked: what becomes due is read once, page after page. What
/// is still there behind that, because the run could not be woken or its timer came late into the
/// views, is looked at again by laps, a page at a time: however much it is, it holds up nobody. A
/// run that is awake keeps its own.
class run_schedule {
public:
  run_schedule(const broker_parts& parts, shard_id shard)
      : parts_{parts}, shard_{shard}, sweep_{parts, shard} {}

  /// Reads who was at work; again after every new activation.
  void start(const caf::actor& self);

  /// A run went to sleep until then.
  void sleeps(time_ms due);

  /// A run could not be read now, perhaps one that was to be woken: reads again who was at work.
  void look_again() { must_start_ = parts_.workflows != nullptr; }

  /// Reads what is due soon, if there may be something. Call every `tick`.
  void look(const caf::actor& self);

  /// Takes the answer of a read; says which runs to wake.
  [[nodiscard]] std::vector<topic_ref> take(runs_found& message, const caf::actor& self);

  static constexpr std::chrono::milliseconds tick = run_alarms::tick;

private:
  void read(const caf::actor& self, bool is_start);
  [[nodiscard]] bool is_lap_due() const;
  [[nodiscard]] static result<runs_found::looks> find(
      const broker_parts& parts,
      shard_id shard,
      const std::string& front,
      const std::string& lap,
      bool is_start);

  const broker_parts& parts_;
  const shard_id shard_;
  std::optional<time_ms> next_;
  /// Keys of timers: all before `front_` were looked at, and of those again all before `lap_`.
  std::string front_;
  std::string lap_;
  /// Nothing: the last one found no timer, and none was due since.
  std::optional<boot_time> next_lap_;
  /// Somebody went to sleep while a look was under way.
  std::optional<time_ms> slept_;
  bool is_reading_ = false;
  bool must_start_ = false;
  run_sweep sweep_;
};

}  // namespace callboard::actors
