// The one place where a RocksDB status becomes an error of ours.
#pragma once

#include "base/error.hpp"

#include <rocksdb/status.h>

#include <string_view>

namespace callboard::storage {

/// What a status that is not ok means to us; `doing` begins the sentence ("reading the log").
/// corruption: bytes differ from what was written. storage_full: no space. Otherwise io_error.
[[nodiscard]] error error_of(const rocksdb::Status& status, std::string_view doing);

[[nodiscard]] inline result<void> checked(const rocksdb::Status& status, std::string_view doing) {
  if (status.ok()) return {};
  return std::unexpected{error_of(status, doing)};
}

}  // namespace callboard::storage
