// Making view rows anew from the journal, when the projection has changed.
#pragma once

#include "base/error.hpp"
#include "storage/database.hpp"
#include "storage/head_table.hpp"
#include "storage/projector.hpp"
#include "storage/store.hpp"

#include <rocksdb/write_batch.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

namespace callboard::storage {

class journal_writer;

/// Where the presence of each topic began to count when a rebuild first met it, by entity. What
/// becomes dead meanwhile counts to the end: the rebuild may have made rows of what came before.
using presence_floors = std::unordered_map<std::uint64_t, lsn>;

/// Applies the records of a shard in (after, last] to view rows of `generation`, into `changes`.
/// Records of entities that are gone for good are left out. Nothing is reclaimed between the steps
/// of one rebuild, which share `floors`. Errors: corruption, io_error.
[[nodiscard]] result<void> rebuild_views(
    database& db,
    projector& with,
    shard_id shard,
    std::uint8_t generation,
    lsn after,
    lsn last,
    presence_floors& floors,
    rocksdb::WriteBatch& changes);

/// Rebuilds shards one after another beside the writer, which goes on with the rows there are and
/// makes the last step itself. Upkeep thread only. Begins anew after a restart.
class view_rebuild {
public:
  view_rebuild(store& shards, std::shared_ptr<const projection> views);

  /// Goes on for a bounded number of records. True if there is more to do.
  [[nodiscard]] bool step(database& db, journal_writer& writer);

private:
  [[nodiscard]] std::optional<shard_id> next_outdated() const;
  [[nodiscard]] result<void> begin(database& db, shard_id shard);
  [[nodiscard]] result<void> advance(database& db, lsn up_to);

  store& shards_;
  std::shared_ptr<const projection> views_;
  head_table heads_;
  projector projector_;
  std::optional<shard_id> current_;
  std::uint8_t generation_ = 0;
  lsn progress_{};
  std::shared_ptr<presence_floors> floors_;
  bool is_handed_over_ = false;
};

}  // namespace callboard::storage
