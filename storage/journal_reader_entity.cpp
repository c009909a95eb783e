// Reading an entity's records in sequence: from the cache where it reaches, else from the store.
#include "storage/index_walk.hpp"
#include "storage/journal_reader.hpp"
#include "storage/keys.hpp"
#include "storage/tail_block.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::storage {

namespace {

/// Blocks taken from the cache at a time: bounds how long the shard's lock is held.
constexpr std::size_t cache_page_blocks = 16;

}  // namespace

result<void>
journal_reader::visit_entity(entity_id entity, sequence from, const record_visitor& visit) {
  walk at{.entity = entity, .next = std::max<std::uint64_t>(from.raw(), 1), .visit = visit};
  auto cached = walk_cache(at);
  if (!cached) return std::unexpected{cached.error()};
  if (*cached || at.stopped) return {};
  auto head = current_head(entity);
  if (!head) return std::unexpected{head.error()};
  const auto dead = head->dead_floor();
  if (head->last_seq <= dead) return {};
  at.next = std::max(at.next, dead.raw() + 1);
  if (auto done = walk_disk(at, head->last_seq); !done || at.stopped) return done;
  if (auto done = walk_tail(at); !done || at.stopped) return done;
  if (at.next <= head->last_seq.raw()) return bridge_gap(at, head->last_seq.raw() + 1);
  return {};
}

/// True if the cache had everything from `at.next` on. It may lose at any time what the store has.
result<bool> journal_reader::walk_cache(walk& at) {
  auto& slot = shards_.slot(shard_);
  for (;;) {
    std::vector<tail_block_ptr> blocks;
    {
      const std::lock_guard guard{slot.mutex};
      blocks = slot.tail.blocks_of(at.entity, sequence{at.next}, cache_page_blocks);
    }
    if (blocks.empty()) return false;
    const auto before = at.next;
    for (const auto& block : blocks) {
      if (block->first > committed_) return true;
      if (auto done = walk_block(at, *block); !done) return std::unexpected{done.error()};
      if (at.stopped) return true;
    }
    if (at.next == before) return true;
  }
}

result<void> journal_reader::walk_block(walk& at, const tail_block& block) {
  const auto* entry = block.sequenced_entry(at.entity);
  if (entry == nullptr || entry->first + entry->count <= at.next) return {};
  block_reader reader{block.bytes, block.first};
  if (auto sound = reader.open(); !sound) return damaged(sound.error());
  run_reader positions{block.first, block.span, entry->runs};
  record next;
  std::uint64_t seq = entry->first;
  while (const auto position = positions.next()) {
    if (*position > committed_ || at.stopped) return {};
    if (seq++ < at.next) continue;
    if (reader.skip_to(*position) != block_step::record
        || reader.next_trusted(next) != block_step::record) {
      return damaged(reader.problem());
    }
    if (auto given = give(at, next); !given) return given;
  }
  return {};
}

result<void> journal_reader::give(walk& at, const record& next) {
  const auto seq = next.entity_seq.raw();
  if (seq < at.next) return {};
  if (seq > at.next) {
    if (auto bridged = bridge_gap(at, seq); !bridged) return bridged;
  }
  at.next = seq + 1;
  if (!at.visit(next)) at.stopped = true;
  return {};
}

/// Space may be given back while this reader looks: the newest head decides, then what a repair
/// could not save.
result<void> journal_reader::bridge_gap(walk& at, std::uint64_t found) {
  auto newest = head_of(at.entity, nullptr);
  if (!newest) return std::unexpected{newest.error()};
  auto reached = std::max(
      at.next,
      newest->dead_floor().raw() == ~std::uint64_t{0} ? found : newest->dead_floor().raw() + 1);
  while (reached < found) {
    auto lost = lost_up_to(at.entity, reached);
    if (!lost) return std::unexpected{lost.error()};
    if (!*lost) {
      return damaged(
          {errc::corruption,
           fmt::format(
               "shard {}, entity {}: sequence {} is missing",
               shard_.raw(),
               at.entity.raw(),
               reached)});
    }
    reached = **lost + 1;
  }
  at.next = std::max(at.next, found);
  return {};
}

result<std::optional<std::uint64_t>>
journal_reader::lost_up_to(entity_id entity, std::uint64_t at) {
  const auto rows = db_->iterate(family::index, nullptr, nullptr);
  const auto key = keys::index_row(shard_, entity, keys::index_class::lost, at);
  rows->SeekForPrev(std::string_view{key});
  if (auto sound = checked(rows->status(), "reading the index"); !sound) {
    return damaged(sound.error());
  }
  if (!rows->Valid()
      || !keys::is_index_row(rows->key().ToStringView(), shard_, entity, keys::index_class::lost)
      || rows->value().size() != 8) {
    return std::nullopt;
  }
  const auto last = load_little<std::uint64_t>(rows->value().data());
  if (last < at) return std::nullopt;
  return last;
}

