// What goes into a queue's core and what comes out of it.
#pragma once

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "base/shared_bytes.hpp"
#include "runtime/queue/lease_token.hpp"
#include "runtime/queue/queue_rows.hpp"
#include "runtime/queue/queue_task.hpp"
#include "storage/record.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace callboard::runtime {

/// Leases and waits are measured on the boot clock; delays, retries and dedupe survive a restart
/// and are shard time.
struct queue_time {
  boot_time boot{};
  time_ms shard{};
};

/// The shell's name for a command; unique among those not answered.
using queue_request = strong_id<struct queue_request_tag, std::uint64_t>;

// -- commands ---------------------------------------------------------------------------------

struct enqueue_command {
  queue_request key{};
  shared_bytes payload;
  task_priority priority = task_priority::normal;
  std::uint64_t delay_ms = 0;
  std::string dedupe_key;
  std::string fairness_key;
  /// 0 = the queue's.
  std::uint32_t attempts_max = 0;
  /// Comes back in the task's ending; opaque. Empty: nobody is told. There is never a second task
  /// of an origin, until its ending is told, whatever the dedupe window; a dedupe key is looked at
  /// before.
  std::string origin;
};

struct lease_command {
  queue_request key{};
  /// What its leases are released by when it leaves.
  std::string worker;
  std::uint32_t max = 1;
  /// 0 = the queue's.
  std::uint32_t lease_ms = 0;
  std::uint32_t wait_ms = 0;
  /// Payload bytes after which nothing is added; 0 = `queue_limits::lease_bytes_max`, the most.
  std::uint64_t bytes_max = 0;
  /// Names it to `leave`, if nobody may have seen its answer; 0: it has no name.
  std::uint64_t poll = 0;
};

struct extend_command {
  queue_request key{};
  std::string lease;
  /// From now on; 0 = as long as before.
  std::uint32_t lease_ms = 0;
};

struct complete_command {
  queue_request key{};
  std::string lease;
  std::string result;
};

struct fail_command {
  queue_request key{};
  std::string lease;
  std::string error;
  bool is_retryable = true;
  /// Asked for by whoever the worker depends on: waited for, and the attempt does not count.
  std::optional<std::uint64_t> retry_after_ms;
};

struct dead_command {
  enum class action : std::uint8_t { redrive, edit, abandon };

  queue_request key{};
  action what = action::redrive;
  /// For the audit.
  std::string who;
  /// Exactly one for `edit`. All of them are changed, or none.
  std::vector<task_id> tasks;
  /// The new payload of `edit`, after which the task is still dead.
  shared_bytes payload;
  /// Nobody named them: those that are dead no more are left out.
  bool is_found = false;
};

/// Takes a task that has not ended from the queue, or from its worker.
struct withdraw_command {
  queue_request key{};
  std::string origin;
};

/// Takes a task from the queue, or from its worker, or from the dead letters. Whoever waits for it
/// hears that it is dead.
struct cancel_command {
  queue_request key{};
  task_id task{};
  /// For the audit.
  std::string who;
};

/// Takes out all tasks that were enqueued until now and wait, also for later; with `with_dead` the
/// dead letters as well. What is leased stays. Whoever waits for one of them hears that it is dead.
struct purge_command {
  queue_request key{};
  bool with_dead = false;
  /// For the audit.
  std::string who;
};

/// The worker waits no longer. Of the requests `unseen` (each the `poll` of one) it never saw what
/// they were given: no attempt ends, and all of it waits where it waited before.
struct leave_command {
  queue_request key{};
  std::string worker;
  std::vector<std::uint64_t> unseen;
  /// It comes again, and works on; otherwise all that it holds is released: a task that has used up
  /// an attempt before waits like one that failed, others may be leased at once.
  bool keeps_leases = false;
};

// -- answers ----------------------------------------------------------------------------------

struct enqueued_task {
  task_id task{};
  bool is_duplicate = false;
};

