#include "storage/journal_writer.hpp"

#include "base/log.hpp"
#include "base/thread_priority.hpp"
#include "storage/keys.hpp"
#include "storage/time_note.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace callboard::storage {

namespace {

constexpr std::chrono::milliseconds idle_wait{250};

/// A group of so many records shows that many publishers are at work: then groups begin no closer
/// than this, since every group costs a wake-up of each of them. Who publishes alone never waits.
constexpr std::uint64_t crowd_records = 16;
constexpr boot_time crowd_interval = std::chrono::microseconds{300};
constexpr boot_time mark_sync_interval = std::chrono::seconds{1};
/// Shard time goes another way than the boot-time clock by a thousandth of this at most.
constexpr boot_time time_note_interval = std::chrono::minutes{1};
constexpr std::size_t heads_max = 131'072;

constexpr boot_time rest_after = std::chrono::seconds{10};
/// Smaller memtables stay: each is a table on disk once it is written out.
constexpr std::uint64_t rest_bytes_min = 16 << 20;

std::uint64_t memtable_bytes(database& db) {
  std::uint64_t bytes = 0;
  db.raw().GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &bytes);
  return bytes;
}

}  // namespace

journal_writer::instruments::instruments(metrics& counters)
    : fsync_seconds{counters.histogram(
          "journal_fsync_seconds", "Time of one fsync of the journal", metrics::latency_bounds())},
      group_records{counters.histogram(
          "journal_group_records",
          "Records that one fsync covers",
          {1, 4, 16, 64, 256, 1024, 4096, 16384})},
      group_bytes{counters.histogram(
          "journal_group_bytes",
          "Bytes that one fsync covers",
          {1024, 8192, 65536, 262144, 1048576, 4194304, 16777216})},
      records{counters.counter("journal_records_total", "Records committed")},
      bytes{counters.counter("journal_bytes_total", "Bytes of committed records")},
      failures{counters.counter("journal_failures_total", "Writes and fsyncs that failed")},
      queue_bytes{counters.gauge("journal_queue_bytes", "Bytes that wait for the journal writer")},
      queue_oldest_seconds{counters.gauge(
          "journal_queue_oldest_seconds", "Age of the oldest append that waits for the writer")},
      projection_bytes{counters.gauge(
          "journal_projection_bytes", "Bytes of committed records that the views do not show yet")},
      projection_oldest_seconds{counters.gauge(
          "journal_projection_oldest_seconds", "Age of the oldest record among them")},
      memory_bytes{counters.gauge(
          "journal_memory_bytes", "Bytes of the store's memtables and of the tail cache")},
      log_over_zeros{counters.gauge(
          "journal_log_over_zeros",
          "1: the newest write-ahead log is written over zeros; 0: it grows, so that each fsync "
          "writes its size as well")} {}

journal_writer::journal_writer(writer_parts parts)
    : parts_{std::move(parts)},
      files_{file_system_or_default(parts_.seams.file_system)},
      heads_{heads_max},
      group_{parts_.shards, heads_, parts_.time},
      projection_{projection_thread_parts{
          .shards = parts_.shards,
          .time = parts_.time,
          .views = parts_.views,
          .failed = [this](const error& why) { request_reopen(why); },
          .reclaimable = parts_.reclaimable}},
      instruments_{parts_.counters} {
  db_options_.block_cache = rocksdb::NewLRUCache(parts_.settings.block_cache_bytes_max);
  const auto has_room = [&space = parts_.space](std::uint64_t bytes) {
    return space.has_room_for(bytes);
  };
  logs_ = std::make_shared<log_files>(
      files_,
      spare_log_options{
          .path = parts_.paths.spare_log.string(),
          .bytes = parts_.settings.spare_log_bytes,
          .time = &parts_.time,
          .has_room = has_room,
          .is_over_zeros = &instruments_.log_over_zeros});
  db_options_.file_system = logs_;
  db_options_.listener = background_;
  parts_.counters.add_sampler([this] { show_depths(); });
}

journal_writer::~journal_writer() {
  stop();
}

