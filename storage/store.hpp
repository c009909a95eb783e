// What writer, readers and upkeep share: the open database, the state of every shard, and what is
// known to be damaged.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "storage/database.hpp"
#include "storage/journal.hpp"
#include "storage/shard_clock.hpp"
#include "storage/shard_tail.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace callboard::storage {

/// One shard's state. `mutex` guards everything but `clock`.
struct shard_slot {
  mutable std::mutex mutex;
  /// Told when `in_flight` ends.
  std::condition_variable settled;
  lsn first{1};
  lsn applied{};
  lsn committed{};
  term_id term{1};
  incarnation_id incarnation{1};
  /// Projection version of its view rows; nothing: unknown, they must be rebuilt.
  std::optional<std::uint32_t> view_version;
  std::optional<error> damage;
  /// The activation whose appends are taken.
  activation_id activation{};
  /// Up to this activation an append failed: what was queued behind it is cancelled.
  activation_id failed{};
  /// The writer has records of it in the group being committed.
  bool in_flight = false;
  shard_tail tail;
  shard_clock clock;
};

/// What an append is told while the node is out of writing for `damage`: nothing of it was written.
[[nodiscard]] error refusal_for(const error& damage);

/// Any thread.
class store {
public:
  explicit store(std::uint32_t shard_count);

  [[nodiscard]] std::uint32_t shard_count() const {
    return static_cast<std::uint32_t>(slots_.size());
  }

  [[nodiscard]] bool has(shard_id shard) const { return shard.raw() < slots_.size(); }

  /// Precondition: `has(shard)`.
  [[nodiscard]] shard_slot& slot(shard_id shard) const { return *slots_[shard.raw()]; }

  /// The database; null while it is closed or being re-opened.
  [[nodiscard]] std::shared_ptr<database> acquire() const;

  void install(std::shared_ptr<database> opened);

  /// Closes the database: waits until every reader has let go of it.
  void close_database();

  /// True while the database is to be closed: long work lets go of it. RocksDB looks at it, too.
  [[nodiscard]] std::atomic<bool>& closing() { return is_closing_; }

  /// Puts a shard out of service; the first reason stays. Logs it.
  void quarantine(shard_id shard, const error& why);

  /// Puts the whole node out of writing; the first corruption stays. Logs it.
  void damage_node(const error& why);

  /// After the database was opened again.
  void clear_node_damage();

  [[nodiscard]] std::optional<error> node_damage() const;

  [[nodiscard]] std::uint32_t quarantined_count() const;

private:
  std::vector<std::unique_ptr<shard_slot>> slots_;
  mutable std::mutex mutex_;
  std::shared_ptr<database> database_;
  std::optional<error> node_damage_;
  std::atomic<bool> is_closing_{false};
};

}  // namespace callboard::storage
