// What a result was measured on.
#pragma once

#include <cstdint>
#include <string>

namespace callboard::bench {

struct machine {
  unsigned cores = 0;
  std::string cpu;
  std::string kernel;
  std::uint64_t memory_bytes = 0;
  std::string file_system;
  /// Median and 99th percentile of 4 KiB append and fdatasync in the data folder, in microseconds.
  double fsync_p50_us = 0;
  double fsync_p99_us = 0;
};

/// Looks at this machine; writes and syncs a small file in `folder` for about a second.
[[nodiscard]] machine describe_machine(const std::string& folder);

[[nodiscard]] std::string shown(const machine& here);
[[nodiscard]] std::string json_of(const machine& here);

}  // namespace callboard::bench
