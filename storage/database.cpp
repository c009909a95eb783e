#include "storage/database.hpp"

#include "base/log.hpp"
#include "storage/keys.hpp"
#include "storage/log_files.hpp"

#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <string_view>
#include <thread>
#include <vector>

namespace callboard::storage {

namespace {

constexpr std::array<std::string_view, family_count> family_names = {
    "default", "log", "index", "snapshot", "timer", "view", "meta"};

/// Sends RocksDB's own warnings to our log and keeps it from writing a LOG file: opening read-only
/// must leave the directory as it was.
class log_bridge final : public rocksdb::Logger {
public:
  log_bridge() : rocksdb::Logger{rocksdb::WARN_LEVEL} {}

  using rocksdb::Logger::Logv;

  void Logv(const char* format, va_list arguments) override {
    write(spdlog::level::warn, format, arguments);
  }

  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < rocksdb::WARN_LEVEL) return;
    const bool is_grave = level >= rocksdb::ERROR_LEVEL && level < rocksdb::HEADER_LEVEL;
    write(is_grave ? spdlog::level::err : spdlog::level::warn, format, arguments);
  }

private:
  void write(spdlog::level::level_enum level, const char* format, va_list arguments) {
    char text[1024];
    std::vsnprintf(text, sizeof(text), format, arguments);
    log_->log(level, "{}", text);
  }

  std::shared_ptr<spdlog::logger> log_ = log::channel("rocksdb");
};

rocksdb::DBOptions node_options(open_mode mode, const database_options& options) {
  rocksdb::DBOptions o;
  o.create_if_missing = mode == open_mode::create;
  o.create_missing_column_families = mode == open_mode::create;
  o.paranoid_checks = true;
  o.info_log = std::make_shared<log_bridge>();
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  // Opening: architecture.md §6 "Opening in two steps".
  const bool is_salvage = mode == open_mode::salvage || mode == open_mode::salvage_copy;
  o.wal_recovery_mode = is_salvage ? rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords
                                   : rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  o.recycle_log_file_num = 0;
  o.manual_wal_flush = false;
  // RocksDB (7 and 8) cannot forget the logs that it tracks where it must not write.
  o.track_and_verify_wals_in_manifest = mode != open_mode::salvage_copy;
  o.max_total_wal_size = 64ULL << 20;
  // What was read back from a WAL whose fsync failed may exist in the page cache only. Flushing it
  // to tables while opening makes it durable before anyone is served.
  o.avoid_flush_during_recovery = false;
  o.avoid_flush_during_shutdown = true;
  // Small pieces: a write of 1 MiB kept a core in the kernel for 5 ms.
  o.writable_file_max_buffer_size = 128 << 10;
  o.bytes_per_sync = 512 << 10;
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  o.max_background_jobs = std::clamp(cores, 2, 8);
  o.max_subcompactions = 1;
  // A full disk must be answered, not waited for: see disk_space.hpp.
  o.max_bgerror_resume_count = 0;
  if (options.listener) o.listeners.push_back(options.listener);
  return o;
}

/// Shards take turns, but the rows of each come in rising order: its blocks, the index of its
/// newest entities. The memtable remembers the last row of each prefix and puts the next one beside
/// it instead of searching for its place from the top.
///
/// RocksDB (7 to 9) mixes up rows and range deletions in what it remembers: where ranges are
/// deleted, the key that a range begins with must not be of the size of a row.
class row_place final : public rocksdb::SliceTransform {
public:
  /// Rows of `row_size` bytes; 0 = of any size, in a family without range deletions.
  row_place(std::size_t prefix_size, std::size_t row_size)
      : prefix_size_{prefix_size}, row_size_{row_size} {}

  const char* Name() const override { return "callboard.row_place"; }

  rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
    return {key.data(), prefix_size_};
  }

  bool InDomain(const rocksdb::Slice& key) const override {
    return row_size_ == 0 ? key.size() >= prefix_size_ : key.size() == row_size_;
  }

private:
  std::size_t prefix_size_;
  std::size_t row_size_;
};

void remember_place(
    rocksdb::ColumnFamilyOptions& o, std::size_t prefix_size, std::size_t row_size = 0) {
  o.memtable_insert_with_hint_prefix_extractor = std::make_shared<row_place>(prefix_size, row_size);
}