void journal_writer::stop() {
  stopping_ = true;
  parts_.queue.close();
  if (thread_.joinable()) thread_.join();
  logs_->stop();
}

void journal_writer::request_reopen(const error& why) {
  const std::lock_guard guard{requests_mutex_};
  if (!reopen_request_) reopen_request_ = why;
}

void journal_writer::run() {
  // Of 64 workflows at a time each waited a tenth longer where it had to wait for others. What
  // RocksDB begins when the store is opened anew on this thread inherits it, and is short-lived.
  prefer_this_thread();
  for (;;) {
    const auto woken =
        waiting_.empty() ? parts_.queue.wait(waiting_, idle_wait) : append_queue::wakeup::work;
    if (woken == append_queue::wakeup::closed) break;
    gather();
    commit_waiting();
    evict_tail_cache(parts_.settings.tail_cache_bytes_max);
    if (woken == append_queue::wakeup::timeout) rest_if_idle();
    sync_mark_if_due(false);
    note_time_if_due(false);
  }
  projection_.stop();
  sync_mark_if_due(true);
  note_time_if_due(true);
  parts_.shards.close_database();
}

void journal_writer::show_depths() const {
  const auto seconds = [](boot_time age) { return std::chrono::duration<double>(age).count(); };
  const auto load = parts_.queue.now();
  instruments_.queue_bytes.Set(static_cast<double>(load.bytes));
  instruments_.queue_oldest_seconds.Set(seconds(load.oldest_age));
  const auto behind = projection_.behind();
  instruments_.projection_bytes.Set(static_cast<double>(behind.bytes));
  instruments_.projection_oldest_seconds.Set(seconds(behind.oldest_age));
  const auto db = parts_.shards.acquire();
  const auto tables = db ? memtable_bytes(*db) : 0;
  instruments_.memory_bytes.Set(static_cast<double>(tables + cached_bytes_.load()));
}

void journal_writer::rest_if_idle() {
  if (is_at_rest_ || parts_.time.boot() - group_started_ < rest_after) return;
  is_at_rest_ = true;
  evict_tail_cache(0);
  const auto db = parts_.shards.acquire();
  if (!db || memtable_bytes(*db) < rest_bytes_min) return;
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = false;
  for (std::size_t i = 0; i < family_count; ++i) {
    // What cannot be written out now stays in memory; a full disk shows where appends are made.
    db->raw().Flush(options, db->handle(static_cast<family>(i))).PermitUncheckedError();
  }
}

void journal_writer::gather() {
  if (waiting_.empty()) return;
  const auto now = parts_.time.boot();
  const auto since = now - group_started_;
  if (last_group_records_ >= crowd_records && since < crowd_interval) {
    std::this_thread::sleep_for(crowd_interval - since);
    parts_.queue.take(waiting_);
  }
  group_started_ = parts_.time.boot();
  is_at_rest_ = false;
}

void journal_writer::commit_waiting() {
  std::optional<error> request;
  {
    const std::lock_guard guard{requests_mutex_};
    request = std::exchange(reopen_request_, {});
  }
  if (auto background = background_->take(); background && !request) request = background;
  if (request) reopen(*request);
  if (auto damage = parts_.shards.node_damage()) {
    refuse_all_waiting(refusal_for(*damage));
    return;
  }
  auto db = parts_.shards.acquire();
  if (!db) return;
  if (waiting_.empty()) return;
  parts_.space.refresh();
  if (auto full = parts_.space.refusal(true)) {
    refuse_all_waiting(*full);
    return;
  }
  const auto done = commit_one_group(*db);
  // Closing waits until nobody holds the database.
  db.reset();
  if (!done) reopen(done.error());
}

