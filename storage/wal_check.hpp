// Finds the damaged place in a RocksDB write-ahead log, to be named in messages: RocksDB itself
// only stops there. Reads the framing of the "log format" page of RocksDB's documentation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace callboard::storage {

struct wal_check_result {
  bool is_sound = true;
  /// First byte of the physical record that does not verify.
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  /// Sound records follow in a later 32 KiB page.
  bool has_more = false;
};

/// Checks the frames of one file. A file that cannot be read counts as unsound at 0.
[[nodiscard]] wal_check_result check_wal(const std::filesystem::path& file);

/// The write-ahead logs of a store, oldest first.
[[nodiscard]] std::vector<std::filesystem::path> wal_files(const std::filesystem::path& db);

}  // namespace callboard::storage
