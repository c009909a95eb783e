#include "model/turn_queue.hpp"

#include <string_view>
#include <tuple>

namespace callboard::model {

void turn_queue::add(const std::string& model, const std::string& tenant, call_id id) {
  all_.insert(id);
  models_[model][tenant].insert(id);
}

void turn_queue::remove(const std::string& model, const std::string& tenant, call_id id) {
  all_.erase(id);
  const auto queue = models_.find(model);
  const auto its = queue->second.find(tenant);
  its->second.erase(id);
  if (its->second.empty()) queue->second.erase(its);
  if (queue->second.empty()) models_.erase(queue);
}

std::optional<call_id> turn_queue::take(const room& has_room) {
  // Whether it comes only after the last name, the name, its oldest call: the least is the next.
  using turn = std::tuple<bool, std::string_view, call_id>;
  std::optional<turn> best;
  const std::string* its_model = nullptr;
  for (const auto& [model, its_tenants] : models_) {
    if (!has_room(model)) continue;
    auto next = its_tenants.upper_bound(served_);
    const bool is_round = next == its_tenants.end();
    if (is_round) next = its_tenants.begin();
    const turn one{is_round, next->first, *next->second.begin()};
    if (best && *best <= one) continue;
    best = one;
    its_model = &model;
  }
  if (!best) return std::nullopt;
  const auto id = std::get<call_id>(*best);
  served_ = std::get<std::string_view>(*best);
  remove(std::string{*its_model}, served_, id);
  return id;
}

}  // namespace callboard::model
