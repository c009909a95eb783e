// How views come about: pure functions from committed records to view rows. `runtime` implements
// them, `node` wires them, the journal's projector runs them.
#pragma once

#include "base/ids.hpp"
#include "storage/record.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace callboard::storage {

/// Names a family of view rows. On disk forever: numbers are never changed or reused.
enum class view_id : std::uint8_t {
  /// Key: tenant, 0, 't', topic (or: tenant, 0, 'g', topic, 0, group). Value: journal row message.
  catalogue = 1,
  /// Key: entity, first seq (both big-endian 64 bits). Value: packed ids of one block of events.
  dedupe = 2,
  /// Key: entity. Value: last trimmed sequence and counters of the topic.
  topic_state = 3,
  /// Key: entity, member. Value: journal.PresenceMember.
  presence = 4,
};

/// Rows being changed by the projector. Reads see earlier changes of the same pass.
class view_writer {
public:
  virtual ~view_writer() = default;

  virtual void put(view_id view, std::string_view key, std::string_view value) = 0;
  virtual void erase(view_id view, std::string_view key) = 0;
  /// Erases keys in [first, last).
  virtual void erase_range(view_id view, std::string_view first, std::string_view last) = 0;
  [[nodiscard]] virtual std::optional<std::string> get(view_id view, std::string_view key) = 0;
};

/// Deterministic: same records in, same rows out, whatever the batching of passes.
class projection {
public:
  virtual ~projection() = default;

  /// A change of this number rebuilds all views from the journal in the background.
  [[nodiscard]] virtual std::uint32_t version() const = 0;

  /// Applies one block: consecutive committed records of one shard, in lsn order.
  virtual void apply(std::span<const record> block, view_writer& out) const = 0;
};

}  // namespace callboard::storage
