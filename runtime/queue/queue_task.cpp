#include "runtime/queue/queue_task.hpp"

#include "base/hash.hpp"

#include <algorithm>
#include <limits>

namespace callboard::runtime {

void append_attempts(std::vector<task_attempt>& history, const std::vector<task_attempt>& more) {
  history.insert(history.end(), more.begin(), more.end());
  if (history.size() <= task_history_max) return;
  history.erase(
      history.begin(),
      history.begin() + static_cast<std::ptrdiff_t>(history.size() - task_history_max));
}

std::uint64_t fairness_hash(std::string_view key) {
  if (key.empty()) return 0;
  return std::clamp<std::uint64_t>(hash_64(key), 1, std::numeric_limits<std::uint64_t>::max() - 1);
}

}  // namespace callboard::runtime
