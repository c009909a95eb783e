#include "actors/run_timers.hpp"

#include "base/time.hpp"

#include <algorithm>
#include <utility>

namespace callboard::actors {

void run_timers::add(std::chrono::milliseconds delay, work rest) {
  const auto due = later(time_.boot(), delay);
  waiting_.emplace(due, std::move(rest));
  wake_by(due);
}

void run_timers::add_at_leisure(work rest) {
  at_leisure_.push_back(std::move(rest));
  wake_by(time_.boot() + shortest_hold);
}

void run_timers::wake_by(boot_time due) {
  const auto now = time_.boot();
  const auto at = std::min(due, now + boot_time{hold_});
  if (wakes_at_ && *wakes_at_ <= at) return;
  wakes_at_ = at;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(std::max(at - now, boot_time{}));
  send_(left, [this, at] { on_wake(at); });
}

void run_timers::on_wake(boot_time meant_for) {
  const auto now = time_.boot();
  // If not, an earlier one was sent meanwhile, and this is the later one.
  if (wakes_at_ == meant_for) wakes_at_.reset();
  const auto end = waiting_.upper_bound(now);
  hold_ = end == waiting_.begin() ? std::min(2 * hold_, longest_hold) : shortest_hold;
  std::vector<work> due = std::exchange(at_leisure_, {});
  for (auto one = waiting_.begin(); one != end; ++one)
    due.push_back(std::move(one->second));
  waiting_.erase(waiting_.begin(), end);
  if (!waiting_.empty()) wake_by(waiting_.begin()->first);
  for (auto& one : due)
    one();
}

}  // namespace callboard::actors
