#include "model/adaptive_limit.hpp"

#include <algorithm>

namespace callboard::model {

adaptive_limit::adaptive_limit(std::uint32_t min, std::uint32_t max, std::uint32_t start)
    : min_{static_cast<double>(std::max(min, 1U))},
      max_{std::max(min_, static_cast<double>(max))},
      limit_{std::clamp(static_cast<double>(start), min_, max_)} {}

adaptive_limit::generation adaptive_limit::begin() {
  ++in_flight_;
  return generation_;
}

void adaptive_limit::succeeded(const std::string& tenant, generation began) {
  if (began == generation_) {
    refused_.erase(tenant);
    is_answered_ = true;
  }
  // A limit that is not used is not known to be right: only a busy one grows.
  if (in_flight_ * 2.0 >= limit_) limit_ = std::min(max_, limit_ + 1.0 / limit_);
  ended();
}

void adaptive_limit::overloaded(const std::string& tenant, generation began) {
  constexpr std::size_t refused_max = 1000;
  const bool is_its_own = is_answered_ && refused_.contains(tenant);
  if (began == generation_ && !is_its_own) {
    if (refused_.size() >= refused_max) refused_.clear();
    refused_.insert(tenant);
    is_answered_ = false;
    limit_ = std::max(min_, limit_ / 2.0);
    ++generation_;
  }
  ended();
}

void adaptive_limit::ended() {
  if (in_flight_ > 0) --in_flight_;
}

}  // namespace callboard::model
