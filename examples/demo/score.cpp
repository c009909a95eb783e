#include "examples/demo/score.hpp"

namespace callboard::demo {

void score::published(const std::string& id) {
  const std::lock_guard lock{mutex_};
  events_.try_emplace(id);
  ++totals_.published;
}

void score::retried() {
  const std::lock_guard lock{mutex_};
  ++totals_.retried;
}

void score::acked(const std::string& id, bool duplicate) {
  const std::lock_guard lock{mutex_};
  auto& event = events_[id];
  if (event.acked) return;
  event.acked = true;
  ++totals_.acked;
  if (duplicate) ++totals_.already_stored;
}

void score::delivered(const std::string& id, std::uint64_t seq) {
  const std::lock_guard lock{mutex_};
  ++totals_.delivered;
  if (++events_[id].deliveries > 1 || seq <= last_seq_) ++totals_.duplicated;
  last_seq_ = seq;
}

totals score::count() const {
  const std::lock_guard lock{mutex_};
  auto now = totals_;
  for (const auto& [id, event] : events_) {
    if (event.acked && event.deliveries == 0) ++now.lost;
  }
  return now;
}

}  // namespace callboard::demo
