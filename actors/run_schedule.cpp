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
/// Lsns kept apart for those who went to sleep.
constexpr std::size_t unseen_max = 100;

std::string key_at(time_ms due) {
  return runtime::timer_key({due, 0}, entity_id{});
}

}  // namespace

void run_schedule::start(const caf::actor& self) {
  if (parts_.workflows == nullptr) return;
  must_start_ = true;
  read(self, true);
}

void run_schedule::sleeps(const runtime::next_timers& until) {
  if (until.by_shard) sleeps(by_shard_, *until.by_shard);
  if (until.by_wall) sleeps(by_wall_, *until.by_wall);
}

void run_schedule::sleeps(place& by, time_ms due) const {
  const auto at = parts_.journal.state(shard_).committed;
  auto& first = by.unseen.emplace(at, due).first->second;
  first = std::min(first, due);
  while (by.unseen.size() > unseen_max) {
    const auto oldest = by.unseen.extract(by.unseen.begin());
    auto& next = by.unseen.begin()->second;
    next = std::min(next, oldest.mapped());
  }
  look_from(by, due);
}

void run_schedule::look_from(place& by, time_ms due) {
  if (!by.next || due < *by.next) by.next = due;
  by.front = std::min(by.front, key_at(due));
}

void run_schedule::look(const caf::actor& self) {
  sweep_.look(self);
  if (must_start_) return read(self, true);
  const bool is_time =
      is_due(by_shard_, parts_.journal.shard_time(shard_)) || is_due(by_wall_, parts_.time.wall());
  if (is_time) read(self, false);
}

bool run_schedule::is_due(const place& by, time_ms now) const {
  return (by.next && *by.next <= now + ahead) || is_lap_due(by);
}

bool run_schedule::is_lap_due(const place& by) const {
  return by.next_lap && parts_.time.boot() >= *by.next_lap;
}

void run_schedule::read(const caf::actor& self, bool is_start) {
  if (is_reading_) return;
  auto by_shard = by_shard_;
  auto by_wall = by_wall_;
  if (is_start) {
    by_shard = {};
    by_wall = {.view = by_wall_.view};
  }
  auto posted = parts_.readers.post(
      reader_pool::lane::control,
      [self,
       &parts = parts_,
       shard = shard_,
       is_start,
       by_shard = std::move(by_shard),
       by_wall = std::move(by_wall)] {
        caf::anon_send(
            self, box(runs_found{find(parts, shard, by_shard, by_wall, is_start), is_start}));
      });
  is_reading_ = posted.has_value();
  // Whoever asks from now on asks for another one: this one may not see what they are about.
  if (is_reading_ && is_start) must_start_ = false;
}

/// Reader pool only.
result<runs_found::all_looks> run_schedule::find(
    const broker_parts& parts,
    shard_id shard,
    const place& by_shard,
    const place& by_wall,
    bool is_start) {
  auto reader = parts.journal.read(shard);
  if (!reader) return std::unexpected{reader.error()};
  auto first = find(parts, **reader, by_shard, parts.journal.shard_time(shard) + ahead);
  if (!first) return std::unexpected{first.error()};
  auto second = find(parts, **reader, by_wall, parts.time.wall() + ahead);
  if (!second) return std::unexpected{second.error()};
  runs_found::all_looks found{*std::move(first), *std::move(second), {}};
  if (!is_start) return found;
  auto awake = find_runs_to_wake(**reader);
  if (!awake) return std::unexpected{awake.error()};
  found.at_work = *std::move(awake);
  return found;
}

/// Reader pool only.
result<runs_found::looks> run_schedule::find(
    const broker_parts& parts, storage::shard_reader& reader, const place& by, time_ms horizon) {
  auto due = find_due_runs(reader, {by.view, by.front, {}, horizon, parts.workflows});
  if (!due) return std::unexpected{due.error()};
  runs_found::looks found;
  found.to_wake = std::move(due->due);
  found.next = due->next;
  found.has_more = !due->rest.empty();
  found.has_timers = due->has_timers;
  found.front = found.has_more ? due->rest : std::max(by.front, key_at(horizon - overlap));
  found.applied = reader.applied();
  found.has_tail = found.applied < reader.committed();
  if (by.lap < by.front) {
    auto again = find_due_runs(reader, {by.view, by.lap, by.front, horizon, parts.workflows});
    if (!again) return std::unexpected{again.error()};
    found.to_wake.insert(found.to_wake.end(), again->due.begin(), again->due.end());
    found.lap = std::move(again->rest);
    found.has_timers |= again->has_timers;
  }
  return found;
}

void run_schedule::take(place& by, runs_found::looks&& found) const {
  by.next = found.next;
  by.front = std::move(found.front);
  by.lap = std::move(found.lap);
  by.unseen.erase(by.unseen.begin(), by.unseen.upper_bound(found.applied));
  if (!found.has_more) {
    for (const auto& [at, due] : by.unseen)
      look_from(by, due);
  }
  if (!found.to_wake.empty() || !by.lap.empty()) {
    // Those that are due now stay in the view until they have fired.
    by.next_lap = parts_.time.boot();
  } else if (found.has_timers || found.has_tail || !by.next_lap) {
    by.next_lap = parts_.time.boot() + lap_pause;
  } else if (is_lap_due(by)) {
    by.next_lap.reset();
  }
}

std::vector<topic_ref> run_schedule::take(runs_found& message, const caf::actor& self) {
  is_reading_ = false;
  if (!message.found) {
    must_start_ |= message.is_start;
    log::channel("actors")->warn(
        "workflows of shard {} could not be looked up: {}",
        shard_.raw(),
        message.found.error().detail);
    return {};
  }
  auto& [by_shard, by_wall, at_work] = *message.found;
  const bool has_more = by_shard.has_more || by_wall.has_more;
  auto to_wake = by_shard.to_wake;
  to_wake.insert(to_wake.end(), by_wall.to_wake.begin(), by_wall.to_wake.end());
  to_wake.insert(to_wake.end(), at_work.begin(), at_work.end());
  take(by_shard_, std::move(by_shard));
  take(by_wall_, std::move(by_wall));
  if (must_start_) read(self, true);
  if (has_more) read(self, false);
  return to_wake;
}

}  // namespace callboard::actors
