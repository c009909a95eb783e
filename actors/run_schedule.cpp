#include "actors/run_schedule.hpp"

#include "actors/boxed.hpp"
#include "base/log.hpp"
#include "runtime/workflow/run_row.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

/// A run is woken so long before its timer, and fires it itself.
constexpr auto ahead = std::chrono::milliseconds{1500};
/// Views follow the journal by less than that, as a rule; a lap finds what came later.
constexpr auto overlap = std::chrono::milliseconds{5000};
/// Before a lap, where the last one found nobody to wake.
constexpr std::chrono::seconds lap_pause{10};

std::string key_at(time_ms due) {
  return runtime::timer_key({due, 0}, entity_id{});
}

}  // namespace

void run_schedule::start(const caf::actor& self) {
  if (parts_.workflows == nullptr) return;
  must_start_ = true;
  read(self, true);
}

void run_schedule::sleeps(time_ms due) {
  if (!next_ || due < *next_) next_ = due;
  front_ = std::min(front_, key_at(due));
  if (is_reading_) slept_ = std::min(slept_.value_or(due), due);
}

void run_schedule::look(const caf::actor& self) {
  sweep_.look(self);
  if (must_start_) return read(self, true);
  const bool is_due = next_ && *next_ <= parts_.journal.shard_time(shard_) + ahead;
  if (is_due || is_lap_due()) read(self, false);
}

bool run_schedule::is_lap_due() const {
  return next_lap_ && parts_.time.boot() >= *next_lap_;
}

void run_schedule::read(const caf::actor& self, bool is_start) {
  if (is_reading_) return;
  auto posted = parts_.readers.post(
      reader_pool::lane::control,
      [self,
       &parts = parts_,
       shard = shard_,
       is_start,
       front = is_start ? std::string{} : front_,
       lap = is_start ? std::string{} : lap_] {
        caf::anon_send(self, box(runs_found{find(parts, shard, front, lap, is_start), is_start}));
      });
  is_reading_ = posted.has_value();
}

/// Reader pool only.
result<runs_found::looks> run_schedule::find(
    const broker_parts& parts,
    shard_id shard,
    const std::string& front,
    const std::string& lap,
    bool is_start) {
  auto reader = parts.journal.read(shard);
  if (!reader) return std::unexpected{reader.error()};
  const auto horizon = parts.journal.shard_time(shard) + ahead;
  auto due = find_due_runs(**reader, {front, {}, horizon, parts.workflows});
  if (!due) return std::unexpected{due.error()};
  runs_found::looks found;
  found.to_wake = std::move(due->due);
  found.next = due->next;
  found.has_more = !due->rest.empty();
  found.has_timers = due->has_timers;
  found.front = found.has_more ? due->rest : std::max(front, key_at(horizon - overlap));
  if (lap < front) {
    auto again = find_due_runs(**reader, {lap, front, horizon, parts.workflows});
    if (!again) return std::unexpected{again.error()};
    found.to_wake.insert(found.to_wake.end(), again->due.begin(), again->due.end());
    found.lap = std::move(again->rest);
    found.has_timers |= again->has_timers;
  }
  if (!is_start) return found;
  auto awake = find_runs_to_wake(**reader);
  if (!awake) return std::unexpected{awake.error()};
  found.to_wake.insert(found.to_wake.end(), awake->begin(), awake->end());
  return found;
}

std::vector<topic_ref> run_schedule::take(runs_found& message, const caf::actor& self) {
  is_reading_ = false;
  if (!message.found) {
    log::channel("actors")->warn(
        "workflows of shard {} could not be looked up: {}",
        shard_.raw(),
        message.found.error().detail);
    return {};
  }
  auto& found = *message.found;
  next_ = found.next;
  front_ = std::move(found.front);
  lap_ = std::move(found.lap);
  if (const auto slept = std::exchange(slept_, std::nullopt)) sleeps(*slept);
  if (!found.to_wake.empty() || !lap_.empty()) {
    // Those that are due now stay in the view until they have fired.
    next_lap_ = parts_.time.boot();
  } else if (found.has_timers || !next_lap_) {
    next_lap_ = parts_.time.boot() + lap_pause;
  } else if (is_lap_due()) {
    next_lap_.reset();
  }
  if (message.is_start) {
    must_start_ = false;
  } else if (must_start_) {
    read(self, true);
  }
  if (found.has_more) read(self, false);
  return std::move(found.to_wake);
}

}  // namespace callboard::actors
