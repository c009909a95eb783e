// Opening the store in two steps, and finding out where every shard stands
// (docs/formats.md "Opening").
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "storage/database.hpp"
#include "storage/directory.hpp"
#include "storage/mark.hpp"
#include "storage/tail_block.hpp"

#include <rocksdb/write_batch.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace callboard::storage {

/// Where a shard's log begins and ends on disk.
struct shard_position {
  lsn first{1};
  lsn applied{};
  lsn last{};
  time_ms last_time{};
  /// Zero: the shard was never opened.
  incarnation_id incarnation{};
  std::uint8_t view_generation = 0;
  /// Projection version of the view rows; nothing if none were made yet.
  std::optional<std::uint32_t> view_version;
};

/// An incarnation no other history has: random, as neither copies of a directory nor directories
/// made anew can know of each other.
[[nodiscard]] incarnation_id draw_incarnation();

/// Writes down the incarnation of a shard.
void put_incarnation(
    database& db, shard_id shard, incarnation_id incarnation, rocksdb::WriteBatch& batch);

/// Errors: corruption (says shard and lsn), io_error.
[[nodiscard]] result<shard_position> locate_shard(database& db, shard_id shard);

/// Calls `visit` for the blocks of a shard that hold lsns in (after, last], each fully checked.
/// Lsns between blocks must be covered by a hole row. Return false to stop.
/// Errors: corruption (says shard and lsn), io_error, and what `visit` answers.
using block_visitor = std::function<result<bool>(const block_bytes& bytes, lsn first, lsn last)>;

[[nodiscard]] result<void>
visit_blocks(database& db, shard_id shard, lsn after, lsn last, const block_visitor& visit);

/// The end of the hole that `at` lies in; nothing if it lies in none.
[[nodiscard]] result<std::optional<lsn>> hole_at(database& db, shard_id shard, lsn at);

/// Step one: opens read-only and compares every shard with the mark. Changes nothing.
/// Errors: corruption (names file and lsn), io_error.
[[nodiscard]] result<void> inspect_store(
    const directory_paths& paths, const mark_state& mark, const database_options& options);

/// Both steps. `mark`: what the store must at least have. Errors: as inspect_store, storage_full.
[[nodiscard]] result<std::shared_ptr<database>>
open_store(const directory_paths& paths, const mark_state& mark, const database_options& options);

/// A sentence about the first damaged place of the write-ahead logs in a store; empty if they are
/// sound but for a tail that was being written.
[[nodiscard]] std::string describe_wal_damage(const directory_paths& paths);

}  // namespace callboard::storage
