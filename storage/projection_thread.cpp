#include "storage/projection_thread.hpp"

#include "base/log.hpp"
#include "storage/view_rebuild.hpp"

#include <algorithm>
#include <chrono>

namespace callboard::storage {

namespace {

/// A pass begins when nothing has come for so long, or after so many times of that.
constexpr std::chrono::milliseconds quiet_time{5};
constexpr int quiet_times_max = 4;
constexpr std::uint64_t pass_bytes_max = 1 << 20;
constexpr std::uint64_t backlog_bytes_max = 8 << 20;

/// A commit waits while rows are put into the memtable, so a pass is written in parts: from so many
/// records on where another shard begins, and after so many behind any block.
constexpr std::uint64_t part_records = 64;
constexpr std::uint64_t part_records_max = 1024;
constexpr std::size_t heads_max = 65'536;

}  // namespace

projection_thread::projection_thread(projection_thread_parts parts)
    : parts_{std::move(parts)},
      heads_{heads_max},
      projector_{parts_.views, heads_},
      generations_(parts_.shards.shard_count(), 0) {}

projection_thread::~projection_thread() {
  stop();
}

void projection_thread::start() {
  thread_ = std::jthread{[this] { run(); }};
}

void projection_thread::stop() {
  {
    const std::lock_guard guard{mutex_};
    stopping_ = true;
  }
  given_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void projection_thread::take(const std::vector<tail_block_ptr>& blocks) {
  if (blocks.empty()) return;
  std::unique_lock lock{mutex_};
  done_.wait(
      lock, [&] { return is_paused_ || waiting_bytes_ + working_bytes_ < backlog_bytes_max; });
  if (is_paused_) return;
  const bool was_empty = waiting_.empty();
  const bool was_small = waiting_bytes_ < pass_bytes_max;
  if (was_empty) waiting_since_ = parts_.time.boot();
  for (const auto& block : blocks) {
    waiting_bytes_ += block->footprint();
    waiting_.push_back(block);
  }
  blocks_taken_ += blocks.size();
  const bool is_full = was_small && waiting_bytes_ >= pass_bytes_max;
  lock.unlock();
  if (was_empty || is_full) given_.notify_one();
}

void projection_thread::reset() {
  std::unique_lock lock{mutex_};
  is_paused_ = true;
  waiting_.clear();
  waiting_bytes_ = 0;
  done_.wait(lock, [&] { return !is_working_; });
  blocks_taken_ = blocks_done_ = 0;
  // The rows to be switched to may not all be in the store that is opened next.
  view_switch_.reset();
  is_switching_views_ = false;
  heads_.clear();
}

void projection_thread::resume() {
  {
    const std::lock_guard guard{mutex_};
    is_paused_ = false;
  }
  given_.notify_one();
}

void projection_thread::set_generation(shard_id shard, std::uint8_t generation) {
  const std::lock_guard guard{mutex_};
  generations_[shard.raw()] = generation;
}

bool projection_thread::switch_views(
    shard_id shard,
    std::uint8_t generation,
    lsn progress,
    std::shared_ptr<presence_floors> floors) {
  {
    const std::lock_guard guard{mutex_};
    if (is_switching_views_) return false;
    is_switching_views_ = true;
    view_switch_ = view_switch{
        .shard = shard,
        .generation = generation,
        .progress = progress,
        .floors = std::move(floors)};
  }
  given_.notify_one();
  return true;
}

bool projection_thread::is_switching_views() const {
  const std::lock_guard guard{mutex_};
  return is_switching_views_;
}

std::uint64_t projection_thread::blocks_taken() const {
  const std::lock_guard guard{mutex_};
  return blocks_taken_;
}

std::uint64_t projection_thread::blocks_done() const {
  const std::lock_guard guard{mutex_};
  return blocks_done_;
}

bool projection_thread::is_paused() const {
  const std::lock_guard guard{mutex_};
  return is_paused_;
}

projection_thread::load projection_thread::behind() const {
  const std::lock_guard guard{mutex_};
  const auto now = parts_.time.boot();
  boot_time age{};
  if (working_bytes_ > 0) {
    age = now - working_since_;
  } else if (!waiting_.empty()) {
    age = now - waiting_since_;
  }
  return {waiting_bytes_ + working_bytes_, age};
}

void projection_thread::run() {
  std::unique_lock lock{mutex_};
  while (wait_for_pass(lock)) {
    auto blocks = take_pass();
    auto wanted = is_paused_ ? std::nullopt : std::exchange(view_switch_, {});
    const auto count = blocks.size();
    is_working_ = true;
    lock.unlock();
    auto done = project(std::move(blocks));
    if (done && wanted && !is_paused()) {
      done = make_switch(*wanted);
      if (done) wanted.reset();
    }
    lock.lock();
    is_working_ = false;
    working_bytes_ = 0;
    if (wanted) view_switch_ = wanted;
    is_switching_views_ = view_switch_.has_value();
    const bool tells = !done && !is_paused_;
    if (done) {
      blocks_done_ += count;
    } else {
      is_paused_ = true;
      waiting_.clear();
      waiting_bytes_ = 0;
    }
    lock.unlock();
    done_.notify_one();
    if (tells) parts_.failed(done.error());
    lock.lock();
  }
}

bool projection_thread::wait_for_pass(std::unique_lock<std::mutex>& lock) {
  const auto has_switch = [&] { return view_switch_ && !is_paused_; };
  while (true) {
    given_.wait(lock, [&] { return stopping_ || has_switch() || !waiting_.empty(); });
    for (int times = 0; times < quiet_times_max; ++times) {
      if (stopping_ || has_switch() || waiting_bytes_ >= pass_bytes_max) break;
      const auto before = blocks_taken_;
      given_.wait_for(lock, quiet_time);
      if (blocks_taken_ == before) break;
    }
    // A reset may have come in between.
    if (stopping_ || has_switch() || !waiting_.empty()) return !stopping_ || !waiting_.empty();
  }
}

std::vector<tail_block_ptr> projection_thread::take_pass() {
  working_since_ = waiting_since_;
  std::vector<tail_block_ptr> blocks;
  while (!waiting_.empty() && working_bytes_ < pass_bytes_max) {
    working_bytes_ += waiting_.front()->footprint();
    blocks.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  waiting_bytes_ -= working_bytes_;
  return blocks;
}

result<void> projection_thread::project(std::vector<tail_block_ptr> blocks) {
  if (blocks.empty()) return {};
  // Everything up to the pass before is in the store.
  heads_.forget_old();
  const auto db = parts_.shards.acquire();
  // It was closed under us; whoever opens it projects them.
  if (!db) return {};
  std::ranges::sort(
      blocks, {}, [](const tail_block_ptr& one) { return std::pair{one->shard, one->first}; });
  std::optional<shard_id> last;
  for (const auto& block : blocks) {
    const auto part_max = last == block->shard ? part_records_max : part_records;
    if (records_in_batch_ >= part_max) {
      if (auto done = write(*db); !done) return done;
      if (is_paused()) return {};
    }
    last = block->shard;
    if (auto done = add(*db, *block); !done) {
      drop_part();
      return done;
    }
  }
  return write(*db);
}

result<void> projection_thread::add(database& db, const tail_block& block) {
  {
    // What follows a block that could not be projected waits with it for the log to be read again.
    auto& slot = parts_.shards.slot(block.shard);
    const std::lock_guard guard{slot.mutex};
    if (slot.damage) return {};
  }
  std::uint8_t generation = 0;
  {
    const std::lock_guard guard{mutex_};
    generation = generations_[block.shard.raw()];
  }
  if (auto done = projector_.project(db, block, generation, batch_); !done) {
    if (done.error().code != errc::corruption) return done;
    parts_.shards.quarantine(block.shard, done.error());
    return {};
  }
  records_in_batch_ += block.span;
  reclaimable_in_batch_ |= !block.changes.empty();
  if (!applied_in_batch_.empty() && applied_in_batch_.back().first == block.shard) {
    applied_in_batch_.back().second = block.last();
  } else {
    applied_in_batch_.emplace_back(block.shard, block.last());
  }
  return {};
}

void projection_thread::drop_part() {
  batch_.Clear();
  projector_.end_pass();
  applied_in_batch_.clear();
  reclaimable_in_batch_ = false;
  records_in_batch_ = 0;
}

/// Not synced: it is made again from the log if it is lost.
result<void> projection_thread::write(database& db) {
  projector_.finish_pass(db, batch_);
  for (const auto& [shard, applied] : applied_in_batch_) {
    const std::lock_guard guard{mutex_};
    projector::put_applied(db, shard, applied, generations_[shard.raw()], batch_);
  }
  auto written =
      checked(db.raw().Write(rocksdb::WriteOptions{}, &batch_), "writing the projection");
  if (written) {
    batch_.Clear();
    projector_.end_pass();
    records_in_batch_ = 0;
    publish_applied();
  } else {
    drop_part();
  }
  return written;
}

void projection_thread::publish_applied() {
  for (const auto& [shard, applied] : std::exchange(applied_in_batch_, {})) {
    auto& slot = parts_.shards.slot(shard);
    const std::lock_guard guard{slot.mutex};
    slot.applied = std::max(slot.applied, applied);
  }
  if (std::exchange(reclaimable_in_batch_, false) && parts_.reclaimable) parts_.reclaimable();
}

result<void> projection_thread::make_switch(const view_switch& wanted) {
  const auto db = parts_.shards.acquire();
  if (!db) return {};
  auto& slot = parts_.shards.slot(wanted.shard);
  lsn applied;
  {
    const std::lock_guard guard{slot.mutex};
    applied = slot.applied;
  }
  rocksdb::WriteBatch changes;
  auto done = rebuild_views(
      *db,
      projector_,
      wanted.shard,
      wanted.generation,
      wanted.progress,
      applied,
      *wanted.floors,
      changes);
  if (done) {
    projector::put_applied(*db, wanted.shard, applied, wanted.generation, changes);
    projector::put_views_version(*db, wanted.shard, parts_.views->version(), changes);
    done = checked(db->raw().Write(rocksdb::WriteOptions{}, &changes), "switching views");
  }
  projector_.end_pass();
  if (!done) {
    log::channel("storage")->error("rebuilding views: {}", done.error().detail);
    if (done.error().code != errc::corruption) return done;
    parts_.shards.quarantine(wanted.shard, done.error());
    return {};
  }
  set_generation(wanted.shard, wanted.generation);
  const std::lock_guard guard{slot.mutex};
  slot.view_version = parts_.views->version();
  return {};
}

}  // namespace callboard::storage
