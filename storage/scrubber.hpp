// The paced scrub: reads all that is stored, over and over, so that damage is found while a backup
// or a replica still has what it took.
#pragma once

#include "storage/database.hpp"
#include "storage/store.hpp"

#include <cstdint>

namespace callboard::storage {

/// Upkeep thread only. Goes through the shards in turn; in each, through all column families.
class scrubber {
public:
  explicit scrubber(store& shards) : shards_{shards} {}

  /// Checks up to about `budget` bytes more. Damage quarantines its shard.
  void run(database& db, std::uint64_t budget);

private:
  [[nodiscard]] result<std::uint64_t> scrub_log(database& db, std::uint64_t budget);
  [[nodiscard]] result<std::uint64_t> scrub_rows(database& db, family which);

  store& shards_;
  shard_id shard_{};
  /// Checked up to here in the shard's log.
  lsn reached_{};
};

}  // namespace callboard::storage
