#include "model/holds.hpp"

#include <algorithm>

namespace callboard::model {

void holds::add(
    const std::string& model, const std::string& tenant, boot_time until, boot_time now) {
  // Names of models come from callers.
  constexpr std::size_t holds_max = 1000;
  const auto is_over = [now](const auto& one) { return one.second.until <= now; };
  std::erase_if(own_, is_over);
  std::erase_if(all_, is_over);
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
  all = {now, std::max(all.until, agreed)};
}

bool holds::lift(const std::string& model, boot_time began) {
  bool lifted = false;
  for (auto at = own_.lower_bound({model, {}}); at != own_.end() && at->first.first == model;) {
    const bool is_older = at->second.since < began;
    at = is_older ? own_.erase(at) : std::next(at);
    lifted = lifted || is_older;
  }
  const auto all = all_.find(model);
  if (all == all_.end() || all->second.since >= began) return lifted;
  all_.erase(all);
  return true;
}

boot_time holds::until(const std::string& model, const std::string& tenant) const {
  const auto all = all_.find(model);
  const auto its_own = own_.find({model, tenant});
  return std::max(
      all == all_.end() ? boot_time{} : all->second.until,
      its_own == own_.end() ? boot_time{} : its_own->second.until);
}

boot_time holds::last() const {
  // Those for all are no longer than one's own.
  boot_time last{};
  for (const auto& [whose, one] : own_)
    last = std::max(last, one.until);
  return last;
}

}  // namespace callboard::model
