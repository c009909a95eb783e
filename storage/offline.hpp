// What can be done with the data directory of a stopped node: verify, dump, export, repair,
// restore.
#pragma once

#include "storage/journal.hpp"

#include <functional>
#include <string>
#include <vector>

namespace callboard::storage {

struct damage_report {
  std::string file;
  std::uint32_t shard = 0;
  std::uint64_t lsn = 0;
  std::string what;
};

struct verify_report {
  std::uint32_t shards = 0;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::vector<damage_report> damage;
};

/// Reads every record of every shard and checks checksums, density, chains, index and mark, and
/// that `views` can take it: the rows of one shard at a time are made anew in memory.
/// Touches nothing. Errors: locked, incompatible, io_error; damage is in the report.
[[nodiscard]] result<verify_report> verify_directory(
    const std::string& data_dir, std::shared_ptr<const projection> views, const progress& report);

/// Calls `visit` for the records of one shard (or of all), in lsn order. Touches nothing.
[[nodiscard]] result<void> dump_directory(
    const std::string& data_dir,
    std::optional<shard_id> shard,
    lsn from,
    const std::function<bool(shard_id, const record&)>& visit);

struct repair_report {
  std::uint64_t records_kept = 0;
  std::uint64_t records_lost = 0;
  std::vector<damage_report> damage;
};

/// Rebuilds what can be read into a new directory `<data_dir>.repaired-N`, puts it in place of the
/// old one, keeps the old one beside it, and gives every shard that lost records a new incarnation.
/// All view rows are made anew by `views`.
[[nodiscard]] result<repair_report> repair_directory(
    const std::string& data_dir, std::shared_ptr<const projection> views, const progress& report);

/// Makes `data_dir` (which must not exist or be empty) from a backup; new incarnation everywhere.
[[nodiscard]] result<backup_info>
restore_backup(const std::string& backup_dir, const std::string& data_dir, const progress& report);

}  // namespace callboard::storage
