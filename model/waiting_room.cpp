#include "model/waiting_room.hpp"

#include <algorithm>

namespace callboard::model {

bool waiting_room::is_full(const held& now, std::uint64_t bytes, std::uint32_t percent) const {
  if (now.calls == 0) return false;
  const auto part = [percent](std::uint64_t whole) {
    return whole / 100 * percent + whole % 100 * percent / 100;
  };
  return now.calls >= std::max<std::uint64_t>(part(bounds_.calls_max), 1)
         || now.bytes + bytes > part(bounds_.bytes_max);
}

bool waiting_room::enter(std::string_view tenant, std::uint64_t bytes) {
  const std::lock_guard guard{mutex_};
  if (is_full(all_, bytes, 100)) return false;
  const auto its = tenants_.find(tenant);
  if (its != tenants_.end() && is_full(its->second, bytes, bounds_.tenant_percent)) return false;
  count_in(tenant, bytes);
  return true;
}

void waiting_room::come_back(std::string_view tenant, std::uint64_t bytes) {
  const std::lock_guard guard{mutex_};
  count_in(tenant, bytes);
}

void waiting_room::leave(std::string_view tenant, std::uint64_t bytes) {
  const std::lock_guard guard{mutex_};
  const auto its = tenants_.find(tenant);
  all_.calls -= 1;
  all_.bytes -= bytes;
  its->second.bytes -= bytes;
  if (--its->second.calls == 0) tenants_.erase(its);
}

void waiting_room::count_in(std::string_view tenant, std::uint64_t bytes) {
  auto its = tenants_.find(tenant);
  if (its == tenants_.end()) its = tenants_.emplace(tenant, held{}).first;
  for (auto* of : {&all_, &its->second}) {
    ++of->calls;
    of->bytes += bytes;
  }
}

}  // namespace callboard::model
