// One pass of the projector over index rows: what it finds of one entity goes into one row.
#pragma once

#include "storage/database.hpp"
#include "storage/index_row.hpp"
#include "storage/keys.hpp"
#include "storage/tail_block.hpp"

#include <rocksdb/write_batch.h>

#include <cstddef>
#include <string>
#include <vector>

namespace callboard::storage {

/// One thread. Each block ends with `keep_block` or `drop_block`.
class index_pass {
public:
  /// Blocks of one shard come in lsn order.
  void add(const tail_block& block, const block_entry& entry);

  /// What was added since the last block belongs to the pass.
  void keep_block();

  /// Takes back what was added since the last block.
  void drop_block();

  /// Adds the rows of the pass to `into`, in the order of their keys.
  void write(database& to, rocksdb::WriteBatch& into);

  /// Forgets the rows of the pass: they are in the store now, or never will be.
  void reset();

private:
  struct placed_segment {
    shard_id shard{};
    entity_id entity{};
    keys::index_class kind{};
    /// Without its runs: they are in `runs_`, which moves while it grows.
    index_segment segment;
    std::size_t runs_begin = 0;
    std::size_t runs_size = 0;
  };

  std::vector<placed_segment> segments_;
  std::string runs_;
  std::size_t segments_kept_ = 0;
  std::size_t runs_kept_ = 0;
  std::vector<index_segment> row_;
  std::string value_;
};

}  // namespace callboard::storage
