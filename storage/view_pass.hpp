// One pass of the projector over view rows: changes go into a write batch and are seen by later
// reads of the same pass.
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

/// One thread. A failed read is kept until `take_failure`; rows made after it must be dropped.
class view_pass final : public view_writer {
public:
  /// The shard and generation that rows belong to from now on.
  void enter(database& from, rocksdb::WriteBatch& into, shard_id shard, std::uint8_t generation) {
    from_ = &from;
    into_ = &into;
    shard_ = shard;
    generation_ = generation;
  }

  /// Forgets the changes of the pass: they are in the store now, or never will be.
  void reset();

  [[nodiscard]] std::optional<error> take_failure() { return std::exchange(failure_, {}); }

  void put(view_id view, std::string_view key, std::string_view value) override;
  void erase(view_id view, std::string_view key) override;
  void erase_range(view_id view, std::string_view first, std::string_view last) override;
  [[nodiscard]] std::optional<std::string> get(view_id view, std::string_view key) override;

private:
  const std::string& full_key(view_id view, std::string_view key);

  database* from_ = nullptr;
  rocksdb::WriteBatch* into_ = nullptr;
  shard_id shard_{};
  std::uint8_t generation_ = 0;
  std::string key_;
  std::map<std::string, std::optional<std::string>, std::less<>> changes_;
  std::vector<std::pair<std::string, std::string>> erased_;
  std::optional<error> failure_;
};

}  // namespace callboard::storage