rocksdb::ColumnFamilyOptions
family_options(family which, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions o;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = 16 << 10;
  table.cache_index_and_filter_blocks = false;
  table.format_version = 5;
  o.compression = rocksdb::kNoCompression;
  switch (which) {
  case family::log:
    // Appended in key order per shard and dropped from the front: few rewrites, large files.
    o.write_buffer_size = 64ULL << 20;
    o.max_write_buffer_number = 4;
    o.level0_file_num_compaction_trigger = 8;
    o.level0_slowdown_writes_trigger = 32;
    o.level0_stop_writes_trigger = 48;
    o.max_bytes_for_level_base = 1ULL << 30;
    o.target_file_size_base = 64ULL << 20;
    remember_place(o, keys::shard_size);
    break;
  case family::index:
  case family::snapshot:
  case family::view:
  case family::meta:
    if (which == family::index) remember_place(o, keys::shard_size, keys::index_row_size);
    if (which == family::meta) remember_place(o, keys::shard_size + 1);
    o.write_buffer_size = 32ULL << 20;
    if (which == family::view) {
      // A name that is new is looked for in vain: 16 bits for each of 160,000 rows say so.
      o.memtable_whole_key_filtering = true;
      o.memtable_prefix_bloom_size_ratio = 0.01;
    }
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    break;
  case family::unused:
  case family::timer:
    o.write_buffer_size = 8ULL << 20;
    break;
  }
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

/// Flushes and compactions come in bursts that would otherwise take a core from those who wait for
/// an ack: measured on 2 cores, the p99 of publishes at half load fell from 14 to 9 ms.
void yield_background_work(rocksdb::Env* env) {
  for (const auto pool : {rocksdb::Env::LOW, rocksdb::Env::HIGH, rocksdb::Env::BOTTOM}) {
    // Where the system does not allow it, they keep their priority: slower, not wrong.
    env->LowerThreadPoolCPUPriority(pool, rocksdb::CpuPriority::kLow).PermitUncheckedError();
  }
}

}  // namespace

std::shared_ptr<rocksdb::FileSystem>
file_system_or_default(const std::shared_ptr<rocksdb::FileSystem>& given) {
  return given ? given : rocksdb::FileSystem::Default();
}

result<std::shared_ptr<database>>
database::open(const std::string& path, open_mode mode, const database_options& options) {
  auto opened = std::shared_ptr<database>{new database};
  auto db_options = node_options(mode, options);
  yield_background_work(rocksdb::Env::Default());
  const bool is_salvage = mode == open_mode::salvage || mode == open_mode::salvage_copy;
  auto files = options.file_system;
  // A repair looks for what is behind zeros as well.
  if (!files && !is_salvage) files = std::make_shared<log_files>(rocksdb::FileSystem::Default());
  if (files) {
    opened->env_ = rocksdb::NewCompositeEnv(files);
    db_options.env = opened->env_.get();
  }
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (std::size_t i = 0; i < family_count; ++i) {
    families.emplace_back(
        std::string{family_names[i]}, family_options(static_cast<family>(i), options.block_cache));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const bool read_only = mode == open_mode::read_only || mode == open_mode::salvage;
  const auto status = read_only
                          ? rocksdb::DB::OpenForReadOnly(db_options, path, families, &handles, &db)
                          : rocksdb::DB::Open(db_options, path, families, &handles, &db);
  if (!status.ok()) return std::unexpected{error_of(status, "opening " + path)};
  opened->db_.reset(db);
  std::ranges::copy(handles, opened->handles_.begin());
  return opened;
}

result<std::shared_ptr<database>> database::rebuild(const std::string& path) {
  const auto db_options = node_options(open_mode::salvage, {});
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (std::size_t i = 0; i < family_count; ++i) {
    families.emplace_back(
        std::string{family_names[i]}, family_options(static_cast<family>(i), nullptr));
  }
  const auto status = rocksdb::RepairDB(path, db_options, families);
  if (!status.ok()) return std::unexpected{error_of(status, "rebuilding " + path)};
  return open(path, open_mode::salvage, {});
}

database::~database() {
  if (!db_) return;
  for (auto* handle : handles_)
    db_->DestroyColumnFamilyHandle(handle);
  // Nothing is lost if closing fails: all that counts was synced before it was acknowledged.
  db_->Close().PermitUncheckedError();
}

result<bool> database::get(
    family which, std::string_view key, std::string& out, const rocksdb::Snapshot* snapshot) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  const auto status = db_->Get(options, handle(which), key, &out);
  if (status.ok()) return true;
  if (status.IsNotFound()) return false;
  return std::unexpected{error_of(status, "reading the store")};
}

std::unique_ptr<rocksdb::Iterator> database::iterate(
    family which,
    const rocksdb::Slice* first,
    const rocksdb::Slice* last,
    const rocksdb::Snapshot* snapshot) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  options.iterate_lower_bound = first;
  options.iterate_upper_bound = last;
  return std::unique_ptr<rocksdb::Iterator>{db_->NewIterator(options, handle(which))};
}

}  // namespace callboard::storage
