// A consistent look at one shard: a database snapshot below, the in-memory tail above it.
#pragma once

#include "storage/database.hpp"
#include "storage/entity_head.hpp"
#include "storage/index_row.hpp"
#include "storage/journal.hpp"
#include "storage/store.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::storage {

/// One thread. The database snapshot is taken at first need: what the cache holds costs no disk.
class journal_reader final : public shard_reader {
public:
  /// Errors: overloaded (the store is being opened again), quarantined.
  [[nodiscard]] static result<std::unique_ptr<shard_reader>> open(store& shards, shard_id shard);

  ~journal_reader() override;

  [[nodiscard]] lsn applied() const override;

  [[nodiscard]] lsn committed() const override { return committed_; }

  result<void> visit_tail(const record_visitor& visit) override;
  result<void> visit_tail_of(entity_id entity, const record_visitor& visit) override;
  result<void> visit_entity(entity_id entity, sequence from, const record_visitor& visit) override;
  [[nodiscard]] result<std::optional<span>> entity_span(entity_id entity) override;
  [[nodiscard]] result<std::optional<sequence>>
  first_at_or_after(entity_id entity, time_ms time) override;
  [[nodiscard]] result<std::optional<snapshot_row>> snapshot(entity_id entity) override;
  [[nodiscard]] result<std::optional<std::string>> get(view_id view, std::string_view key) override;
  result<void>
  scan(view_id view, std::string_view first, std::string_view last, const row_visitor& visit)
      override;

private:
  /// State of a visit over an entity's records.
  struct walk {
    entity_id entity{};
    /// The next sequence to give out.
    std::uint64_t next = 0;
    const record_visitor& visit;
    bool stopped = false;
  };

  journal_reader(store& shards, shard_id shard, std::shared_ptr<database> db)
      : shards_{shards}, shard_{shard}, db_{std::move(db)} {}

  void take_snapshot() const;
  [[nodiscard]] result<entity_head> head_of(entity_id entity, const rocksdb::Snapshot* at) const;
  /// The head with what the tail changes.
  [[nodiscard]] result<entity_head> current_head(entity_id entity) const;

  [[nodiscard]] result<bool> walk_cache(walk& at);
  [[nodiscard]] result<void> walk_disk(walk& at, sequence last);
  [[nodiscard]] result<void>
  walk_segment(walk& at, const index_segment& segment, rocksdb::Iterator& log);
  [[nodiscard]] result<void> walk_tail(walk& at);
  [[nodiscard]] result<void> walk_block(walk& at, const tail_block& block);
  [[nodiscard]] result<void> give(walk& at, const record& next);
  /// Accepts that sequences up to before `found` are missing, or reports corruption.
  [[nodiscard]] result<void> bridge_gap(walk& at, std::uint64_t found);
  [[nodiscard]] result<std::optional<std::uint64_t>> lost_up_to(entity_id entity, std::uint64_t at);
  [[nodiscard]] result<std::optional<sequence>>
  search_disk(entity_id entity, sequence first, sequence last, time_ms time);

  /// Quarantines the shard if `why` is corruption.
  [[nodiscard]] std::unexpected<error> damaged(const error& why) const;

  store& shards_;
  shard_id shard_;
  std::shared_ptr<database> db_;
  mutable lsn committed_{};
  mutable lsn applied_{};
  mutable std::uint8_t view_generation_ = 0;
  /// Committed blocks above what was applied when the reader was made.
  std::vector<tail_block_ptr> tail_;
  mutable const rocksdb::Snapshot* snapshot_ = nullptr;
};

}  // namespace callboard::storage
