// Committed blocks of one shard that are in memory: those the views do not show yet, and older
// ones as a cache for subscribers that catch up.
#pragma once

#include "base/ids.hpp"
#include "storage/tail_block.hpp"

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

namespace callboard::storage {

/// Blocks in lsn order without gaps up to the shard's committed lsn. Not synchronized: the shard's
/// slot guards it.
class shard_tail {
public:
  void push(tail_block_ptr block);

  /// Drops the oldest block, which must be applied. Returns what it weighed.
  std::uint64_t pop();

  void clear();

  [[nodiscard]] bool empty() const { return blocks_.empty(); }

  [[nodiscard]] const tail_block_ptr& oldest() const { return blocks_.front(); }

  /// The blocks whose last lsn is above `applied`.
  [[nodiscard]] std::vector<tail_block_ptr> above(lsn applied) const;

  /// Up to `count_max` blocks with sequenced records of `entity` from `from` on. Empty unless the
  /// record `from` itself is here: then every later one is, too.
  [[nodiscard]] std::vector<tail_block_ptr>
  blocks_of(entity_id entity, sequence from, std::size_t count_max) const;

  /// First sequence of the entity that is in memory; 0 if none is.
  [[nodiscard]] sequence first_cached(entity_id entity) const;

private:
  struct entity_blocks {
    /// First sequence in each block, and the block; the live part begins at `begin`.
    std::vector<std::pair<std::uint64_t, tail_block_ptr>> blocks;
    std::size_t begin = 0;
    /// Dead up to and including this sequence.
    std::uint64_t floor = 0;
    bool dies_below_snapshot = false;
  };

  void apply(const block_change& change);

  std::deque<tail_block_ptr> blocks_;
  std::unordered_map<std::uint64_t, entity_blocks> entities_;
};

}  // namespace callboard::storage
