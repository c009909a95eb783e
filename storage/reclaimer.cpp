#include "storage/reclaimer.hpp"

#include "base/log.hpp"
#include "storage/block.hpp"
#include "storage/keys.hpp"
#include "storage/recovery.hpp"

#include <rocksdb/convenience.h>
#include <rocksdb/options.h>

#include <algorithm>
#include <utility>

namespace callboard::storage {

namespace {

constexpr std::size_t batch_bytes = 256 << 10;
constexpr std::size_t jobs_per_run_max = 4096;
/// Lsns in a hole below which no whole file can lie in it.
constexpr std::uint64_t drop_files_from = 256;

/// To the segment of the block that has this lsn, or the first behind it.
index_walk::step seek_block(index_walk& others, lsn at) {
  auto segment = others.seek(at.raw());
  if (segment && *segment != nullptr && (*segment)->block_end() <= at) segment = others.next();
  return segment;
}

}  // namespace

void reclaimer::run(database& db, std::uint64_t compact_after) {
  for (const auto& todo : find_jobs(db)) {
    if (shards_.closing()) return;
    {
      const auto& slot = shards_.slot(todo.shard);
      const std::lock_guard guard{slot.mutex};
      if (slot.damage) continue;
    }
    if (auto done = do_job(db, todo); !done) {
      if (done.error().code == errc::corruption) {
        shards_.quarantine(todo.shard, done.error());
        continue;
      }
      log::channel("storage")->warn("giving space back: {}", done.error().detail);
      return;
    }
    update_first(db, todo.shard);
  }
  if (released_ < compact_after || released_up_to_.empty()) return;
  if (auto done = compact(db); !done) {
    log::channel("storage")->warn("giving space back: {}", done.error().detail);
  }
}

std::vector<reclaimer::job> reclaimer::find_jobs(database& db) {
  std::vector<job> jobs;
  const auto prefix = keys::meta_row(keys::node_wide, keys::meta_tag::reclaim);
  const rocksdb::Slice lower{prefix.bytes.data(), 5};
  const auto rows = db.iterate(family::meta, &lower, nullptr);
  for (rows->SeekToFirst(); rows->Valid() && jobs.size() < jobs_per_run_max; rows->Next()) {
    const auto key = rows->key().ToStringView();
    if (key.size() != keys::reclaim_row_size || !key.starts_with(lower.ToStringView())) break;
    const auto shard = keys::shard_of_reclaim_row(key);
    const auto entity = keys::entity_of_reclaim_row(key);
    if (jobs.empty() || jobs.back().shard != shard || jobs.back().entity != entity) {
      jobs.push_back({.shard = shard, .entity = entity});
    }
    jobs.back().rows.emplace_back(key);
    const auto value = rows->value().ToStringView();
    if (value.size() == 16) {
      const lsn from{load_little<std::uint64_t>(value.data() + 8)};
      auto& first = jobs.back().presence_from;
      first = std::min(first.value_or(from), from);
    }
    if (value.size() != 8) continue;
    const lsn replaced{load_little<std::uint64_t>(value.data())};
    if (replaced.raw() != 0) jobs.back().replaced.push_back(replaced);
  }
  return jobs;
}

result<void> reclaimer::do_job(database& db, const job& todo) {
  work on{db, todo};
  if (auto done = protect_newest(on); !done) return done;
  auto head = on.live.head_of(todo.entity);
  if (!head) return std::unexpected{head.error()};
  if (*head) {
    if (auto done = drop_sequenced(on, **head); !done) return done;
    // What was given back must be gone before blocks are looked at again.
    if (auto done = flush(on); !done) return done;
    auto done = (*head)->is_deleted() ? drop_entity(on, **head) : drop_replaced(on, **head);
    if (!done) return done;
  }
  if (on.is_complete) {
    for (const auto& row : todo.rows) {
      on.batch.Delete(db.handle(family::meta), row).PermitUncheckedError();
    }
  }
  return flush(on);
}

/// The newest block says where the shard's log ends, so it stays whatever is in it.
result<void> reclaimer::protect_newest(work& on) {
  const auto begin = keys::shard_prefix(on.todo.shard.raw());
  const auto end = keys::shard_prefix(on.todo.shard.raw() + 1);
  const rocksdb::Slice lower = std::string_view{begin};
  const rocksdb::Slice upper = std::string_view{end};
  const auto rows = on.db.iterate(family::log, &lower, &upper);
  rows->SeekToLast();
  if (rows->Valid()) on.protected_from = keys::lsn_of_log_block(rows->key().ToStringView());
  const auto& slot = shards_.slot(on.todo.shard);
  const std::lock_guard guard{slot.mutex};
  on.protected_from = std::min(on.protected_from, slot.applied);
  return checked(rows->status(), "reading the log");
}

/// Blocks of a trimmed entity from its first dead record on, with what else they have of it. Those
/// before were looked at when the records before went.
///
/// Where to begin is told by the first segment that is left. So one goes only once the records
/// without sequence up to the next were looked at: after a kill they are looked at again. The last
/// of all stays, for what is behind it now may be dead by the next trim.
result<void> reclaimer::drop_sequenced(work& on, const entity_head& head) {
  const auto floor = head.dead_floor().raw();
  index_walk ahead{on.db, on.todo.shard, on.todo.entity, keys::index_class::sequenced, nullptr};
  bool is_first = true;
  auto segment = ahead.seek(0);
  while (segment && *segment != nullptr) {
    if (auto done = flush_if_large(on); !done) return done;
    const auto here = **segment;
    // Only whole segments go: the last one may be half alive.
    if (here.number + here.count - 1 > floor) return {};
    if (shards_.closing() || here.block >= on.protected_from) {
      on.is_complete = false;
      return {};
    }
    if (std::exchange(is_first, false)) {
      if (auto found = on.sequenced.seek(0); !found) return std::unexpected{found.error()};
      if (auto found = seek_block(on.others, here.block); !found) {
        return std::unexpected{found.error()};
      }
    }
    if (auto done = drop_block_of(on, here, head.is_deleted()); !done) return done;
    segment = ahead.next();
    if (!segment) break;
    const auto next = *segment == nullptr ? on.protected_from : (*segment)->block;
    // A deleted entity's blocks are still to be rewritten without it, by those segments.
    if (!head.is_deleted()) {
      if (auto done = drop_others_before(on, std::min(next, on.protected_from)); !done) return done;
    }
    if (next > on.protected_from) on.is_complete = false;
    if (!on.is_complete || *segment == nullptr) return {};
    if (auto done = on.sequenced.drop(); !done) return std::unexpected{done.error()};
  }
  return segment ? result<void>{} : std::unexpected{segment.error()};
}

/// The block of a segment whose records are all dead.
result<void> reclaimer::drop_block_of(work& on, const index_segment& sequenced, bool keeps_others) {
  const auto block = sequenced.block;
  if (sequenced.count == sequenced.span) {
    return delete_block(on, block, lsn{sequenced.block_end().raw() - 1}, 0);
  }
  const auto has_others = clean_block(on, block, false);
  if (!has_others) return std::unexpected{has_others.error()};
  return keeps_others ? result<void>{} : drop_others_of(on, block, *has_others);
}

/// Records without sequence in the blocks up to before this one, from where the walk stands.
result<void> reclaimer::drop_others_before(work& on, lsn before) {
  for (const auto* segment = on.others.at(); segment != nullptr && segment->block < before;
       segment = on.others.at()) {
    if (auto done = flush_if_large(on); !done) return done;
    if (shards_.closing()) {
      on.is_complete = false;
      return {};
    }
    // What made the entity stays as long as it does.
    result<bool> is_live = true;
    if (segment->number != on.todo.entity.raw()) is_live = clean_block(on, segment->block, false);
    if (!is_live) return std::unexpected{is_live.error()};
    if (auto done = drop_others_of(on, segment->block, *is_live); !done) return done;
  }
  return {};
}

/// The block was looked at: past its records without sequence, if it has any, which go with it.
result<void> reclaimer::drop_others_of(work& on, lsn block, bool is_live) {
  const auto* segment = on.others.at();
  if (segment == nullptr || segment->block != block) return {};
  const auto moved = is_live ? on.others.next() : on.others.drop();
  return moved ? result<void>{} : std::unexpected{moved.error()};
}

/// Trims and snapshots that newer ones replaced, and presence up to where it is dead now.
result<void> reclaimer::drop_replaced(work& on, const entity_head& head) {
  const auto& todo = on.todo;
  if (todo.presence_from) {
    if (auto found = seek_block(on.others, *todo.presence_from); !found) {
      return std::unexpected{found.error()};
    }
    const auto before = std::min(head.presence_floor, on.protected_from);
    if (auto done = drop_others_before(on, before); !done) return done;
    if (auto done = flush(on); !done) return done;
  }
  for (const auto replaced : todo.replaced) {
    const auto found = seek_block(on.others, replaced);
    if (!found) return std::unexpected{found.error()};
    if (*found == nullptr || (*found)->block > replaced) continue;
    const auto block = (*found)->block;
    if (block >= on.protected_from) {
      on.is_complete = false;
      continue;
    }
    const auto is_live = clean_block(on, block, false);
    if (!is_live) return std::unexpected{is_live.error()};
    if (auto done = drop_others_of(on, block, *is_live); !done) return done;
    if (auto done = flush(on); !done) return done;
  }
  return {};
}

/// All that is left of a deleted entity. The block with the deletion goes last, together with the
/// head; the other blocks lose all records of it before.
result<void> reclaimer::drop_entity(work& on, const entity_head& head) {
  const auto& todo = on.todo;
  if (!on.is_complete || head.last >= on.protected_from) {
    on.is_complete = false;
    return {};
  }
  std::optional<lsn> last_block;
  auto segment = on.others.seek(0);
  while (segment && *segment != nullptr) {
    const auto& here = **segment;
    if (here.block <= head.deleted_lsn && head.deleted_lsn < here.block_end()) {
      last_block = here.block;
      segment = on.others.next();
      continue;
    }
    if (auto done = flush_if_large(on); !done) return done;
    auto cleaned = clean_block(on, here.block, true);
    if (!cleaned) return std::unexpected{cleaned.error()};
    segment = on.others.drop();
  }
  if (!segment) return std::unexpected{segment.error()};
  on.live.assume_gone(todo.entity);
  if (last_block) {
    auto cleaned = clean_block(on, *last_block, true);
    if (!cleaned) return std::unexpected{cleaned.error()};
  }
  const auto first_row = keys::before_index_of(todo.shard, todo.entity);
  const auto end = keys::index_row(todo.shard, todo.entity, keys::index_class::lost, ~0ULL);
  on.batch
      .DeleteRange(on.db.handle(family::index), std::string_view{first_row}, std::string_view{end})
      .PermitUncheckedError();
  return {};
}

/// Deletes the block if nothing in it is alive, rewrites it without its dead records if they are at
/// least half of it (or if it must be). True if other records without sequence of the job's entity
/// stay in it.
result<bool> reclaimer::clean_block(work& on, lsn first, bool must_rewrite) {
  std::string value;
  auto exists = on.db.get(family::log, keys::log_block(on.todo.shard, first), value);
  if (!exists) return exists;
  if (!*exists) return false;
  const auto bytes = std::make_shared<const std::string>(std::move(value));
  block_reader reader{bytes, first};
  if (auto sound = reader.open(); !sound) return std::unexpected{sound.error()};
  block_builder rest;
  rest.start(first);
  std::uint64_t live_bytes = 0;
  bool has_others = false;
  record next;
  auto step = reader.next(next);
  for (; step == block_step::record; step = reader.next(next)) {
    auto live = on.live.is_live(next);
    if (!live) return live;
    if (!*live) continue;
    live_bytes += record_header_size + next.payload.size();
    has_others |= next.entity == on.todo.entity && !is_sequenced(next.kind);
    rest.add(next, next.payload.view());
  }
  if (step == block_step::bad) return std::unexpected{reader.problem()};
  if (rest.empty()) {
    if (auto done = delete_block(on, first, reader.last(), bytes->size()); !done) {
      return std::unexpected{done.error()};
    }
    return false;
  }
  const bool has_dead = rest.count() < reader.count();
  if (has_dead && (must_rewrite || live_bytes * 2 <= bytes->size())) {
    rest.extend_to(reader.last());
    const auto smaller = rest.finish();
    released_ += bytes->size() - smaller.size();
    on.batch
        .Put(
            on.db.handle(family::log),
            std::string_view{keys::log_block(on.todo.shard, first)},
            smaller)
        .PermitUncheckedError();
  }
  return has_others;
}

result<void> reclaimer::delete_block(work& on, lsn first, lsn last, std::uint64_t size) {
  const bool goes_on = on.hole && on.hole->second.next() == first;
  // Holes must not overlap, so each is in the store before the next one looks for neighbours.
  if (!goes_on) {
    if (auto done = flush(on); !done) return done;
  }
  const auto key = keys::log_block(on.todo.shard, first);
  on.batch.Delete(on.db.handle(family::log), std::string_view{key}).PermitUncheckedError();
  const auto hole_first = goes_on ? on.hole->first : first;
  on.hole.emplace(hole_first, last);
  // Without having read it, a block that holds one entity only counts as full.
  released_ += size != 0 ? size : block_size_max;
  auto& up_to = released_up_to_[on.todo.shard.raw()];
  up_to = std::max(up_to, last);
  return {};
}

/// Writes the hole down, as one with those it touches.
result<void> reclaimer::close_hole(work& on) {
  if (!on.hole) return {};
  auto [first, last] = *std::exchange(on.hole, {});
  const auto shard = on.todo.shard;
  auto* meta = on.db.handle(family::meta);
  const auto begin = keys::meta_row(shard.raw(), keys::meta_tag::hole);
  const auto end = keys::meta_row(
      shard.raw(),
      static_cast<keys::meta_tag>(static_cast<std::uint8_t>(keys::meta_tag::hole) + 1));
  const rocksdb::Slice lower = std::string_view{begin};
  const rocksdb::Slice upper = std::string_view{end};
  const auto rows = on.db.iterate(family::meta, &lower, &upper);
  const auto here = keys::meta_row(shard.raw(), keys::meta_tag::hole, first.raw());
  rows->SeekForPrev(std::string_view{here});
  if (rows->Valid() && rows->value().size() == 8) {
    const lsn before_last{load_little<std::uint64_t>(rows->value().data())};
    if (before_last.next() >= first) {
      first = lsn{keys::number_of_meta_row(rows->key().ToStringView())};
      last = std::max(last, before_last);
    }
  }
  const auto after = keys::meta_row(shard.raw(), keys::meta_tag::hole, last.raw() + 1);
  rows->Seek(std::string_view{after});
  if (rows->Valid() && rows->value().size() == 8
      && keys::number_of_meta_row(rows->key().ToStringView()) == last.raw() + 1) {
    last = lsn{load_little<std::uint64_t>(rows->value().data())};
    on.batch.Delete(meta, rows->key()).PermitUncheckedError();
  }
  if (auto sound = checked(rows->status(), "reading holes"); !sound) return sound;
  char value[8];
  store_little(value, last.raw());
  on.batch
      .Put(
          meta,
          std::string_view{keys::meta_row(shard.raw(), keys::meta_tag::hole, first.raw())},
          rocksdb::Slice{value, sizeof(value)})
      .PermitUncheckedError();
  return {};
}

result<void> reclaimer::flush_if_large(work& on) {
  return on.batch.GetDataSize() < batch_bytes ? result<void>{} : flush(on);
}

result<void> reclaimer::flush(work& on) {
  // A hole that may still grow is written with what it stands for all the same, and so are rows of
  // which more may go.
  if (auto done = close_hole(on); !done) return done;
  on.sequenced.put_row();
  on.others.put_row();
  if (on.batch.Count() == 0) return {};
  auto written =
      checked(on.db.raw().Write(rocksdb::WriteOptions{}, &on.batch), "giving space back");
  on.batch.Clear();
  if (!written) {
    writer_.request_reopen(written.error());
    return written;
  }
  return {};
}

void reclaimer::update_first(database& db, shard_id shard) {
  const auto at = locate_shard(db, shard);
  if (!at) return;
  auto& slot = shards_.slot(shard);
  const std::lock_guard guard{slot.mutex};
  slot.first = std::max(slot.first, at->first);
}

result<void> reclaimer::compact(database& db) {
  // Files go at once, so what says that their records are dead must be on disk before.
  if (auto synced = checked(db.raw().SyncWAL(), "syncing before files are dropped"); !synced) {
    writer_.request_reopen(synced.error());
    return synced;
  }
  rocksdb::CompactRangeOptions how;
  how.exclusive_manual_compaction = false;
  how.canceled = &shards_.closing();
  for (const auto& [shard, up_to] : released_up_to_) {
    if (auto dropped = drop_files(db, shard_id{shard}); !dropped) return dropped;
    const auto begin = keys::shard_prefix(shard);
    const auto end = keys::log_block(shard_id{shard}, up_to);
    const rocksdb::Slice first = std::string_view{begin};
    const rocksdb::Slice last = std::string_view{end};
    auto done =
        checked(db.raw().CompactRange(how, db.handle(family::log), &first, &last), "compacting");
    if (shards_.closing()) return {};
    if (!done) return done;
  }
  released_total_ += std::exchange(released_, 0);
  released_up_to_.clear();
  return {};
}

/// Whole files inside holes go without being read.
result<void> reclaimer::drop_files(database& db, shard_id shard) {
  std::vector<std::pair<keys::fixed_key<12>, keys::fixed_key<12>>> bounds;
  const auto begin = keys::meta_row(shard.raw(), keys::meta_tag::hole);
  const auto end = keys::meta_row(shard.raw(), keys::meta_tag::hole, ~0ULL);
  const rocksdb::Slice lower = std::string_view{begin};
  const rocksdb::Slice upper = std::string_view{end};
  const auto rows = db.iterate(family::meta, &lower, &upper);
  for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
    if (rows->value().size() != 8) continue;
    const lsn first{keys::number_of_meta_row(rows->key().ToStringView())};
    const lsn last{load_little<std::uint64_t>(rows->value().data())};
    if (last.raw() - first.raw() < drop_files_from) continue;
    bounds.emplace_back(keys::log_block(shard, first), keys::log_block(shard, last.next()));
  }
  if (auto sound = checked(rows->status(), "reading holes"); !sound) return sound;
  if (bounds.empty()) return {};
  std::vector<rocksdb::Slice> slices;
  for (const auto& [first, last] : bounds) {
    slices.emplace_back(std::string_view{first});
    slices.emplace_back(std::string_view{last});
  }
  std::vector<rocksdb::RangePtr> ranges;
  for (std::size_t i = 0; i < slices.size(); i += 2)
    ranges.emplace_back(&slices[i], &slices[i + 1]);
  return checked(
      rocksdb::DeleteFilesInRanges(
          &db.raw(), db.handle(family::log), ranges.data(), ranges.size(), false),
      "dropping files");
}

}  // namespace callboard::storage
