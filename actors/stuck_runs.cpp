#include "actors/stuck_runs.hpp"

#include <utility>

namespace callboard::actors {

void stuck_runs::note(const std::string& key, failure why) {
  const std::lock_guard lock{mutex_};
  if (runs_.size() >= stuck_runs_max && !runs_.contains(key)) return;
  runs_.insert_or_assign(key, std::move(why));
}

void stuck_runs::clear(const std::string& key) {
  const std::lock_guard lock{mutex_};
  runs_.erase(key);
}

std::optional<failure> stuck_runs::find(const std::string& key) const {
  const std::lock_guard lock{mutex_};
  const auto found = runs_.find(key);
  return found == runs_.end() ? std::nullopt : std::optional{found->second};
}

}  // namespace callboard::actors