result<void> journal_writer::commit_one_group(database& db) {
  group_.fill(db, waiting_, parts_.settings.group_commit_bytes_max);
  // Refusals first: nothing of theirs was written, and what their owners queued behind them is
  // refused in its turn.
  answer_refused();
  if (group_.empty()) {
    group_.clear();
    return {};
  }
  auto done = write_group(db);
  if (!done) {
    fail_group(done.error());
    return done;
  }
  group_.publish();
  for (auto& staged : group_.staged()) {
    answer(staged.append, append_stage::committed, staged.receipt);
  }
  last_group_records_ = group_.record_count();
  instruments_.group_records.Observe(static_cast<double>(group_.record_count()));
  instruments_.group_bytes.Observe(static_cast<double>(group_.byte_count()));
  instruments_.records.Increment(static_cast<double>(group_.record_count()));
  instruments_.bytes.Increment(static_cast<double>(group_.byte_count()));
  hand_to_projection();
  group_.clear();
  return {};
}

result<void> journal_writer::write_group(database& db) {
  for (const auto& block : group_.blocks()) {
    const auto key = keys::log_block(block->shard, block->first);
    batch_.Put(db.handle(family::log), std::string_view{key}, *block->bytes).PermitUncheckedError();
  }
  rocksdb::WriteOptions options;
  options.sync = false;
  auto written = checked(db.raw().Write(options, &batch_), "writing the journal");
  if (!written) return written;
  batch_.Clear();
  for (auto& staged : group_.staged()) {
    if (staged.append.request.tell_written) {
      staged.append.request.listener(append_stage::written, staged.receipt);
    }
  }
  const auto before = parts_.time.boot();
  auto synced = checked(db.raw().SyncWAL(), "syncing the journal");
  if (!synced) return synced;
  instruments_.fsync_seconds.Observe(
      std::chrono::duration<double>(parts_.time.boot() - before).count());
  for (const auto& block : group_.blocks())
    durable_[block->shard.raw()] = block->last().raw();
  mark_is_dirty_ = true;
  return mark_->write(durable_);
}

void journal_writer::hand_to_projection() {
  for (const auto& block : group_.blocks()) {
    cached_.push_back(block->shard);
    cached_bytes_ += block->footprint();
  }
  projection_.take(group_.blocks());
  forget_old_heads();
}

/// Heads that were not used since others were forgotten, and are in the store since.
void journal_writer::forget_old_heads() {
  if (projection_.blocks_done() < blocks_when_forgotten_) return;
  if (heads_.forget_old()) blocks_when_forgotten_ = projection_.blocks_taken();
}

void journal_writer::evict_tail_cache(std::uint64_t bytes_max) {
  while (cached_bytes_ > bytes_max && !cached_.empty()) {
    auto& slot = parts_.shards.slot(cached_.front());
    const std::lock_guard guard{slot.mutex};
    if (slot.tail.empty()) {
      cached_.pop_front();
      continue;
    }
    // Nobody reads what a damaged shard has.
    if (!slot.damage && slot.tail.oldest()->last() > slot.applied) return;
    cached_bytes_ -= std::min(cached_bytes_.load(), slot.tail.pop());
    cached_.pop_front();
  }
}

void journal_writer::sync_mark_if_due(bool now) {
  if (!mark_is_dirty_ || !mark_) return;
  const auto boot = parts_.time.boot();
  if (!now && boot - mark_synced_at_ < mark_sync_interval) return;
  mark_synced_at_ = boot;
  mark_is_dirty_ = false;
  if (auto synced = mark_->sync(); !synced) request_reopen(synced.error());
}

void journal_writer::note_time_if_due(bool now) {
  const auto boot = parts_.time.boot();
  if (!now && boot - time_noted_at_ < time_note_interval) return;
  time_noted_at_ = boot;
  const time_note note{
      .boot_id = parts_.time.boot_id(), .boot = boot, .shard = time_.now(parts_.time)};
  auto noted = write_time_note(*files_, parts_.paths.time.string(), note);
  if (!noted) log::channel("storage")->debug("{}", noted.error().detail);
}

void journal_writer::answer(
    queued_append& append, append_stage stage, const result<append_receipt>& outcome) {
  parts_.queue.answered(append);
  if (append.request.listener) append.request.listener(stage, outcome);
}

void journal_writer::answer_refused() {
  for (auto& refused : group_.refused()) {
    answer(refused.append, append_stage::committed, std::unexpected{refused.why});
  }
  group_.refused().clear();
}

}  // namespace callboard::storage
