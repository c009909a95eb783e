// The one projector: from committed blocks to index, heads, snapshots and views.
#pragma once

#include "base/error.hpp"
#include "storage/database.hpp"
#include "storage/head_table.hpp"
#include "storage/index_pass.hpp"
#include "storage/projection.hpp"
#include "storage/tail_block.hpp"
#include "storage/view_pass.hpp"

#include <rocksdb/write_batch.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace callboard::storage {

/// Turns blocks, in lsn order per shard, into changes of a write batch. A pass is any number of
/// blocks, then `finish_pass`; the next begins after the batch was written. One thread.
class projector {
public:
  projector(std::shared_ptr<const projection> views, head_table& heads)
      : views_{std::move(views)}, heads_{heads} {}

  /// Notes in `head` that `written` is the entity's newest record.
  static void note(entity_head& head, const record& written);

  /// The block that was read back from disk.
  /// Errors: as database::get, corruption.
  [[nodiscard]] result<tail_block_ptr>
  reread(database& from, shard_id shard, const block_bytes& bytes, lsn first);

  /// Adds the rows of one block to `into`, but for those that later blocks of the pass may change
  /// again: heads, index and views. On error `into` is as before, and the pass is without the
  /// block. Errors: as database::get; corruption if a head row or a payload does not parse.
  [[nodiscard]] result<void> project(
      database& from,
      const tail_block& block,
      std::uint8_t view_generation,
      rocksdb::WriteBatch& into);

  /// Adds the heads and view rows that the pass has changed, each once, and its index rows.
  void finish_pass(database& to, rocksdb::WriteBatch& into);

  /// Adds the row that says how far a shard is applied.
  static void put_applied(
      database& from,
      shard_id shard,
      lsn applied,
      std::uint8_t view_generation,
      rocksdb::WriteBatch& into);

  /// Adds the row that says which projection made a shard's view rows.
  static void put_views_version(
      database& from, shard_id shard, std::uint32_t version, rocksdb::WriteBatch& into);

  /// The batch was written (or will never be).
  void end_pass();

  /// Applies records, in lsn order, to the view rows of one generation only. On error the pass is
  /// without them. Errors: as database::get.
  [[nodiscard]] result<void> apply_views(
      database& from,
      shard_id shard,
      std::span<const record> records,
      std::uint8_t view_generation,
      rocksdb::WriteBatch& into);

private:
  [[nodiscard]] result<void>
  project_rows(database& from, const tail_block& block, rocksdb::WriteBatch& into);
  void apply_change(
      database& from,
      const tail_block& block,
      const block_change& change,
      cached_head& head,
      rocksdb::WriteBatch& into);
  [[nodiscard]] std::string_view payload_at(const tail_block& block, lsn at) const;
  void read_records(const tail_block& block);
  [[nodiscard]] result<void> note_records(database& from, shard_id shard);

  std::shared_ptr<const projection> views_;
  head_table& heads_;
  view_pass pass_;
  index_pass index_;
  std::vector<record> records_;

  struct changed_head {
    shard_id shard{};
    entity_id entity{};
    cached_head* head = nullptr;
  };

  /// Heads of the block as they were before it, for a block that fails.
  std::vector<std::pair<cached_head*, entity_head>> heads_before_;
  /// Of the block, and of the pass.
  std::vector<changed_head> block_heads_;
  std::vector<changed_head> heads_changed_;
  std::string value_;
};

/// Value of a snapshot row: covered sequence, lsn of the record, state.
void encode_snapshot_value(std::string& out, sequence covered, lsn at, std::string_view state);

struct snapshot_value {
  sequence covered{};
  lsn at{};
  std::string_view state;
};

/// Errors: corruption.
[[nodiscard]] result<snapshot_value> decode_snapshot_value(std::string_view in);

}  // namespace callboard::storage