struct granted_task {
  lease_token token;
  std::uint32_t attempt = 0;
  std::uint32_t attempts_max = 0;
  task_priority priority = task_priority::normal;
  time_ms enqueued{};
  std::uint32_t lease_ms = 0;
  sequence place{};
  std::optional<shared_bytes> payload;
};

/// Empty when the wait is over.
struct granted_tasks {
  std::vector<granted_task> tasks;
};

struct lease_extended {
  std::uint32_t lease_ms = 0;
};

struct task_completed {};

/// What became of a failed attempt.
struct task_failed {
  bool is_dead = false;
  /// When it may be leased again.
  time_ms ready{};
};

struct dead_changed {
  std::vector<task_id> changed;
};

struct task_withdrawn {
  bool was_open = false;
};

struct task_cancelled {};

/// What it held is released on disk.
struct worker_left {};

struct queue_purged {
  std::uint64_t count = 0;
};

using queue_outcome = std::variant<
    enqueued_task,
    granted_tasks,
    lease_extended,
    task_completed,
    task_failed,
    dead_changed,
    task_withdrawn,
    task_cancelled,
    worker_left,
    queue_purged>;

struct queue_answer {
  queue_request key{};
  result<queue_outcome> outcome;
};

// -- reads ------------------------------------------------------------------------------------

struct payload_ask {
  task_id task{};
  sequence place{};
};

struct trim_ask {
  std::uint32_t tasks_max = 0;
  std::uint64_t bytes_max = 0;
  /// Records from then on are kept.
  std::optional<time_ms> keep_from;
  /// The next step of a lap through the ends, if there is one.
  std::optional<old_endings_ask> endings;
};

/// What to read from views and journal; one at a time.
struct queue_read {
  std::vector<segment_ask> segments;
  std::vector<key_ask> keys;
  std::vector<payload_ask> payloads;
  /// With so many bytes the rest of them is left out; one there is at least.
  std::uint64_t payload_bytes_max = 0;
  std::vector<hash128> dedupe;
  std::vector<task_id> dead;
  /// Whether they have a task, and which.
  std::vector<std::string> origins;
  /// How the tasks of these are.
  std::vector<std::string> withdraws;
  std::vector<task_id> cancels;
  std::optional<open_ask> purge;
  std::optional<trim_ask> trim;
};

struct stored_payload {
  task_id task{};
  shared_bytes payload;
};

struct trim_page {
  /// The entity's last sequence as of the page.
  sequence last_seq{};
  /// First sequence with a time at or after `keep_from`; nothing if there is none.
  std::optional<sequence> keep_from;
  /// The tasks whose records are the oldest, in that order, with their payloads.
  std::vector<stored_task> oldest;
  std::optional<old_endings> endings;
};

/// Answers the asks of `queue_read` one by one (but for payloads, of which some may be left out),
/// all as of one lsn.
struct queue_read_result {
  lsn as_of{};
  std::vector<segment_page> segments;
  std::vector<key_page> keys;
  std::vector<stored_payload> payloads;
  std::vector<std::optional<dedupe_entry>> dedupe;
  std::vector<std::optional<task_row>> dead;
  std::vector<std::optional<task_id>> origins;
  std::vector<std::optional<task_row>> withdraws;
  std::vector<std::optional<task_row>> cancels;
  std::optional<open_page> purge;
  std::optional<trim_page> trim;
};

// -- the rest ---------------------------------------------------------------------------------

struct queue_append {
  std::vector<storage::record_draft> records;
  bool frees_space = false;
};

struct queue_counts {
  std::array<std::uint64_t, priority_count> waiting{};
  std::uint64_t leased = 0;
  std::uint64_t dead = 0;
  std::uint64_t waiters = 0;
  /// In memory: tasks that wait, keys of theirs, bytes of payloads.
  std::uint64_t window_tasks = 0;
  std::uint64_t window_keys = 0;
  std::uint64_t window_payload_bytes = 0;
};

}  // namespace callboard::runtime
