// Gives back the space of dead records: deletes blocks that hold nothing else, rewrites those that
// hold little else, and has RocksDB drop files and compact.
#pragma once

#include "base/error.hpp"
#include "storage/database.hpp"
#include "storage/index_walk.hpp"
#include "storage/journal_writer.hpp"
#include "storage/liveness.hpp"
#include "storage/store.hpp"

#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace callboard::storage {

/// Upkeep thread only: nobody else deletes or rewrites blocks. What waits is written down in
/// reclaim rows by the projector, so that a restart goes on where it stopped.
class reclaimer {
public:
  reclaimer(store& shards, journal_writer& writer) : shards_{shards}, writer_{writer} {}

  /// Works off what waits. `compact_after`: bytes given back before files are compacted for it.
  void run(database& db, std::uint64_t compact_after);

  /// Bytes of records given back since the start.
  [[nodiscard]] std::uint64_t released_bytes() const { return released_total_; }

private:
  /// All that waits for one entity.
  struct job {
    shard_id shard{};
    entity_id entity{};
    std::vector<std::string> rows;
    std::vector<lsn> replaced;
    /// Presence that was not dead before the first of these changes begins here.
    std::optional<lsn> presence_from;
  };

  /// Progress of a job.
  struct work {
    explicit work(database& db, const job& todo)
        : db{db},
          todo{todo},
          live{db, todo.shard},
          sequenced{db, todo.shard, todo.entity, keys::index_class::sequenced, batch},
          others{db, todo.shard, todo.entity, keys::index_class::others, batch} {}

    database& db;
    const job& todo;
    liveness live;
    rocksdb::WriteBatch batch;
    index_walk sequenced;
    index_walk others;
    /// The newest block and what is not applied are left alone.
    lsn protected_from{};
    std::optional<std::pair<lsn, lsn>> hole;
    bool is_complete = true;
  };

  [[nodiscard]] static std::vector<job> find_jobs(database& db);
  [[nodiscard]] result<void> do_job(database& db, const job& todo);
  [[nodiscard]] result<void> drop_sequenced(work& on, const entity_head& head);
  [[nodiscard]] result<void>
  drop_block_of(work& on, const index_segment& sequenced, bool keeps_others);
  [[nodiscard]] result<void> drop_others_before(work& on, lsn before);
  [[nodiscard]] result<void> drop_others_of(work& on, lsn block, bool is_live);
  [[nodiscard]] result<void> drop_replaced(work& on, const entity_head& head);
  [[nodiscard]] result<void> drop_entity(work& on, const entity_head& head);
  [[nodiscard]] result<bool> clean_block(work& on, lsn first, bool must_rewrite);
  [[nodiscard]] result<void> delete_block(work& on, lsn first, lsn last, std::uint64_t size);
  [[nodiscard]] result<void> close_hole(work& on);
  [[nodiscard]] result<void> flush(work& on);
  [[nodiscard]] result<void> flush_if_large(work& on);
  [[nodiscard]] result<void> protect_newest(work& on);
  void update_first(database& db, shard_id shard);
  [[nodiscard]] result<void> compact(database& db);
  [[nodiscard]] static result<void> drop_files(database& db, shard_id shard);

  store& shards_;
  journal_writer& writer_;
  /// Per shard: the last lsn given back since files were compacted.
  std::map<std::uint32_t, lsn> released_up_to_;
  std::uint64_t released_ = 0;
  std::uint64_t released_total_ = 0;
};

}  // namespace callboard::storage
