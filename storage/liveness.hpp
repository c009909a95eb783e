// Which records of a block are still needed (docs/formats.md "What is dead").
#pragma once

#include "base/error.hpp"
#include "storage/database.hpp"
#include "storage/entity_head.hpp"
#include "storage/record.hpp"

#include <optional>
#include <unordered_map>

namespace callboard::storage {

/// Judges records of one shard by the heads as they are now. Short-lived; one thread.
class liveness {
public:
  liveness(database& db, shard_id shard) : db_{db}, shard_{shard} {}

  /// True if the record must be kept. Precondition: it is applied. Errors: as database::get,
  /// corruption.
  [[nodiscard]] result<bool> is_live(const record& judged);

  /// True for a dead record that may have brought a member or set a timer, when what undid that may
  /// be gone: no view may be made of it.
  [[nodiscard]] result<bool> is_left_behind(const record& judged);

  /// The entity's head; nothing if it has none (any more).
  [[nodiscard]] result<std::optional<entity_head>> head_of(entity_id entity);

  /// Judges as if the entity's head were gone.
  void assume_gone(entity_id entity) { heads_[entity.raw()] = std::nullopt; }

private:
  database& db_;
  shard_id shard_;
  std::unordered_map<std::uint64_t, std::optional<entity_head>> heads_;
};

}  // namespace callboard::storage
