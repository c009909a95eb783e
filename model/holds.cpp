#include "model/holds.hpp"

#include <algorithm>

namespace callboard::model {

void holds::add(
    const std::string& model, const std::string& tenant, boot_time until, boot_time now) {
  // Names of models come from callers.
  constexpr std::size_t holds_max = 1000;
  std::erase_if(own_, [now](const auto& one) { return one.second.until <= now; });
  std::erase_if(all_, [now](const auto& one) { return one.second <= now; });
  if (own_.size() >= holds_max && !own_.contains({model, tenant})) return;
  auto& its_own = own_[{model, tenant}];
  its_own = {now, std::max(its_own.until, until)};
  boot_time of_others{};
  for (auto at = own_.lower_bound({model, {}}); at != own_.end() && at->first.first == model;
       ++at) {
    if (at->first.second != tenant) of_others = std::max(of_others, at->second.until);
  }
  // As long as two of them say.
  const auto agreed = std::min(until, of_others);
  if (agreed <= now) return;
  auto& all = all_[model];
  all = std::max(all, agreed);
}

bool holds::lift(
    const std::string& model, const std::string& tenant, boot_time began, boot_time now) {
  const auto its_own = own_.find({model, tenant});
  const bool is_held = its_own != own_.end() && its_own->second.until > now;
  if (is_held && its_own->second.since >= began) return false;
  if (is_held) own_.erase(its_own);
  return all_.erase(model) > 0 || is_held;
}

boot_time holds::until(const std::string& model, const std::string& tenant) const {
  const auto all = all_.find(model);
  const auto its_own = own_.find({model, tenant});
  return std::max(
      all == all_.end() ? boot_time{} : all->second,
      its_own == own_.end() ? boot_time{} : its_own->second.until);
}

bool holds::is_unheard(const std::string& model, const std::string& tenant, boot_time now) const {
  const auto all = all_.find(model);
  if (all == all_.end() || all->second <= now) return false;
  const auto its_own = own_.find({model, tenant});
  return its_own == own_.end() || its_own->second.until <= now;
}

std::vector<std::string> holds::models(boot_time now) const {
  std::vector<std::string> out;
  for (const auto& [model, until] : all_) {
    if (until > now) out.push_back(model);
  }
  return out;
}

boot_time holds::last() const {
  // Those for all are no longer than one's own.
  boot_time last{};
  for (const auto& [whose, one] : own_)
    last = std::max(last, one.until);
  return last;
}

}  // namespace callboard::model
