// The journal: all shards' append-only logs in one RocksDB, written by one group-committing
// thread, and the views, indexes and snapshots that are projected from them.
#pragma once

#include "base/clock.hpp"
#include "base/config.hpp"
#include "base/durability.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/metrics.hpp"
#include "storage/projection.hpp"
#include "storage/record.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace callboard::storage {

/// What an append has reached. `written` is told only to those who ask for it.
enum class append_stage : std::uint8_t { written, committed };

/// Where the records of an append stand: lsns `first .. first + count - 1`, all of one time.
struct append_receipt {
  lsn first{};
  std::uint32_t count = 0;
  time_ms time{};
};

/// Called on the writer thread, in order per shard; must not block and must not call the journal
/// back except `append`. Called once with `committed` or an error, and before that once with
/// `written` if asked. Errors: storage_full, stale_term, quarantined: nothing was written;
/// outcome_unknown: it may have been; cancelled: an earlier append of the shard failed.
using append_listener = std::move_only_function<void(append_stage, const result<append_receipt>&)>;

struct append_request {
  shard_id shard{};
  /// From `begin_activation`; an append of an older activation is refused.
  activation_id activation{};
  /// 1..: written in one atomic batch, in this order, with one time.
  std::vector<record_draft> records;
  bool tell_written = false;
  /// Deletes, acks and trims: goes on below the soft disk watermark.
  bool frees_space = false;
  append_listener listener;
};

/// How far a shard has come. `applied <= committed`: views stand for `applied`.
struct shard_state {
  lsn first{};
  lsn applied{};
  lsn committed{};
  term_id term{};
  incarnation_id incarnation{};
  /// Why it is not served; nothing when sound.
  std::optional<error> damage;
};

/// A page of a scan is a call per row; return false to stop.
using row_visitor = std::function<bool(std::string_view key, std::string_view value)>;
using record_visitor = std::function<bool(const record&)>;

/// A consistent look at one shard: views as of `applied()`, and every record committed by then or
/// later up to `committed()`. Blocks on disk: reader pool only. Cheap to make, short-lived.
class shard_reader {
public:
  virtual ~shard_reader() = default;

  [[nodiscard]] virtual lsn applied() const = 0;
  [[nodiscard]] virtual lsn committed() const = 0;

  /// Records that the views do not show yet: (applied, committed], in lsn order.
  virtual result<void> visit_tail(const record_visitor& visit) = 0;

  /// Those of `entity` among them.
  virtual result<void> visit_tail_of(entity_id entity, const record_visitor& visit) = 0;

  /// Sequenced records of `entity` from `from` on in sequence order, tail included.
  /// A sequence that is missing and not trimmed is corruption and quarantines the shard.
  virtual result<void>
  visit_entity(entity_id entity, sequence from, const record_visitor& visit) = 0;

  /// First and last sequence of the entity's sequenced records, tail included; nothing if none.
  struct span {
    sequence first{};
    sequence last{};
  };

  [[nodiscard]] virtual result<std::optional<span>> entity_span(entity_id entity) = 0;

  /// First sequence of the entity whose record has a time >= `time`; nothing if all are older.
  [[nodiscard]] virtual result<std::optional<sequence>>
  first_at_or_after(entity_id entity, time_ms time) = 0;

  /// The entity's latest snapshot, tail included.
  struct snapshot_row {
    sequence covered{};
    shared_bytes state;
  };

  [[nodiscard]] virtual result<std::optional<snapshot_row>> snapshot(entity_id entity) = 0;

  /// View rows as of `applied()`; merge `visit_tail` where that is too old.
  [[nodiscard]] virtual result<std::optional<std::string>>
  get(view_id view, std::string_view key) = 0;

  /// Rows of `view` with keys in [first, last), in key order. `last` empty = to the end.
  virtual result<void>
  scan(view_id view, std::string_view first, std::string_view last, const row_visitor& visit) = 0;
};

/// Free space, sizes and queue depths for `/metrics`, `doctor` and admission.
struct storage_status {
  std::uint64_t disk_free_bytes = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t queue_bytes = 0;
  std::uint64_t queue_records = 0;
  boot_time oldest_queued_age{};
  bool below_soft = false;
  bool below_hard = false;
  /// Set when the whole node is out of writing.
  std::optional<error> damage;
};

struct backup_info {
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
};

/// Progress of long work: done and total in the work's own unit (bytes or records).
using progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Lifecycle: `open` (two steps, see docs/formats.md), use from any thread, `close`. Owned by
/// `node`. Survives a restart: everything acked; the in-memory tail and caches do not.
class journal {
public:
  virtual ~journal() = default;

  /// Opens or makes the data directory. Errors: locked (another process), incompatible (other
  /// shard count, hash or format), corruption (names file and lsn; nothing was touched), io_error.
  [[nodiscard]] static result<std::unique_ptr<journal>> open(
      const config::storage_section& settings,
      std::shared_ptr<const projection> views,
      const clock& time,
      metrics& counters);

  /// Fences: appends of earlier activations of the shard are refused from now on, and the shard is
  /// ready for appends again after a failure. Any thread.
  [[nodiscard]] virtual result<activation_id> begin_activation(shard_id shard) = 0;

  /// Queues records for the next group commit. Any thread; never blocks on disk. On success the
  /// listener answers; on error it is not called: overloaded (queue full), storage_full,
  /// quarantined, stale_term (old activation).
  [[nodiscard]] virtual result<void> append(append_request request) = 0;

  [[nodiscard]] virtual result<std::unique_ptr<shard_reader>> read(shard_id shard) = 0;

  [[nodiscard]] virtual shard_state state(shard_id shard) const = 0;

  /// Shard time now: never goes back, follows the wall clock gently (docs/formats.md).
  [[nodiscard]] virtual time_ms shard_time(shard_id shard) const = 0;

  [[nodiscard]] virtual storage_status status() const = 0;

  [[nodiscard]] virtual std::uint32_t shard_count() const = 0;

  /// Copies a consistent state to `target` (a new or earlier backup folder) while serving.
  [[nodiscard]] virtual result<backup_info>
  backup(const std::string& target, const progress& report) = 0;

  /// Commits what is queued, writes the mark, closes the store. Later calls do nothing.
  virtual void close() = 0;
};

}  // namespace callboard::storage
