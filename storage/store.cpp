#include "storage/store.hpp"

#include "base/log.hpp"

#include <fmt/format.h>

#include <chrono>
#include <thread>

namespace callboard::storage {

error refusal_for(const error& damage) {
  constexpr std::uint32_t retry_after_ms = 1000;
  if (damage.code == errc::storage_full) return {damage.code, damage.detail, retry_after_ms};
  return {errc::quarantined, damage.detail};
}

store::store(std::uint32_t shard_count) {
  slots_.reserve(shard_count);
  for (std::uint32_t i = 0; i < shard_count; ++i)
    slots_.push_back(std::make_unique<shard_slot>());
}

std::shared_ptr<database> store::acquire() const {
  const std::lock_guard guard{mutex_};
  return database_;
}

void store::install(std::shared_ptr<database> opened) {
  const std::lock_guard guard{mutex_};
  is_closing_ = false;
  database_ = std::move(opened);
}

void store::close_database() {
  is_closing_ = true;
  std::weak_ptr<database> closing;
  {
    std::shared_ptr<database> last;
    const std::lock_guard guard{mutex_};
    last = std::move(database_);
    database_.reset();
    closing = last;
  }
  // Readers are short-lived by contract; there is nothing to be told by.
  while (!closing.expired())
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
}

void store::quarantine(shard_id shard, const error& why) {
  auto& slot = this->slot(shard);
  {
    const std::lock_guard guard{slot.mutex};
    if (slot.damage) return;
    slot.damage = error{
        errc::quarantined,
        fmt::format(
            "shard {} is quarantined: {}. Stop the node and run `callboard journal verify`, then "
            "`callboard journal repair`.",
            shard.raw(),
            why.detail)};
  }
  log::channel("storage")->error("shard {} is quarantined: {}", shard.raw(), why.detail);
}

void store::damage_node(const error& why) {
  {
    const std::lock_guard guard{mutex_};
    if (node_damage_ && node_damage_->code == errc::corruption) return;
    node_damage_ = why;
  }
  log::channel("storage")->error("out of writing: {}", why.detail);
}

void store::clear_node_damage() {
  const std::lock_guard guard{mutex_};
  node_damage_.reset();
}

std::optional<error> store::node_damage() const {
  const std::lock_guard guard{mutex_};
  return node_damage_;
}

std::uint32_t store::quarantined_count() const {
  std::uint32_t count = 0;
  for (const auto& slot : slots_) {
    const std::lock_guard guard{slot->mutex};
    if (slot->damage) ++count;
  }
  return count;
}

}  // namespace callboard::storage
