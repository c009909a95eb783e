// Projection on a thread of its own: the writer goes on committing while index, heads, snapshots
// and views are made of what is committed.
#pragma once

#include "base/error.hpp"
#include "storage/head_table.hpp"
#include "storage/projection.hpp"
#include "storage/projector.hpp"
#include "storage/store.hpp"
#include "storage/view_rebuild.hpp"

#include <rocksdb/write_batch.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace callboard::storage {

/// Everything outlives the thread. The callbacks are called on it and must not wait for it.
struct projection_thread_parts {
  store& shards;
  const clock& time;
  std::shared_ptr<const projection> views;
  /// A write failed: nothing is projected until `reset` and `resume`.
  std::function<void(const error&)> failed;
  /// There is space to give back.
  std::function<void()> reclaimable;
};

/// Owned by the journal writer, which alone calls `take`, `reset` and `resume`. Several
/// groups are projected in one pass: what is written to again meanwhile (a workflow that takes its
/// steps, a topic's counters) then costs one row instead of one per group. Readers go through what
/// is not projected yet, so both a pass and what waits are bounded. Survives a restart: nothing;
/// opening projects again what it had not written.
class projection_thread {
public:
  explicit projection_thread(projection_thread_parts parts);
  ~projection_thread();

  /// Precondition: the views of all shards stand for what was committed so far.
  void start();

  /// Projects what it was given and ends. Idempotent.
  void stop();

  /// Committed blocks, in their order. Waits while more than 8 MiB of them have no rows yet.
  void take(const std::vector<tail_block_ptr>& blocks);

  /// Forgets what it was given and what it knows, and lets go of the database until `resume`: for
  /// opening it anew.
  void reset();

  /// Precondition: as for `start`.
  void resume();

  /// The generation of view rows that a shard's records are applied to.
  void set_generation(shard_id shard, std::uint8_t generation);

  /// Asks for the switch of a shard to view rows of another generation, which hold everything up to
  /// `progress`: between two passes what is newer is added to them. Any thread. False if another
  /// switch still waits.
  bool switch_views(
      shard_id shard,
      std::uint8_t generation,
      lsn progress,
      std::shared_ptr<presence_floors> floors);

  /// A switch waits or is being made. False while the shard still has its old rows: it was lost
  /// with the database. Any thread.
  [[nodiscard]] bool is_switching_views() const;

  /// Blocks that it was given, and how many of them are in the store. Since the last `reset`.
  [[nodiscard]] std::uint64_t blocks_taken() const;
  [[nodiscard]] std::uint64_t blocks_done() const;

  struct load {
    std::uint64_t bytes = 0;
    boot_time oldest_age{};
  };

  /// What waits, and what is being projected. Any thread.
  [[nodiscard]] load behind() const;

private:
  struct view_switch {
    shard_id shard{};
    std::uint8_t generation = 0;
    lsn progress{};
    std::shared_ptr<presence_floors> floors;
  };

  void run();
  /// With the lock held: until a pass is worth its while. False: the end.
  [[nodiscard]] bool wait_for_pass(std::unique_lock<std::mutex>& lock);
  /// With the lock held: the next blocks, of one pass.
  [[nodiscard]] std::vector<tail_block_ptr> take_pass();
  /// Errors: io_error, storage_full: nothing is lost, but the store has to be opened again.
  [[nodiscard]] result<void> project(std::vector<tail_block_ptr> blocks);
  [[nodiscard]] result<void> add(database& db, const tail_block& block);
  [[nodiscard]] result<void> write(database& db);
  void drop_part();
  void publish_applied();
  [[nodiscard]] result<void> make_switch(const view_switch& wanted);
  [[nodiscard]] bool is_paused() const;

  projection_thread_parts parts_;
  head_table heads_;
  projector projector_;
  rocksdb::WriteBatch batch_;
  /// Per shard in `batch_`: applied up to here once it is written.
  std::vector<std::pair<shard_id, lsn>> applied_in_batch_;
  bool reclaimable_in_batch_ = false;
  std::uint64_t records_in_batch_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable given_;
  std::condition_variable done_;
  std::deque<tail_block_ptr> waiting_;
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t working_bytes_ = 0;
  boot_time waiting_since_{};
  boot_time working_since_{};
  std::uint64_t blocks_taken_ = 0;
  std::uint64_t blocks_done_ = 0;
  std::vector<std::uint8_t> generations_;
  std::optional<view_switch> view_switch_;
  bool is_switching_views_ = false;
  bool is_working_ = false;
  bool is_paused_ = false;
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace callboard::storage