result<void> journal_reader::walk_disk(walk& at, sequence last) {
  take_snapshot();
  index_walk index{*db_, shard_, at.entity, keys::index_class::sequenced, snapshot_};
  std::unique_ptr<rocksdb::Iterator> log;
  for (auto segment = index.seek(at.next);; segment = index.next()) {
    if (!segment) return damaged(segment.error());
    if (*segment == nullptr || at.next > last.raw()) return {};
    if ((*segment)->number + (*segment)->count <= at.next) continue;
    if (!log) log = db_->iterate(family::log, nullptr, nullptr, snapshot_);
    if (auto done = walk_segment(at, **segment, *log); !done || at.stopped) return done;
    // Further on the cache may have it all.
    auto cached = walk_cache(at);
    if (!cached) return std::unexpected{cached.error()};
    if (*cached) {
      if (!at.stopped) at.next = std::max(at.next, last.raw() + 1);
      return {};
    }
  }
}

result<void>
journal_reader::walk_segment(walk& at, const index_segment& segment, rocksdb::Iterator& log) {
  const auto key = keys::log_block(shard_, segment.block);
  const std::string_view wanted{key};
  if (log.Valid() && log.key().ToStringView() < wanted) log.Next();
  if (!log.Valid() || log.key().ToStringView() != wanted) log.Seek(wanted);
  if (auto sound = checked(log.status(), "reading the log"); !sound) return damaged(sound.error());
  // A block that is gone shows as a gap at the next record: bridge_gap tells a trim from damage.
  if (!log.Valid() || log.key().ToStringView() != wanted) return {};
  block_reader reader{std::make_shared<const std::string>(log.value().ToString()), segment.block};
  if (auto sound = reader.open(); !sound) return damaged(sound.error());
  run_reader positions{segment.block, segment.span, segment.runs};
  record next;
  std::uint32_t named = 0;
  while (const auto position = positions.next()) {
    ++named;
    const auto step = reader.skip_to(*position);
    if (step == block_step::bad) return damaged(reader.problem());
    if (step == block_step::end) return {};
    // Dead records may have been left out of the block.
    if (reader.peek() != *position) continue;
    if (reader.next(next) == block_step::bad) return damaged(reader.problem());
    if (next.entity != at.entity || !is_sequenced(next.kind)) {
      return damaged(
          {errc::corruption,
           fmt::format(
               "shard {}: the index of entity {} names lsn {}, which is another's",
               shard_.raw(),
               at.entity.raw(),
               next.lsn.raw())});
    }
    if (auto given = give(at, next); !given || at.stopped) return given;
  }
  if (named != segment.count) {
    return damaged(
        {errc::corruption,
         fmt::format(
             "shard {}: the index of entity {} names {} of {} records in the block at lsn {}",
             shard_.raw(),
             at.entity.raw(),
             named,
             segment.count,
             segment.block.raw())});
  }
  return {};
}

result<void> journal_reader::walk_tail(walk& at) {
  for (const auto& block : tail_) {
    if (block->last() <= applied_) continue;
    if (auto done = walk_block(at, *block); !done || at.stopped) return done;
  }
  return {};
}

result<std::optional<sequence>> journal_reader::first_at_or_after(entity_id entity, time_ms time) {
  auto head = current_head(entity);
  if (!head) return std::unexpected{head.error()};
  const auto first = head->dead_floor().next();
  if (head->last_seq.raw() == 0 || head->last_seq <= head->dead_floor()) return std::nullopt;
  auto on_disk = head_of(entity, snapshot_);
  if (!on_disk) return std::unexpected{on_disk.error()};
  if (first <= on_disk->last_seq) {
    auto found = search_disk(entity, first, on_disk->last_seq, time);
    if (!found || *found) return found;
  }
  for (const auto& block : tail_) {
    if (block->last() <= applied_ || block->time < time) continue;
    if (const auto* entry = block->sequenced_entry(entity)) {
      return std::max(first, sequence{entry->first});
    }
  }
  return std::nullopt;
}

/// Times do not fall with the sequence, and a block has one time: bisect over segments.
result<std::optional<sequence>>
journal_reader::search_disk(entity_id entity, sequence first, sequence last, time_ms time) {
  index_walk index{*db_, shard_, entity, keys::index_class::sequenced, snapshot_};
  auto low = first.raw();
  auto high = last.raw() + 1;
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    const auto found = index.seek(middle);
    if (!found) return damaged(found.error());
    const auto* segment = *found;
    if (segment == nullptr || segment->number > middle) {
      low = middle + 1;
    } else if (segment->time < time) {
      low = std::max(middle + 1, segment->number + segment->count);
    } else {
      high = segment->number;
    }
  }
  if (low > last.raw()) return std::nullopt;
  return sequence{low};
}

}  // namespace callboard::storage
