// The data directory of a stopped node, opened to be read only.
#pragma once

#include "base/error.hpp"
#include "storage/block.hpp"
#include "storage/database.hpp"
#include "storage/directory.hpp"
#include "storage/mark.hpp"
#include "storage/offline.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace callboard::storage {

/// Holds the directory's lock while it lives.
struct stopped_store {
  directory_paths paths;
  directory_lock lock;
  fixed_settings fixed;
  std::shared_ptr<database> db;
};

/// Errors: not_found, locked, incompatible, corruption, io_error.
[[nodiscard]] result<stopped_store> open_stopped(const std::string& data_dir, open_mode mode);

/// Takes the lock of a directory that must exist. Errors: not_found, locked, io_error.
[[nodiscard]] result<directory_lock> lock_existing(const directory_paths& paths);

/// Calls `visit` for every block of a shard that can be read, in lsn order, and `damage` for every
/// place that cannot be: whatever is bad is reported and stepped over. Return false from `visit`
/// to stop. `visit` gets blocks whose records all verify; of a bad block only the good front.
void visit_readable_blocks(
    database& db,
    shard_id shard,
    const std::function<bool(const block_bytes& bytes, lsn first)>& visit,
    const std::function<void(damage_report)>& damage);

/// A block whose records all verify, and that `views` cannot take.
[[nodiscard]] damage_report without_views(shard_id shard, lsn first, const error& why);

/// Checks the tables of a store one by one. Adds what is damaged to `report`.
void verify_tables(database& db, std::vector<damage_report>& report);

}  // namespace callboard::storage
