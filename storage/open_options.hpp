// Seams of `journal::open` for tests: the file system below the store and where free space is
// read. Included by storage and its tests only.
#pragma once

#include "storage/journal.hpp"

#include <rocksdb/file_system.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace callboard::storage {

struct open_options {
  /// Carries the store and the mark; null = the machine's.
  std::shared_ptr<rocksdb::FileSystem> file_system;
  /// Free bytes of the file system that holds a path; empty = statvfs.
  std::function<result<std::uint64_t>(const std::string& path)> free_bytes;
  /// How long a reading of free space is good for.
  std::chrono::milliseconds free_bytes_max_age{100};
  /// How often space is given back and damage is looked for.
  std::chrono::milliseconds upkeep_interval{1000};
  /// Called on the upkeep thread after each of these rounds; empty = not.
  std::function<void()> after_upkeep;
  /// Bytes of dead records before files are compacted to give their space back.
  std::uint64_t compact_after_bytes = 32ULL << 20;
};

/// As `journal::open`, on these seams.
[[nodiscard]] result<std::unique_ptr<journal>> open_journal(
    const config::storage_section& settings,
    std::shared_ptr<const projection> views,
    const clock& time,
    metrics& counters,
    open_options options);

}  // namespace callboard::storage
