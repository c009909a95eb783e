// What clients ask of task queues, and what they are answered: bodies of control_request. They go
// to the shard of the queue (hash of tenant and name; for leases the shard that the token names).
#pragma once

#include "actors/task_origin.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "base/shared_bytes.hpp"
#include "runtime/queue/queue_commands.hpp"
#include "runtime/queue/queue_settings.hpp"

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace callboard::actors {

// -- queues -----------------------------------------------------------------------------------

/// Makes the queue or changes it; what is not given stays, or is the default of a new one.
struct put_queue {
  queue_ref queue;
  std::optional<std::uint32_t> lease_ms;
  std::optional<std::uint32_t> attempts_max;
  std::optional<std::uint32_t> backoff_min_ms;
  std::optional<std::uint32_t> backoff_max_ms;
  std::optional<std::uint32_t> dedupe_window_s;
  std::optional<std::uint32_t> concurrency;
  std::optional<std::uint32_t> key_concurrency;
  std::optional<std::uint32_t> aging_ms;
  std::optional<std::uint32_t> fairness_quantum;
};

struct get_queue {
  queue_ref queue;
};

struct delete_queue {
  queue_ref queue;
};

/// In order of name, after `after`. As of the last commit; what is known only while a queue is at
/// work (waiting workers) is left out.
struct list_queues {
  tenant_name tenant;
  std::string after;
  std::uint32_t limit = 100;
};

struct queue_description {
  std::string queue;
  runtime::queue_settings settings;
  std::array<std::uint64_t, runtime::priority_count> waiting{};
  std::uint64_t leased = 0;
  std::uint64_t dead = 0;
  /// Requests for leases that wait for a task; nothing where that is not known.
  std::optional<std::uint64_t> workers_waiting;
  /// How long the task that has waited longest could have been leased.
  std::optional<std::uint64_t> oldest_ready_age_ms;
  bool created = false;
};

struct queue_list {
  std::vector<queue_description> queues;
  /// Continue with this `after`; empty at the end.
  std::string next_after;
  /// Shards that are quarantined: nobody knows what queues they have.
  std::vector<std::uint32_t> shards_left_out;
};

// -- tasks; a queue that is not there is made by the first two ----------------------------------

struct enqueue_task {
  queue_ref queue;
  /// Its key is not looked at, also below.
  runtime::enqueue_command task;
};

struct lease_tasks {
  queue_ref queue;
  runtime::lease_command lease;
};

/// The tenant must be the queue's: leases are named by nothing else.
struct extend_lease {
  tenant_name tenant;
  runtime::extend_command extend;
};

struct complete_task {
  tenant_name tenant;
  runtime::complete_command complete;
};

struct fail_task {
  tenant_name tenant;
  runtime::fail_command fail;
};

/// What becomes of the leases of a worker that leaves.
enum class left_leases : std::uint8_t {
  /// An attempt of each has ended.
  released,
  /// It is to come again, and works on.
  kept,
};

/// The worker has gone: it waits no longer.
struct leave_queue {
  queue_ref queue;
  std::string worker;
  left_leases leases = left_leases::released;
  /// The `poll` of each request of whose answer it saw nothing: what that was given goes back, and
  /// no attempt of it has ended.
  std::vector<std::uint64_t> unseen{};
};

struct leased_task {
  std::string lease;
  runtime::task_id task{};
  std::uint64_t fencing = 0;
  std::uint32_t attempt = 1;
  std::uint32_t attempts_max = 1;
  runtime::task_priority priority{};
  time_ms enqueued{};
  std::uint32_t lease_ms = 0;
  /// For people; the lease itself is kept by the boot clock.
  time_ms deadline{};
  shared_bytes payload;
};

struct leased_tasks {
  std::vector<leased_task> tasks;
};

// -- dead letters -----------------------------------------------------------------------------

/// In order of task; at most `limit` of them, from after `after`.
struct list_dead {
  queue_ref queue;
  runtime::dead_filter filter;
  runtime::task_id after{};
  std::uint32_t limit = 100;
};

struct dead_list {
  std::vector<runtime::task_row> tasks;
  std::optional<runtime::task_id> next;
};

/// One task that has not ended, with its payload.
struct get_task {
  queue_ref queue;
  runtime::task_id task{};
};

struct task_description {
  runtime::task_row row;
  shared_bytes payload;
};

struct change_dead {
  queue_ref queue;
  runtime::dead_command change;
};

/// Dead letters that fit, at most `limits.dead_changes_max`, in pieces: each piece is atomic, the
/// whole is not.
struct change_dead_where {
  queue_ref queue;
  /// Not edit.
  runtime::dead_command::action what = runtime::dead_command::action::redrive;
  std::string who;
  runtime::dead_filter filter;
};

struct dead_change_count {
  std::uint64_t changed = 0;
  /// There may be others that fit.
  bool more = false;
};

/// Takes a task that has not ended from the queue: whoever holds it hears lease_lost, and a run
/// that waits for it that it is dead.
struct cancel_task {
  queue_ref queue;
  runtime::task_id task{};
  std::string who;
};

/// Empties a queue of what was enqueued until now and is not leased, also of dead letters if
/// `with_dead`. In parts: of one that was cut by a crash the rest is done when it is asked for
/// again.
struct purge_queue {
  queue_ref queue;
  bool with_dead = false;
  std::string who{};
};

// -- tasks of runs ----------------------------------------------------------------------------

/// The run goes on without its task: it is taken from whoever has it. Answered `done`, also if it
/// has ended or never was.
struct withdraw_task {
  queue_ref queue;
  std::string origin;
};

/// Who changed which dead letters, in the order they did, from after the change `after`.
struct list_queue_audit {
  queue_ref queue;
  /// A `number`; 0: from the first on.
  std::uint64_t after = 0;
  std::uint32_t limit = 100;
};

struct queue_audit_list {
  std::vector<runtime::numbered_audit> changes;
  /// Of the last one here; nothing at the end.
  std::optional<std::uint64_t> next;
};

/// What the shard's QUEUES actor is asked.
template <class Body>
concept queue_work = std::same_as<Body, put_queue> || std::same_as<Body, get_queue>
                     || std::same_as<Body, delete_queue> || std::same_as<Body, enqueue_task>
                     || std::same_as<Body, lease_tasks> || std::same_as<Body, extend_lease>
                     || std::same_as<Body, complete_task> || std::same_as<Body, fail_task>
                     || std::same_as<Body, leave_queue> || std::same_as<Body, change_dead>
                     || std::same_as<Body, change_dead_where> || std::same_as<Body, cancel_task>
                     || std::same_as<Body, purge_queue> || std::same_as<Body, withdraw_task>;

/// What the reader pool answers without it.
template <class Body>
concept queue_look = std::same_as<Body, list_queues> || std::same_as<Body, list_dead>
                     || std::same_as<Body, get_task> || std::same_as<Body, list_queue_audit>;

}  // namespace callboard::actors
