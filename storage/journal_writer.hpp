// The journal writer: one thread that commits everything queued meanwhile, from all shards, with
// one write and one fsync, and hands what is committed to projection.
#pragma once

#include "base/clock.hpp"
#include "base/config.hpp"
#include "base/metrics.hpp"
#include "storage/append_queue.hpp"
#include "storage/background_errors.hpp"
#include "storage/commit_group.hpp"
#include "storage/directory.hpp"
#include "storage/disk_space.hpp"
#include "storage/head_table.hpp"
#include "storage/log_files.hpp"
#include "storage/mark.hpp"
#include "storage/open_options.hpp"
#include "storage/projection_thread.hpp"
#include "storage/recovery.hpp"
#include "storage/shard_clock.hpp"
#include "storage/store.hpp"

#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace callboard::storage {

/// What the writer is built on; everything outlives it.
struct writer_parts {
  const config::storage_section& settings;
  const directory_paths& paths;
  const open_options& seams;
  const clock& time;
  metrics& counters;
  store& shards;
  append_queue& queue;
  disk_space& space;
  std::shared_ptr<const projection> views;
  /// Wakes upkeep: there is space to give back.
  std::function<void()> reclaimable;
};

/// Owned by the journal. Opens the store, runs its own thread from `start` to `stop`, and opens the
/// store again after a failed write or fsync. Survives a restart: what was committed.
class journal_writer {
public:
  explicit journal_writer(writer_parts parts);
  ~journal_writer();

  /// Opens the store and starts the thread; may be called again if it failed. Errors: as
  /// open_store.
  [[nodiscard]] result<void> start(const mark_state& mark);

  /// Commits what is queued, projects it, syncs the mark, closes the store. Idempotent.
  void stop();

  /// The same fsync must not be retried: whoever saw one fail tells so here.
  void request_reopen(const error& why);

  /// As `projection_thread::switch_views`.
  bool switch_views(
      shard_id shard,
      std::uint8_t generation,
      lsn progress,
      std::shared_ptr<presence_floors> floors) {
    return projection_.switch_views(shard, generation, progress, std::move(floors));
  }

  /// As `projection_thread::is_switching_views`.
  [[nodiscard]] bool is_switching_views() const { return projection_.is_switching_views(); }

private:
  struct instruments {
    explicit instruments(metrics& counters);

    prometheus::Histogram& fsync_seconds;
    prometheus::Histogram& group_records;
    prometheus::Histogram& group_bytes;
    prometheus::Counter& records;
    prometheus::Counter& bytes;
    prometheus::Counter& failures;
    prometheus::Gauge& queue_bytes;
    prometheus::Gauge& queue_oldest_seconds;
    prometheus::Gauge& projection_bytes;
    prometheus::Gauge& projection_oldest_seconds;
    prometheus::Gauge& memory_bytes;
    prometheus::Gauge& log_over_zeros;
  };

  void run();
  void commit_waiting();
  [[nodiscard]] result<void> commit_one_group(database& db);
  [[nodiscard]] result<void> write_group(database& db);
  void hand_to_projection();
  void forget_old_heads();
  /// Waits a moment for company if the last group had a crowd in it.
  void gather();
  void evict_tail_cache(std::uint64_t bytes_max);
  /// After a while without appends: gives back what only helps while there are some.
  void rest_if_idle();
  void sync_mark_if_due(bool now);
  /// `newest`: the time of the newest record of all shards.
  void start_time(time_ms newest);
  /// For the next start.
  void note_time_if_due(bool now);
  void show_depths() const;

  void answer_refused();
  void answer(queued_append& append, append_stage stage, const result<append_receipt>& outcome);
  void fail_group(const error& why);
  void refuse_waiting_of_failed_shards();
  void refuse_all_waiting(const error& why);
  void reopen(const error& why);
  [[nodiscard]] result<void> open_database();
  /// Gives the time of its newest record.
  [[nodiscard]] result<time_ms> load_shard(database& db, shard_id shard);
  /// Up to where the rows are made: to the end, or to what quarantines the shard.
  [[nodiscard]] result<lsn> project_tail(database& db, shard_id shard, const shard_position& at);

  writer_parts parts_;
  std::shared_ptr<background_errors> background_ = std::make_shared<background_errors>();
  database_options db_options_;
  std::shared_ptr<rocksdb::FileSystem> files_;
  std::shared_ptr<log_files> logs_;
  std::unique_ptr<mark_writer> mark_;
  std::vector<std::uint64_t> durable_;
  boot_time group_started_{};
  std::uint64_t last_group_records_ = 0;
  boot_time mark_synced_at_{};
  bool mark_is_dirty_ = false;
  /// Shard time of a shard without records.
  shard_clock time_;
  boot_time time_noted_at_{};
  bool is_at_rest_ = false;

  head_table heads_;
  /// Blocks that projection had been given when heads were forgotten last.
  std::uint64_t blocks_when_forgotten_ = 0;
  commit_group group_;
  projection_thread projection_;
  rocksdb::WriteBatch batch_;
  std::deque<queued_append> waiting_;
  std::deque<shard_id> cached_;
  std::atomic<std::uint64_t> cached_bytes_ = 0;

  std::mutex requests_mutex_;
  std::optional<error> reopen_request_;

  instruments instruments_;
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

}  // namespace callboard::storage
