// A consistent copy of a store while it serves.
#pragma once

#include "base/config.hpp"
#include "storage/journal.hpp"
#include "storage/store.hpp"

#include <string>

namespace callboard::storage {

/// Adds a backup of all that is committed now to the folder `target`; files that an earlier backup
/// there has already are shared. Blocks on disk. Errors: storage_full, io_error, corruption.
[[nodiscard]] result<backup_info> back_up(
    store& shards,
    const config::storage_section& settings,
    const std::string& target,
    const progress& report);

}  // namespace callboard::storage
