// Heads of the entities that are being written to, kept in memory by the writer.
#pragma once

#include "base/error.hpp"
#include "storage/database.hpp"
#include "storage/entity_head.hpp"
#include "storage/tail_block.hpp"

#include <cstdint>
#include <unordered_map>

namespace callboard::storage {

/// A head and the writer's scratch space beside it.
struct cached_head {
  entity_head head;
  entry_slots slots;
  /// Sequence after the last one checked in the append with this number.
  std::uint64_t checked_append = 0;
  std::uint64_t checked_seq = 0;
  /// In the projection pass that is being made.
  bool is_changed = false;
};

/// Loads heads from the store on demand and forgets the least used ones. References stay valid
/// until `forget_old` or `clear`. One thread.
class head_table {
public:
  explicit head_table(std::size_t heads_max) : half_{heads_max / 2 + 1} {}

  /// The head; a fresh one if the entity is unknown. Errors: as database::get, corruption.
  [[nodiscard]] result<cached_head*> get(database& from, shard_id shard, entity_id entity);

  /// A head that is known to be new.
  [[nodiscard]] cached_head& make(shard_id shard, entity_id entity);

  /// Drops heads that were not used for long. Only when the store has all changes. False if there
  /// are few.
  bool forget_old() {
    if (young_.size() < half_) return false;
    old_ = std::move(young_);
    young_.clear();
    return true;
  }

  void erase(shard_id shard, entity_id entity) {
    young_.erase({shard.raw(), entity.raw()});
    old_.erase({shard.raw(), entity.raw()});
  }

  void clear() {
    young_.clear();
    old_.clear();
  }

private:
  struct key {
    std::uint32_t shard;
    std::uint64_t entity;

    friend bool operator==(const key&, const key&) = default;
  };

  struct key_hash {
    std::size_t operator()(const key& k) const {
      return (k.entity * 0x9E3779B97F4A7C15ULL) ^ (std::uint64_t{k.shard} << 40);
    }
  };

  using map = std::unordered_map<key, cached_head, key_hash>;

  std::size_t half_;
  map young_;
  map old_;
  std::string row_;
};

}  // namespace callboard::storage
