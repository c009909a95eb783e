// What a queue reads from its views. The pages say the lsn they stand for; the core merges what it
// has decided since (recent_changes.hpp).
#pragma once

#include "base/error.hpp"
#include "base/hash.hpp"
#include "runtime/queue/queue_codec.hpp"
#include "runtime/queue/queue_task.hpp"
#include "storage/projection.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::runtime {

/// Rows of one shard as of one lsn, the journal's tail included. Implemented by whoever has them.
class row_source {
public:
  /// Return false to stop.
  using visitor = std::function<bool(std::string_view key, std::string_view value)>;

  virtual ~row_source() = default;

  [[nodiscard]] virtual lsn as_of() const = 0;
  [[nodiscard]] virtual result<std::optional<std::string>>
  get(storage::view_id view, std::string_view key) const = 0;
  /// Rows with keys in [first, last), in key order.
  [[nodiscard]] virtual result<void>
  scan(storage::view_id view, std::string_view first, std::string_view last, const visitor& visit)
      const = 0;
};

/// A queue as its committed records leave it, without its backlog: what a core begins with.
struct queue_image {
  lsn as_of{};
  queue_counters counters;

  struct lease {
    task_state state;
    task_lease lease;
  };

  std::vector<lease> leases;
};

/// Errors: queue_not_found; corruption.
[[nodiscard]] result<queue_image> read_queue_image(const row_source& rows, entity_id queue);

/// Tasks of one fairness key that wait, in order.
struct key_page {
  std::uint64_t fairness = 0;
  std::vector<task_state> tasks;
  /// Nothing of the key is beyond the last one.
  bool is_whole = false;
};

/// All keys of one priority with waiting tasks from `from` to `to`.
struct segment_page {
  task_priority priority{};
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::vector<key_page> keys;
};

struct segment_ask {
  task_priority priority{};
  std::uint64_t from = 0;
  std::uint32_t keys_max = 0;
  std::uint32_t key_tasks_max = 0;
};

struct key_ask {
  task_priority priority{};
  std::uint64_t fairness = 0;
  /// Only tasks behind this position.
  task_position after{};
  std::uint32_t tasks_max = 0;
};

[[nodiscard]] result<segment_page>
read_segment(const row_source& rows, entity_id queue, const segment_ask& ask);
[[nodiscard]] result<key_page>
read_key(const row_source& rows, entity_id queue, const key_ask& ask);

/// The task that a dedupe key stands for.
struct dedupe_entry {
  task_id task{};
  time_ms enqueued{};
};

[[nodiscard]] result<std::optional<dedupe_entry>>
read_dedupe(const row_source& rows, entity_id queue, const hash128& hash);

/// Nothing for a task that has ended or never was.
[[nodiscard]] result<std::optional<task_row>>
read_task(const row_source& rows, entity_id queue, task_id task);

/// Tasks that have not ended, in the order of their numbers, without their past.
struct open_ask {
  /// Only those behind it.
  task_id after{};
  task_id up_to{};
  std::uint32_t count_max = 0;
};

struct open_task {
  task_state state;
  task_phase phase = task_phase::waiting;
};

struct open_page {
  std::vector<open_task> tasks;
  /// There are no others up to `up_to`.
  bool is_whole = true;
};

[[nodiscard]] result<open_page>
read_open(const row_source& rows, entity_id queue, const open_ask& ask);

/// Dead letters behind `after`, at most `count_max` of at most `visited_max` looked at.
struct dead_page {
  lsn as_of{};
  std::vector<task_row> tasks;
  /// Where to go on; nothing at the end.
  std::optional<task_id> next;
};

struct dead_filter {
  /// Empty, or the fairness key.
  std::string fairness_key;
  /// Empty, or what the last attempt's error must contain.
  std::string error_contains;
  /// No task that died before or after these; 0 = open.
  time_ms died_from{};
  time_ms died_before{};
};

[[nodiscard]] result<dead_page> read_dead(
    const row_source& rows,
    entity_id queue,
    task_id after,
    const dead_filter& filter,
    std::size_t count_max,
    std::size_t visited_max);

/// The task of an origin whose end is not told.
[[nodiscard]] result<std::optional<task_id>>
read_origin(const row_source& rows, entity_id queue, const std::string& origin);

/// One step through the ends that are still to be told, in the order of their tasks.
struct old_endings_ask {
  task_id from{};
  /// Those whose record is not behind it are wanted whole.
  sequence up_to{};
  std::size_t count_max = 0;
  std::uint64_t bytes_max = 0;
  std::size_t visited_max = 0;
};

struct old_endings {
  std::vector<task_ending> endings;
  /// The oldest record of the others that were looked at.
  std::optional<sequence> first_left;
  /// Where to go on; nothing at the end.
  std::optional<task_id> next;
};

/// `bytes_max` bytes, but at least one end if there is any.
[[nodiscard]] result<old_endings>
read_old_endings(const row_source& rows, entity_id queue, const old_endings_ask& ask);

/// Ends that are still to be told, of all queues of a shard, in the order of their keys.
struct ending_page {
  std::vector<std::pair<entity_id, task_ending>> endings;
  /// Continue with this; empty at the end.
  std::string next;
};

/// About `bytes_max` bytes, at least one end.
[[nodiscard]] result<ending_page> read_endings(
    const row_source& rows, const std::string& from, std::size_t count_max, std::size_t bytes_max);

/// Deleted queues of a shard of whose tasks somebody is still to be told.
[[nodiscard]] result<std::vector<std::pair<entity_id, queue_deletion>>>
read_gone_queues(const row_source& rows);

/// What a deleted queue leaves behind: origins with their tasks, and whether that is all.
struct gone_page {
  std::vector<std::pair<std::string, task_id>> origins;
  bool is_whole = true;
};

/// Behind the origin `after`, at most `count_max`.
[[nodiscard]] result<gone_page> read_gone_origins(
    const row_source& rows, entity_id queue, const std::string& after, std::size_t count_max);

struct numbered_audit {
  /// Grows from change to change within a queue; says nothing else.
  std::uint64_t number = 0;
  task_audit audit;
};

struct audit_page {
  std::vector<numbered_audit> changes;
  bool has_more = false;
};

/// Changes of dead letters behind the number `after`, at most `count_max`.
[[nodiscard]] result<audit_page>
read_audits(const row_source& rows, entity_id queue, std::uint64_t after, std::size_t count_max);

/// Tasks in the order of the records that hold their payloads: the oldest keep all records behind
/// them alive.
[[nodiscard]] result<std::vector<task_row>>
read_oldest_places(const row_source& rows, entity_id queue, std::size_t count_max);

}  // namespace callboard::runtime
