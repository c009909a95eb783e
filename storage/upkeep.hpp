// Work that is nobody's hurry, on one thread beside RocksDB's own: gives space back, looks for
// damage, rebuilds views, reads sizes and free space, keeps the ballast.
#pragma once

#include "base/config.hpp"
#include "base/metrics.hpp"
#include "storage/disk_space.hpp"
#include "storage/journal_writer.hpp"
#include "storage/open_options.hpp"
#include "storage/reclaimer.hpp"
#include "storage/scrubber.hpp"
#include "storage/store.hpp"
#include "storage/view_rebuild.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

namespace callboard::storage {

/// What upkeep works on; everything outlives it.
struct upkeep_parts {
  const config::storage_section& settings;
  const open_options& seams;
  const clock& time;
  metrics& counters;
  store& shards;
  disk_space& space;
  journal_writer& writer;
  std::shared_ptr<const projection> views;
};

/// Owned by the journal.
class upkeep {
public:
  explicit upkeep(upkeep_parts parts);
  ~upkeep();

  void start();
  void stop();

  /// There is something to give back. Any thread; does not block.
  void wake();

  [[nodiscard]] std::uint64_t log_bytes() const {
    return log_bytes_.load(std::memory_order_relaxed);
  }

private:
  void run(const std::stop_token& stopping);
  void round(database& db, const std::stop_token& stopping);
  void read_sizes(database& db);

  upkeep_parts parts_;
  reclaimer reclaimer_;
  view_rebuild rebuild_;
  scrubber scrubber_;
  boot_time scrubbed_at_;
  prometheus::Gauge& log_bytes_gauge_;
  prometheus::Gauge& free_bytes_gauge_;
  prometheus::Gauge& quarantined_gauge_;
  std::atomic<std::uint64_t> log_bytes_{0};
  std::mutex mutex_;
  std::condition_variable_any woken_;
  bool is_wanted_ = false;
  std::jthread thread_;
};

}  // namespace callboard::storage
