// One pass of the projector over view rows: later reads of the same pass see its changes, and only
// the last change of each row goes into the write batch.
#pragma once

#include "base/error.hpp"
#include "storage/database.hpp"
#include "storage/projection.hpp"

#include <rocksdb/write_batch.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace callboard::storage {

/// One thread. Changes are made a block at a time: each ends with `keep_block` or `drop_block`. A
/// failure is kept until `take_failure`; the block must then be dropped.
class view_pass final : public view_writer {
public:
  /// The shard and generation that rows belong to from now on.
  void enter(database& from, rocksdb::WriteBatch& into, shard_id shard, std::uint8_t generation) {
    from_ = &from;
    into_ = &into;
    shard_ = shard;
    generation_ = generation;
  }

  /// The changes since the last block belong to the pass. Ranges erased go into the batch at once.
  void keep_block();

  /// Takes back the changes since the last block.
  void drop_block();

  /// Adds the rows of the pass to `into`, each once.
  void write(database& to, rocksdb::WriteBatch& into);

  /// Forgets the changes of the pass: they are in the store now, or never will be.
  void reset();

  [[nodiscard]] std::optional<error> take_failure() { return std::exchange(failure_, {}); }

  void put(view_id view, std::string_view key, std::string_view value) override;
  void erase(view_id view, std::string_view key) override;
  void erase_range(view_id view, std::string_view first, std::string_view last) override;
  [[nodiscard]] std::optional<std::string> get(view_id view, std::string_view key) override;
  void report_damage(const record& at, const error& why) override;

private:
  const std::string& full_key(view_id view, std::string_view key);

  database* from_ = nullptr;
  rocksdb::WriteBatch* into_ = nullptr;
  shard_id shard_{};
  std::uint8_t generation_ = 0;
  std::string key_;
  using row_changes = std::map<std::string, std::optional<std::string>, std::less<>>;
  using key_ranges = std::vector<std::pair<std::string, std::string>>;

  row_changes block_changes_;
  key_ranges block_erased_;
  row_changes changes_;
  key_ranges erased_;
  std::optional<error> failure_;
};

}  // namespace callboard::storage
