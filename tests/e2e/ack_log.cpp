#include "tests/e2e/ack_log.hpp"

#include <set>

namespace callboard::testing {

void ack_log::acked(std::string_view topic, std::string_view id, std::uint64_t seq) {
  const std::lock_guard lock{mutex_};
  const auto [entry, is_new] = acks_[std::string{topic}].try_emplace(std::string{id}, seq);
  if (is_new) ++count_;
  if (entry->second == seq) return;
  broken_.push_back(
      std::string{topic} + ": " + std::string{id} + " acked at " + std::to_string(entry->second)
      + " and later at " + std::to_string(seq));
}

void ack_log::broken(std::string what) {
  const std::lock_guard lock{mutex_};
  broken_.push_back(std::move(what));
}

std::uint64_t ack_log::count() const {
  const std::lock_guard lock{mutex_};
  return count_;
}

std::vector<std::string> ack_log::check(broker& node) {
  const std::lock_guard lock{mutex_};
  auto violations = broken_;
  for (const auto& [topic, acks] : acks_) {
    const auto events = node.history(topic);
    std::set<std::string> seen;
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (events[i].seq != i + 1) {
        violations.push_back(topic + ": no seq " + std::to_string(i + 1));
        break;
      }
      if (!seen.insert(events[i].id).second) {
        violations.push_back(topic + ": twice in history: " + events[i].id);
      }
    }
    for (const auto& [id, seq] : acks) {
      if (seq == 0 || seq > events.size()) {
        violations.push_back(topic + ": acked and lost: " + id + " at " + std::to_string(seq));
      } else if (events[seq - 1].id != id) {
        violations.push_back(topic + ": another event at the seq of " + id);
      }
    }
  }
  return violations;
}

}  // namespace callboard::testing
