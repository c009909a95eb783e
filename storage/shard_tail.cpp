#include "storage/shard_tail.hpp"

#include <algorithm>

namespace callboard::storage {

void shard_tail::push(tail_block_ptr block) {
  for (const auto& entry : block->entries) {
    if (entry.is_sequenced) {
      auto& list = entities_[entry.entity.raw()];
      list.blocks.emplace_back(entry.first, block);
      list.dies_below_snapshot = entry.dies_below_snapshot;
    }
  }
  for (const auto& change : block->changes)
    apply(change);
  blocks_.push_back(std::move(block));
}

void shard_tail::apply(const block_change& change) {
  const auto found = entities_.find(change.entity.raw());
  if (found == entities_.end()) return;
  auto& list = found->second;
  switch (change.kind) {
  case record_kind::trimmed:
    list.floor = std::max(list.floor, change.up_to.raw());
    break;
  case record_kind::snapshot:
    if (list.dies_below_snapshot) list.floor = std::max(list.floor, change.up_to.raw());
    break;
  case record_kind::presence_restated:
    break;
  default:
    if (ends_entity(change.kind)) entities_.erase(found);
    break;
  }
}

std::uint64_t shard_tail::pop() {
  const auto block = std::move(blocks_.front());
  blocks_.pop_front();
  for (const auto& entry : block->entries) {
    if (!entry.is_sequenced) continue;
    const auto found = entities_.find(entry.entity.raw());
    if (found == entities_.end()) continue;
    auto& list = found->second;
    if (list.blocks[list.begin].second != block) continue;
    list.blocks[list.begin++].second.reset();
    if (list.begin == list.blocks.size()) {
      entities_.erase(found);
    } else if (list.begin >= 32 && list.begin * 2 >= list.blocks.size()) {
      list.blocks.erase(
          list.blocks.begin(), list.blocks.begin() + static_cast<std::ptrdiff_t>(list.begin));
      list.begin = 0;
    }
  }
  return block->footprint();
}

void shard_tail::clear() {
  blocks_.clear();
  entities_.clear();
}

std::vector<tail_block_ptr> shard_tail::above(lsn applied) const {
  std::vector<tail_block_ptr> found;
  for (auto at = blocks_.rbegin(); at != blocks_.rend() && (*at)->last() > applied; ++at) {
    found.push_back(*at);
  }
  std::ranges::reverse(found);
  return found;
}

std::vector<tail_block_ptr>
shard_tail::blocks_of(entity_id entity, sequence from, std::size_t count_max) const {
  const auto found = entities_.find(entity.raw());
  if (found == entities_.end() || from.raw() <= found->second.floor) return {};
  const auto begin =
      found->second.blocks.begin() + static_cast<std::ptrdiff_t>(found->second.begin);
  const auto end = found->second.blocks.end();
  auto at = std::upper_bound(begin, end, from.raw(), [](std::uint64_t seq, const auto& block) {
    return seq < block.first;
  });
  if (at == begin) return {};
  --at;
  std::vector<tail_block_ptr> blocks;
  for (; at != end && blocks.size() < count_max; ++at)
    blocks.push_back(at->second);
  return blocks;
}

sequence shard_tail::first_cached(entity_id entity) const {
  const auto found = entities_.find(entity.raw());
  if (found == entities_.end()) return {};
  return sequence{found->second.blocks[found->second.begin].first};
}

}  // namespace callboard::storage
