// The durable mark: which lsn of each shard was fsynced and may have been acknowledged.
// Two checksummed slots that are written in turn (docs/formats.md "mark").
#pragma once

#include "base/error.hpp"

#include <rocksdb/file_system.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::storage {

/// What a mark file says.
struct mark_state {
  std::uint64_t generation = 0;
  /// Last fsynced lsn per shard.
  std::vector<std::uint64_t> lsns;
  /// A slot that does not verify: torn by a power cut or damaged. The other one counts.
  bool has_bad_slot = false;
};

/// The bytes of a whole mark file that says `lsns` in its first slot and is empty in the second.
[[nodiscard]] std::string encode_mark(std::span<const std::uint64_t> lsns);

/// Errors: corruption, naming `file`, if no slot verifies.
[[nodiscard]] result<mark_state>
decode_mark(std::string_view bytes, std::uint32_t shard_count, std::string_view file);

[[nodiscard]] result<mark_state>
read_mark(rocksdb::FileSystem& files, const std::string& path, std::uint32_t shard_count);

/// The number of shards that a mark file speaks of; for a directory whose settings are lost.
[[nodiscard]] result<std::uint32_t>
shard_count_of_mark(rocksdb::FileSystem& files, const std::string& path);

/// Makes a mark file, fsynced.
[[nodiscard]] result<void> create_mark(
    rocksdb::FileSystem& files, const std::string& path, std::span<const std::uint64_t> lsns);

/// Writes the mark of an open journal. Writer thread only.
class mark_writer {
public:
  [[nodiscard]] static result<std::unique_ptr<mark_writer>>
  open(rocksdb::FileSystem& files, const std::string& path, const mark_state& last);

  /// Hands the mark to the operating system: survives the process, not yet a power cut.
  [[nodiscard]] result<void> write(std::span<const std::uint64_t> lsns);

  [[nodiscard]] result<void> sync();

private:
  mark_writer(std::unique_ptr<rocksdb::FSRandomRWFile> file, std::uint64_t generation)
      : file_{std::move(file)}, generation_{generation} {}

  std::unique_ptr<rocksdb::FSRandomRWFile> file_;
  std::uint64_t generation_;
  std::string slot_;
};

}  // namespace callboard::storage
