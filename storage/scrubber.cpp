#include "storage/scrubber.hpp"

#include "storage/keys.hpp"
#include "storage/recovery.hpp"

#include <algorithm>

namespace callboard::storage {

void scrubber::run(database& db, std::uint64_t budget) {
  std::uint64_t spent = 0;
  for (std::uint32_t visited = 0; visited <= shards_.shard_count() && spent < budget; ++visited) {
    if (shards_.closing()) return;
    bool is_damaged = false;
    lsn applied;
    {
      const auto& slot = shards_.slot(shard_);
      const std::lock_guard guard{slot.mutex};
      is_damaged = slot.damage.has_value();
      applied = slot.applied;
      reached_ = std::max(reached_, lsn{slot.first.raw() - 1});
    }
    result<std::uint64_t> read = 0;
    if (!is_damaged) read = scrub_log(db, budget - spent);
    if (read && reached_ < applied && !is_damaged) {
      spent += *read;
      continue;
    }
    for (const auto which : {family::index, family::snapshot, family::view, family::meta}) {
      if (!read || is_damaged) break;
      spent += *read;
      read = scrub_rows(db, which);
    }
    if (read) {
      spent += *read;
    } else if (read.error().code == errc::corruption) {
      shards_.quarantine(shard_, read.error());
    }
    shard_ = shard_id{(shard_.raw() + 1) % shards_.shard_count()};
    reached_ = lsn{};
  }
}

result<std::uint64_t> scrubber::scrub_log(database& db, std::uint64_t budget) {
  std::uint64_t read = 0;
  lsn applied;
  {
    const auto& slot = shards_.slot(shard_);
    const std::lock_guard guard{slot.mutex};
    applied = slot.applied;
  }
  auto done = visit_blocks(
      db, shard_, reached_, applied, [&](const block_bytes& bytes, lsn, lsn last) -> result<bool> {
        read += bytes->size();
        reached_ = last;
        return read < budget && !shards_.closing();
      });
  if (!done) return std::unexpected{done.error()};
  return read;
}

result<std::uint64_t> scrubber::scrub_rows(database& db, family which) {
  const auto begin = keys::shard_prefix(shard_.raw());
  const auto end = keys::shard_prefix(shard_.raw() + 1);
  const rocksdb::Slice lower = std::string_view{begin};
  const rocksdb::Slice upper = std::string_view{end};
  std::uint64_t read = 0;
  const auto rows = db.iterate(which, &lower, &upper);
  for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
    read += rows->key().size() + rows->value().size();
    if (shards_.closing()) return read;
  }
  if (auto sound = checked(rows->status(), "scrubbing"); !sound) {
    return std::unexpected{sound.error()};
  }
  return read;
}

}  // namespace callboard::storage
