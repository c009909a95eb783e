// How views come about: pure functions from committed records to view rows. `runtime` implements
// them, `node` wires them, the journal's projector runs them.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "storage/record.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace callboard::storage {

/// Names a family of view rows. On disk forever: numbers are never changed or reused.
enum class view_id : std::uint8_t {
  /// Key: tenant, 0, 't', topic (or: tenant, 0, 'g', topic, 0, group; or
  /// tenant, 0, 'q', queue). Value: journal row message.
  catalogue = 1,
  /// Key: entity, first seq (both big-endian 64 bits). Value: packed ids of one block of events.
  dedupe = 2,
  /// Key: entity. Value: last trimmed sequence and counters of the topic.
  topic_state = 3,
  /// Key: entity, member. Value: journal.PresenceMember.
  presence = 4,
  /// Key: tenant, 0, workflow id. Value: journal.WorkflowRow.
  workflow = 5,
  /// Key: entity. Value: key of the workflow that must be woken when the shard starts.
  workflow_wake = 6,
  /// Key: due, entity, command. Value: key of the workflow whose timer it is.
  workflow_timer = 7,
  /// The same for what is due by the wall clock.
  workflow_wall_timer = 8,
  /// Key of these: entity (big-endian 64 bits), then what is said; docs/formats.md "Queues".
  /// Task. Value: journal.QueueTask.
  queue_task = 16,
  /// Priority, fairness, ready time, task. Value: what a lease needs to know of it.
  queue_waiting = 17,
  /// Task. Empty value: a worker holds it.
  queue_lease = 18,
  /// Task. Empty value: it is a dead letter.
  queue_dead = 19,
  /// Sequence of the record with a task's payload. Value: the task.
  queue_place = 20,
  /// 'h', hash of a dedupe key; or 'n', number of a dedupe key.
  queue_dedupe = 21,
  /// Nothing more. Value: the queue's counters.
  queue_counters = 22,
  /// Lsn. Value: journal.TaskAudit.
  queue_audit = 23,
  /// Origin. Value: its task, until whoever enqueued it knows of its end.
  queue_origin = 24,
  /// Task. Value: journal.TaskEnding, until it is told.
  queue_ending = 25,
  /// Nothing more. Value: journal.QueueDeleted; runs are still to be told that it was closed.
  queue_gone = 26,
};

/// Rows being changed by the projector. Reads see earlier changes of the same pass.
class view_writer {
public:
  virtual ~view_writer() = default;

  virtual void put(view_id view, std::string_view key, std::string_view value) = 0;
  virtual void erase(view_id view, std::string_view key) = 0;
  /// Erases keys in [first, last).
  virtual void erase_range(view_id view, std::string_view first, std::string_view last) = 0;
  [[nodiscard]] virtual std::optional<std::string> get(view_id view, std::string_view key) = 0;

  /// The record cannot be applied, as it or a row that it changes is unreadable: without it the
  /// views would tell what is not so, and nothing behind it may be applied.
  virtual void report_damage(const record& at, const error& why) = 0;
};

/// Deterministic: same records in, same rows out, whatever the batching of passes.
class projection {
public:
  virtual ~projection() = default;

  /// A change of this number rebuilds all views from the journal in the background.
  [[nodiscard]] virtual std::uint32_t version() const = 0;

  /// Applies one block: consecutive committed records of one shard, in lsn order.
  virtual void apply(std::span<const record> block, view_writer& out) const = 0;
};

}  // namespace callboard::storage
