// A committed block in memory, with what readers and the projector need to find their way in it.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "storage/block.hpp"
#include "storage/record.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::storage {

/// The records of one entity in one block: those with a sequence of their own, or the others.
struct block_entry {
  entity_id entity{};
  bool is_sequenced = false;
  /// Group progress: dead once a snapshot covers it.
  bool dies_below_snapshot = false;
  /// First sequence, or lsn of the first record.
  std::uint64_t first = 0;
  std::uint32_t count = 0;
  /// Pairs of varints: gap from the end of the run before (first: from the block's first lsn) to
  /// the run's first lsn, and the run's length.
  std::string runs;
};

/// A record of the block that changes what is alive: trims, snapshots, restated presence,
/// deletions.
struct block_change {
  record_kind kind{};
  entity_id entity{};
  callboard::lsn lsn{};
  /// Trimmed up to, or covered by the snapshot; of presence the lsn before which it is dead.
  sequence up_to{};
};

struct tail_block {
  shard_id shard{};
  lsn first{};
  std::uint32_t span = 0;
  /// Of every record in it: they come from one group commit.
  time_ms time{};
  block_bytes bytes;
  std::vector<block_entry> entries;
  std::vector<block_change> changes;

  [[nodiscard]] lsn last() const { return lsn{first.raw() + span - 1}; }

  /// What it weighs in the tail cache.
  [[nodiscard]] std::uint64_t footprint() const {
    return bytes->size() + sizeof(tail_block) + entries.size() * (sizeof(block_entry) + 32);
  }

  /// The entity's sequenced records; null if it has none here.
  [[nodiscard]] const block_entry* sequenced_entry(entity_id entity) const {
    for (const auto& entry : entries) {
      if (entry.is_sequenced && entry.entity == entity) return &entry;
    }
    return nullptr;
  }
};

using tail_block_ptr = std::shared_ptr<const tail_block>;

/// Where an entity's entries are in the block being collected; scratch space kept beside the
/// entity's head, so that finding them costs no search.
struct entry_slots {
  std::uint64_t block_serial = 0;
  std::uint32_t sequenced = 0;
  std::uint32_t others = 0;
};

/// Collects entries and changes of a block, record by record in lsn order.
class entry_collector {
public:
  void start(lsn first);

  /// Errors: corruption, if a payload that the journal must understand does not parse.
  [[nodiscard]] result<void> add(const record& head, std::string_view payload, entry_slots& slots);

  [[nodiscard]] std::vector<block_entry> take_entries();
  [[nodiscard]] std::vector<block_change> take_changes();

private:
  struct open_run {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t written_up_to = 0;
  };

  void close(std::size_t index);

  static constexpr std::uint32_t none = ~std::uint32_t{0};

  std::uint64_t serial_ = 0;
  lsn first_{};
  std::vector<block_entry> entries_;
  std::vector<open_run> runs_;
  std::vector<block_change> changes_;
};

/// Walks the lsns that an entry, or a segment of an index row, names.
class run_reader {
public:
  run_reader(lsn block, std::uint32_t span, std::string_view runs)
      : next_{block.raw()}, ahead_{span}, runs_{runs} {}

  /// The next lsn; nothing at the end. None is outside the block. A malformed one ends early:
  /// compare with its count.
  [[nodiscard]] std::optional<lsn> next();

private:
  std::uint64_t next_;
  /// Of the block, behind the run.
  std::uint64_t ahead_;
  std::uint64_t left_ = 0;
  std::string_view runs_;
};

}  // namespace callboard::storage
