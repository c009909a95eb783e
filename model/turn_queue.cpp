#include "model/turn_queue.hpp"

namespace callboard::model {

void turn_queue::add(const std::string& tenant, call_id id) {
  all_.insert(id);
  tenants_[tenant].insert(id);
}

void turn_queue::remove(const std::string& tenant, call_id id) {
  all_.erase(id);
  const auto its = tenants_.find(tenant);
  its->second.erase(id);
  if (its->second.empty()) tenants_.erase(its);
}

call_id turn_queue::take() {
  auto next = tenants_.upper_bound(served_);
  if (next == tenants_.end()) next = tenants_.begin();
  served_ = next->first;
  const auto id = *next->second.begin();
  remove(served_, id);
  return id;
}

}  // namespace callboard::model
