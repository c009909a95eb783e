#include "actors/run_alarms.hpp"

#include "base/time.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace callboard::actors {

void run_alarms::send_later(
    caf::event_based_actor& self, std::chrono::milliseconds delay, run_continuation rest) {
  if (!is_rung_ || delay < 2 * tick) return self.delayed_send(&self, delay, box(std::move(rest)));
  const std::lock_guard guard{mutex_};
  waiting_.push_back(
      {later(time_.boot(), delay), caf::actor_cast<caf::weak_actor_ptr>(&self), std::move(rest)});
}

void run_alarms::ring() {
  const auto by = time_.boot() + tick;
  std::vector<alarm> due;
  {
    const std::lock_guard guard{mutex_};
    const auto later = std::partition(
        waiting_.begin(), waiting_.end(), [&](const alarm& one) { return one.due <= by; });
    due.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(later));
    waiting_.erase(waiting_.begin(), later);
  }
  for (auto& one : due) {
    const auto who = one.who.lock();
    if (who) caf::anon_send(caf::actor_cast<caf::actor>(who), box(std::move(one.rest)));
  }
}

}  // namespace callboard::actors
