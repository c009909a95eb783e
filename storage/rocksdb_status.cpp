#include "storage/rocksdb_status.hpp"

#include <fmt/format.h>

namespace callboard::storage {

error error_of(const rocksdb::Status& status, std::string_view doing) {
  auto code = errc::io_error;
  if (status.IsCorruption()) code = errc::corruption;
  if (status.IsNoSpace()) code = errc::storage_full;
  return error{code, fmt::format("{}: {}", doing, status.ToString())};
}

}  // namespace callboard::storage
