#include "model/turn_queue.hpp"

#include <tuple>

namespace callboard::model {

void turn_queue::add(const std::string& model, const std::string& tenant, call_id id) {
  all_.insert(id);
  auto& queue = models_.try_emplace(model, line{.last = turns_}).first->second;
  queue.tenants[tenant].insert(id);
  ++tenants_.try_emplace(tenant, presence{.last = turns_}).first->second.calls;
}

void turn_queue::remove(const std::string& model, const std::string& tenant, call_id id) {
  all_.erase(id);
  const auto queue = models_.find(model);
  auto& its_tenants = queue->second.tenants;
  const auto its = its_tenants.find(tenant);
  its->second.erase(id);
  if (its->second.empty()) its_tenants.erase(its);
  if (its_tenants.empty()) models_.erase(queue);
  const auto whose = tenants_.find(tenant);
  if (--whose->second.calls == 0) tenants_.erase(whose);
}

std::optional<call_id> turn_queue::take(const room& has_room) {
  // The last turn of the tenant, that of the model, the oldest call: the least is the next. Without
  // the model's, who waits for one behind a tenant would wait for all that it asks of others.
  using rank = std::tuple<turn, turn, call_id>;
  std::optional<rank> best;
  std::string model;
  std::string tenant;
  for (const auto& [name, queue] : models_) {
    if (!has_room(name)) continue;
    auto next = queue.tenants.upper_bound(queue.served);
    if (next == queue.tenants.end()) next = queue.tenants.begin();
    const rank one{tenants_.at(next->first).last, queue.last, *next->second.begin()};
    if (best && *best <= one) continue;
    best = one;
    model = name;
    tenant = next->first;
  }
  if (!best) return std::nullopt;
  const auto id = std::get<call_id>(*best);
  auto& queue = models_.at(model);
  queue.served = tenant;
  queue.last = tenants_.at(tenant).last = ++turns_;
  remove(model, tenant, id);
  return id;
}

}  // namespace callboard::model
