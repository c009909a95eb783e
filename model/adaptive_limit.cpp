#include "model/adaptive_limit.hpp"

#include <algorithm>

namespace callboard::model {

namespace {

/// How many tenants are known by name.
constexpr std::size_t tenants_max = 1000;

}  // namespace

adaptive_limit::adaptive_limit(std::uint32_t min, std::uint32_t max, std::uint32_t start)
    : min_{static_cast<double>(std::max(min, 1U))},
      max_{std::max(min_, static_cast<double>(max))},
      limit_{std::clamp(static_cast<double>(start), min_, max_)} {}

adaptive_limit::generation adaptive_limit::begin(const std::string& tenant) {
  ++in_flight_;
  ++open_[tenant];
  return generation_;
}

void adaptive_limit::succeeded(const std::string& tenant, generation began) {
  if (began == generation_) refused_.erase(tenant);
  if (answered_.size() < tenants_max) answered_.insert(tenant);
  // A limit that is not used is not known to be right: only a busy one grows.
  if (in_flight_ * 2.0 >= limit_) limit_ = std::min(max_, limit_ + 1.0 / limit_);
  ended(tenant);
}

void adaptive_limit::overloaded(const std::string& tenant, generation began) {
  ended(tenant);
  answered_.erase(tenant);
  if (began != generation_ || (refused_.contains(tenant) && others_fare_well())) return;
  if (refused_.size() >= tenants_max) refused_.clear();
  refused_.insert(tenant);
  answered_.clear();
  limit_ = std::max(min_, limit_ / 2.0);
  ++generation_;
}

bool adaptive_limit::others_fare_well() const {
  if (!answered_.empty()) return true;
  return std::ranges::any_of(
      open_, [this](const auto& one) { return !refused_.contains(one.first); });
}

void adaptive_limit::ended(const std::string& tenant) {
  const auto its = open_.find(tenant);
  if (its == open_.end()) return;
  if (--its->second == 0) open_.erase(its);
  --in_flight_;
}

}  // namespace callboard::model
