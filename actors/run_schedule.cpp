#include "actors/run_schedule.hpp"

#include "actors/boxed.hpp"
#include "base/log.hpp"

#include <caf/send.hpp>

#include <utility>

namespace callboard::actors {

namespace {

/// A run is woken so long before its timer, and fires it itself.
constexpr auto ahead = std::chrono::milliseconds{1500};

}  // namespace

void run_schedule::start(const caf::actor& self) {
  if (parts_.workflows == nullptr) return;
  must_start_ = true;
  read(self, true);
}

void run_schedule::sleeps(time_ms due) {
  if (!next_ || due < *next_) next_ = due;
}

void run_schedule::look(const caf::actor& self) {
  sweep_.look(self);
  if (must_start_) return read(self, true);
  if (next_ && *next_ <= parts_.journal.shard_time(shard_) + ahead) read(self, false);
}

void run_schedule::read(const caf::actor& self, bool is_start) {
  if (is_reading_) return;
  auto posted = parts_.readers.post(
      reader_pool::lane::control, [self, &parts = parts_, shard = shard_, is_start] {
        const auto find = [&]() -> result<due_runs> {
          auto reader = parts.journal.read(shard);
          if (!reader) return std::unexpected{reader.error()};
          auto due = find_due_runs(**reader, parts.journal.shard_time(shard) + ahead);
          if (!due || !is_start) return due;
          auto awake = find_runs_to_wake(**reader);
          if (!awake) return std::unexpected{awake.error()};
          due->due.insert(due->due.end(), awake->begin(), awake->end());
          return due;
        };
        caf::anon_send(self, box(runs_found{find(), is_start}));
      });
  is_reading_ = posted.has_value();
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
  if (message.is_start) {
    must_start_ = false;
  } else if (must_start_) {
    read(self, true);
  }
  next_ = message.found->next;
  // Those that are due now stay in the view until they have fired.
  if (!message.found->due.empty()) sleeps(parts_.journal.shard_time(shard_));
  return std::move(message.found->due);
}

}  // namespace callboard::actors
