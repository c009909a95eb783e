// Going through an entity's index rows segment by segment, and taking out those of blocks that go.
#pragma once

#include "base/error.hpp"
#include "storage/database.hpp"
#include "storage/index_row.hpp"
#include "storage/keys.hpp"

#include <rocksdb/write_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace callboard::storage {

/// The segments of one entity and class, in order. One thread.
class index_walk {
public:
  /// The segment it stands at, valid until the next step; null behind the last one.
  /// Errors: as database::get, corruption.
  using step = result<const index_segment*>;

  /// To read, as of the snapshot.
  index_walk(
      database& db,
      shard_id shard,
      entity_id entity,
      keys::index_class kind,
      const rocksdb::Snapshot* snapshot)
      : db_{db}, shard_{shard}, entity_{entity}, kind_{kind}, snapshot_{snapshot} {}

  /// To change rows in `changes`. Each `seek` sees what is in the store by then.
  index_walk(
      database& db,
      shard_id shard,
      entity_id entity,
      keys::index_class kind,
      rocksdb::WriteBatch& changes)
      : db_{db}, shard_{shard}, entity_{entity}, kind_{kind}, changes_{&changes} {}

  /// To the segment that has this number: the last one that does not begin behind it, or else the
  /// first there is.
  [[nodiscard]] step seek(std::uint64_t number);

  [[nodiscard]] const index_segment* at() const;

  [[nodiscard]] step next();

  /// Takes out the segment it stands at, and goes on to the next. Precondition: it stands at one.
  [[nodiscard]] step drop();

  /// Adds the row it is in to the changes, as it is without what was taken out so far: what else
  /// they say of those blocks is to be written with it. A row that is left is added by itself.
  void put_row();

private:
  [[nodiscard]] step read_row();
  [[nodiscard]] step arrive();

  database& db_;
  shard_id shard_;
  entity_id entity_;
  keys::index_class kind_;
  const rocksdb::Snapshot* snapshot_ = nullptr;
  rocksdb::WriteBatch* changes_ = nullptr;

  std::unique_ptr<rocksdb::Iterator> rows_;
  /// Of the row: what is left of it, and the number that it has in the store.
  std::vector<index_segment> segments_;
  std::uint64_t stored_as_ = 0;
  bool is_changed_ = false;
  std::size_t index_ = 0;
  std::string value_;
};

}  // namespace callboard::storage
