// A queue's records and rows as bytes: with the projection the only place in the queue core that
// knows Protobuf.
#pragma once

#include "base/error.hpp"
#include "base/names.hpp"
#include "runtime/queue/queue_settings.hpp"
#include "runtime/queue/queue_task.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::runtime {

struct queue_definition {
  queue_ref name;
  queue_settings settings;
};

struct queue_deletion {
  queue_ref name;
  /// Its entity lives on until the runs that wait for its tasks know; else it has ended already.
  bool is_closed_first = true;

  friend bool operator==(const queue_deletion&, const queue_deletion&) = default;
};

/// A queue's row in the catalogue.
struct queue_row {
  entity_id entity{};
  queue_settings settings;
};

/// What is still to be told of a task.
struct ending_row {
  task_ending ending;
  /// The record that says so.
  sequence place{};
};

/// Of a queue that was deleted.
struct ends_told {
  std::vector<task_id> tasks;
  std::vector<std::string> origins;
  /// None are left.
  bool all = false;
};

// Payloads of records.
[[nodiscard]] std::string encode_queue_created(const queue_definition& queue);
[[nodiscard]] std::string encode_queue_configured(const queue_definition& queue);
[[nodiscard]] std::string encode_queue_deleted(const queue_deletion& deletion);
[[nodiscard]] std::string encode_stored_task(const stored_task& task);
[[nodiscard]] std::string encode_task_progress(const task_progress& progress);
[[nodiscard]] std::string encode_task_audit(const task_audit& audit);
[[nodiscard]] std::string encode_queue_trimmed(sequence up_to);
[[nodiscard]] std::string encode_ends_told(const ends_told& ends);

// Back again. Errors: corruption.
/// queue_created and queue_configured alike.
[[nodiscard]] result<queue_definition> decode_queue_definition(std::string_view payload);
/// queue_closed and queue_deleted alike.
[[nodiscard]] result<queue_deletion> decode_queue_deleted(std::string_view payload);
/// `at`: the record's own sequence, which stands where the record says 0.
[[nodiscard]] result<stored_task> decode_stored_task(std::string_view payload, sequence at);
[[nodiscard]] result<task_progress> decode_task_progress(std::string_view payload);
[[nodiscard]] result<task_audit> decode_task_audit(std::string_view payload);
[[nodiscard]] result<sequence> decode_queue_trimmed(std::string_view payload);
[[nodiscard]] result<ends_told> decode_ends_told(std::string_view payload);

// Values of rows.
[[nodiscard]] std::string encode_queue_row(const queue_row& row);
[[nodiscard]] result<queue_row> decode_queue_row(std::string_view value);
[[nodiscard]] std::string encode_task_row(const task_row& row);
[[nodiscard]] result<task_row> decode_task_row(std::string_view value);
[[nodiscard]] std::string encode_ending_row(const ending_row& row);
[[nodiscard]] result<ending_row> decode_ending_row(std::string_view value, task_id task);
/// Its `place` alone, for many rows of which few are wanted.
[[nodiscard]] result<sequence> decode_ending_place(std::string_view value);
[[nodiscard]] std::string encode_counters(const queue_counters& counters);
[[nodiscard]] result<queue_counters> decode_queue_counters(std::string_view value);

// Keys.
[[nodiscard]] std::string queue_row_key(const queue_ref& name);
/// All rows of a tenant's queues begin with it.
[[nodiscard]] std::string queue_row_prefix(const tenant_name& tenant);
/// Nothing for the rows of other things.
[[nodiscard]] std::optional<queue_ref> parse_queue_row_key(std::string_view key);

}  // namespace callboard::runtime
