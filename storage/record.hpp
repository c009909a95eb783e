// What a journal holds: records, each with a header that says where it belongs.
#pragma once

#include "base/ids.hpp"
#include "base/shared_bytes.hpp"

#include <string_view>

namespace callboard::storage {

/// What a record's payload is. On disk forever: numbers are never changed or reused.
enum class record_kind : std::uint16_t {
  topic_created = 1,
  topic_configured = 2,
  topic_deleted = 3,
  /// 16 bytes identity, 8 bytes content hash (little-endian), then a callboard.v1.Event.
  event = 4,
  /// journal.Trimmed: nothing of the entity up to that sequence exists any more.
  trimmed = 5,
  group_created = 16,
  group_configured = 17,
  group_deleted = 18,
  group_progress = 19,
  presence_changed = 32,
  /// The same, and since the lsn that it carries as its sequence every member was written again:
  /// what the presence of its topic has before that is dead.
  presence_restated = 33,
  /// State of the entity up to the sequence it carries; kept in the snapshot column family.
  snapshot = 48,
  queue_created = 64,
  queue_configured = 65,
  queue_deleted = 66,
  /// journal.TaskStored: a new task with its payload; its sequence is its id.
  task_enqueued = 67,
  /// journal.TaskProgress: leases, ends and retries of many tasks at once.
  task_progress = 68,
  /// journal.TaskStored: a task written again as it is, so that the records before it may go.
  task_restated = 69,
  /// journal.TaskAudit: who did what to dead letters; kept as long as the queue.
  task_audited = 70,
  /// journal.TaskEndsTold: the runs that waited for tasks of a deleted queue know of it.
  task_ends_told = 71,
  /// journal.QueueDeleted: the queue is gone for everybody but the runs that wait for its tasks.
  /// `queue_deleted` follows when they all know.
  queue_closed = 72,
  /// journal.WorkflowProgress: a transition of the run whose channel the entity is.
  workflow_progress = 80,
};

/// True for kinds whose records count in their entity's own sequence and are found by it
/// (events of a topic, progress of a group, tasks and progress of a queue). The others only change views and snapshots.
[[nodiscard]] constexpr bool is_sequenced(record_kind kind) {
  switch (kind) {
  case record_kind::event:
  case record_kind::group_progress:
  case record_kind::task_enqueued:
  case record_kind::task_progress:
  case record_kind::task_restated:
    return true;
  default:
    return false;
  }
}

/// True for kinds that make a new entity, whose id is the record's own lsn.
[[nodiscard]] constexpr bool creates_entity(record_kind kind) {
  return kind == record_kind::topic_created || kind == record_kind::group_created
         || kind == record_kind::queue_created;
}

/// True for kinds after which nothing of their entity is needed any more.
[[nodiscard]] constexpr bool ends_entity(record_kind kind) {
  return kind == record_kind::topic_deleted || kind == record_kind::group_deleted
         || kind == record_kind::queue_deleted;
}

/// True for kinds that say who is present.
[[nodiscard]] constexpr bool is_of_presence(record_kind kind) {
  return kind == record_kind::presence_changed || kind == record_kind::presence_restated;
}

/// A record that is to be written. The writer fills in lsn, term, shard time and checksum.
struct record_draft {
  record_kind kind{};
  /// Ignored where `creates_entity(kind)`; 0: what the same append made before.
  entity_id entity{};
  /// For sequenced kinds the record's own sequence; for `snapshot` the last sequence it covers; for
  /// `presence_restated` the lsn before which presence is dead; otherwise the entity's last sequence so far.
  sequence entity_seq{};
  shared_bytes payload;
};

/// A committed record as it is read back. `payload` shares its block's bytes.
struct record {
  callboard::lsn lsn{};
  /// The entity's record before this one; 0 = none.
  callboard::lsn previous{};
  term_id term{};
  time_ms time{};
  entity_id entity{};
  sequence entity_seq{};
  record_kind kind{};
  std::uint32_t key_id = 0;
  shared_bytes payload;
};

}  // namespace callboard::storage
