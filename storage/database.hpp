// The one RocksDB of a node: its column families, its options, and opening it.
#pragma once

#include "base/error.hpp"
#include "storage/rocksdb_status.hpp"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/listener.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace callboard::storage {

/// Column families in the order of their handles. Names are on disk.
enum class family : std::uint8_t { unused, log, index, snapshot, timer, view, meta };

inline constexpr std::size_t family_count = 7;

enum class open_mode : std::uint8_t {
  /// Changes no file.
  read_only,
  /// Read-only past damage in the WAL: what a repair can still get.
  salvage,
  /// The same of a copy, which it changes: also if a WAL is missing or too short.
  salvage_copy,
  read_write,
  create,
};

struct database_options {
  std::shared_ptr<rocksdb::Cache> block_cache;
  /// Null = the machine's, with logs as log_files has them but in a salvage.
  std::shared_ptr<rocksdb::FileSystem> file_system;
  std::shared_ptr<rocksdb::EventListener> listener;
};

/// An open RocksDB. Shared by the writer, upkeep and readers; closed when the last lets go, so
/// whoever re-opens it waits for that. Any thread.
class database {
public:
  /// Errors: corruption (names the file where RocksDB does), storage_full, io_error.
  [[nodiscard]] static result<std::shared_ptr<database>>
  open(const std::string& path, open_mode mode, const database_options& options);

  /// Lets RocksDB make its own files anew from whatever tables and logs are there, and opens the
  /// result read-only. Only for a copy: what does not fit is thrown away.
  [[nodiscard]] static result<std::shared_ptr<database>> rebuild(const std::string& path);

  ~database();
  database(const database&) = delete;
  database& operator=(const database&) = delete;

  [[nodiscard]] rocksdb::DB& raw() { return *db_; }

  [[nodiscard]] rocksdb::ColumnFamilyHandle* handle(family which) const {
    return handles_[static_cast<std::size_t>(which)];
  }

  /// A point lookup: true and `out` filled if the row exists.
  [[nodiscard]] result<bool>
  get(family which,
      std::string_view key,
      std::string& out,
      const rocksdb::Snapshot* snapshot = nullptr);

  /// An iterator over [first, last) of a family. The keys must outlive it.
  [[nodiscard]] std::unique_ptr<rocksdb::Iterator> iterate(
      family which,
      const rocksdb::Slice* first,
      const rocksdb::Slice* last,
      const rocksdb::Snapshot* snapshot = nullptr);

private:
  database() = default;

  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, family_count> handles_{};
};

/// The machine's file system, or the one given.
[[nodiscard]] std::shared_ptr<rocksdb::FileSystem>
file_system_or_default(const std::shared_ptr<rocksdb::FileSystem>& given);

}  // namespace callboard::storage
