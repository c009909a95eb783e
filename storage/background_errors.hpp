// What RocksDB meets on its own threads: damage and a full disk, told to the writer.
#pragma once

#include "storage/rocksdb_status.hpp"

#include <rocksdb/listener.h>

#include <mutex>
#include <optional>
#include <utility>

namespace callboard::storage {

/// Keeps the first error of flushes and compactions until it is taken. Any thread.
class background_errors final : public rocksdb::EventListener {
public:
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
    const std::lock_guard guard{mutex_};
    if (!first_ && status != nullptr) first_ = error_of(*status, "RocksDB in the background");
  }

  [[nodiscard]] std::optional<error> take() {
    const std::lock_guard guard{mutex_};
    return std::exchange(first_, {});
  }

  [[nodiscard]] bool has_error() const {
    const std::lock_guard guard{mutex_};
    return first_.has_value();
  }

private:
  mutable std::mutex mutex_;
  std::optional<error> first_;
};

}  // namespace callboard::storage
