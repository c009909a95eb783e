#include "storage/upkeep.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace callboard::storage {

upkeep::upkeep(upkeep_parts parts)
    : parts_{std::move(parts)},
      reclaimer_{parts_.shards, parts_.writer},
      rebuild_{parts_.shards, parts_.views},
      scrubber_{parts_.shards},
      scrubbed_at_{parts_.time.boot()},
      log_bytes_gauge_{parts_.counters.gauge("journal_log_bytes", "Size of the stored records")},
      free_bytes_gauge_{
          parts_.counters.gauge("disk_free_bytes", "Free space of the data directory")},
      quarantined_gauge_{
          parts_.counters.gauge("quarantined_shards", "Shards out of service because of damage")} {}

upkeep::~upkeep() {
  stop();
}

void upkeep::start() {
  thread_ = std::jthread{[this](const std::stop_token& stopping) { run(stopping); }};
}

void upkeep::stop() {
  thread_.request_stop();
  woken_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void upkeep::wake() {
  {
    const std::lock_guard guard{mutex_};
    is_wanted_ = true;
  }
  woken_.notify_one();
}

void upkeep::run(const std::stop_token& stopping) {
  while (!stopping.stop_requested()) {
    parts_.space.refresh();
    parts_.space.restore_ballast();
    if (const auto db = parts_.shards.acquire()) {
      round(*db, stopping);
      if (parts_.seams.after_upkeep) parts_.seams.after_upkeep();
    }
    quarantined_gauge_.Set(parts_.shards.quarantined_count());
    free_bytes_gauge_.Set(static_cast<double>(parts_.space.free_bytes()));
    std::unique_lock lock{mutex_};
    woken_.wait_for(lock, stopping, parts_.seams.upkeep_interval, [this] { return is_wanted_; });
    is_wanted_ = false;
  }
}

void upkeep::round(database& db, const std::stop_token& stopping) {
  read_sizes(db);
  // A full disk is helped by nothing but space: then everything given back is compacted at once.
  const auto compact_after = parts_.space.is_below_soft() ? 1 : parts_.seams.compact_after_bytes;
  // What a switch of views has yet to apply must be there.
  if (!parts_.writer.is_switching_views()) reclaimer_.run(db, compact_after);
  const auto is_stopping = [&] {
    return parts_.shards.closing() || stopping.stop_requested();
  };
  while (!is_stopping() && rebuild_.step(db, parts_.writer)) {
  }
  const auto now = parts_.time.boot();
  const auto elapsed = std::chrono::duration<double>(now - std::exchange(scrubbed_at_, now));
  const auto budget = std::clamp(elapsed.count(), 0.0, 2.0) * parts_.settings.scrub_bytes_per_s;
  if (budget >= 1) scrubber_.run(db, static_cast<std::uint64_t>(budget));
}

void upkeep::read_sizes(database& db) {
  std::uint64_t tables = 0;
  std::uint64_t memory = 0;
  auto* log = db.handle(family::log);
  db.raw().GetIntProperty(log, rocksdb::DB::Properties::kLiveSstFilesSize, &tables);
  db.raw().GetIntProperty(log, rocksdb::DB::Properties::kCurSizeAllMemTables, &memory);
  log_bytes_ = tables + memory;
  log_bytes_gauge_.Set(static_cast<double>(tables + memory));
}

}  // namespace callboard::storage
