#include "storage/head_table.hpp"

#include "storage/keys.hpp"

#include <fmt/format.h>

namespace callboard::storage {

result<cached_head*> head_table::get(database& from, shard_id shard, entity_id entity) {
  const key id{shard.raw(), entity.raw()};
  if (const auto found = young_.find(id); found != young_.end()) return &found->second;
  if (auto node = old_.extract(id)) return &young_.insert(std::move(node)).position->second;
  auto exists = from.get(family::index, keys::head_row(shard, entity), row_);
  if (!exists) return std::unexpected{exists.error()};
  cached_head loaded;
  if (*exists) {
    const auto head = decode_head(row_);
    if (!head) {
      return fail(
          errc::corruption,
          fmt::format("shard {}: head row of entity {}", shard.raw(), entity.raw()));
    }
    loaded.head = *head;
  }
  return &young_.emplace(id, loaded).first->second;
}

cached_head& head_table::make(shard_id shard, entity_id entity) {
  return young_.insert_or_assign(key{shard.raw(), entity.raw()}, cached_head{}).first->second;
}

}  // namespace callboard::storage
