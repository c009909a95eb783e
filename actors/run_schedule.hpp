// Which runs of a shard must be woken: those that were at work when it started, and those whose
// timers come due. Part of the SHARD actor, used by it alone.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/run_alarms.hpp"
#include "actors/run_reads.hpp"
#include "actors/run_sweep.hpp"

#include <caf/actor.hpp>

#include <map>
#include <optional>
#include <vector>

namespace callboard::actors {

/// INTERNAL, READER POOL -> SHARD: runs to be woken.
struct runs_found {
  /// By the timers of one clock.
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
    /// What the rows stood for, and whether more was committed than they show.
    lsn applied{};
    bool has_tail = false;
  };

  struct all_looks {
    looks by_shard;
    looks by_wall;
    /// At a start: those that were at work.
    std::vector<topic_ref> at_work;
  };

  result<all_looks> found;
  bool is_start = false;
};

/// INTERNAL: look at timers again.
struct schedule_tick {};

/// Timers of sleeping runs are read from disk shortly before they are due; in memory is only when
/// to look next, and up to where was looked: what becomes due is read once, page after page. What
/// is still there behind that, because the run could not be woken or its timer came late into the
/// views, is looked at again by laps, a page at a time: however much it is, it holds up nobody. A
/// run that is awake keeps its own. The same for each of the two clocks that timers go by.
class run_schedule {
public:
  run_schedule(const broker_parts& parts, shard_id shard)
      : parts_{parts}, shard_{shard}, sweep_{parts, shard} {}

  /// Reads who was at work; again after every new activation.
  void start(const caf::actor& self);

  /// A run went to sleep until then.
  void sleeps(const runtime::next_timers& until);

  /// A run could not be read now, perhaps one that was to be woken: reads again who was at work.
  void look_again() { must_start_ = parts_.workflows != nullptr; }

  /// Reads what is due soon, if there may be something. Call every `tick`.
  void look(const caf::actor& self);

  /// Takes the answer of a read; says which runs to wake.
  [[nodiscard]] std::vector<topic_ref> take(runs_found& message, const caf::actor& self);

  static constexpr std::chrono::milliseconds tick = run_alarms::tick;

private:
  /// How far the timers of one clock were looked at.
  struct place {
    storage::view_id view = storage::view_id::workflow_timer;
    std::optional<time_ms> next{};
    /// Keys of timers: all before `front` were looked at, and of those again all before `lap`.
    std::string front{};
    std::string lap{};
    /// Nothing: the last one found no timer in rows that show all there was.
    std::optional<boot_time> next_lap{};
    /// Sleepers whose timers may be in no row yet: when the first of them is due, by what was
    /// committed when they went to sleep. Gone with a look at rows that stand for that.
    std::map<lsn, time_ms> unseen{};
  };

  void read(const caf::actor& self, bool is_start);
  void sleeps(place& by, time_ms due) const;
  static void look_from(place& by, time_ms due);
  [[nodiscard]] bool is_due(const place& by, time_ms now) const;
  [[nodiscard]] bool is_lap_due(const place& by) const;
  void take(place& by, runs_found::looks&& found) const;
  [[nodiscard]] static result<runs_found::all_looks> find(
      const broker_parts& parts,
      shard_id shard,
      const place& by_shard,
      const place& by_wall,
      bool is_start);
  [[nodiscard]] static result<runs_found::looks>
  find(const broker_parts& parts, storage::shard_reader& reader, const place& by, time_ms horizon);

  const broker_parts& parts_;
  const shard_id shard_;
  place by_shard_;
  place by_wall_{.view = storage::view_id::workflow_wall_timer};
  bool is_reading_ = false;
  /// A start was asked for that no read has been posted for.
  bool must_start_ = false;
  run_sweep sweep_;
};

}  // namespace callboard::actors
