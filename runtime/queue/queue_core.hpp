// The rules of one task queue, without disk, clock or actors: commands and time in, answers, reads
// and journal records out.
//
// State ahead of commit is speculative: an answer leaves only when everything that was decided
// before it is committed, and after a failed append the core is dropped and a new one made from
// what is on disk. The backlog is on disk as well: the core knows counters, leases, and of what
// waits the part whose turn comes next (ready_ring.hpp).
//
// The shell's loop: commands or `tick`; `match`; `plan_read` (answered by `loaded` or `read_failed`
// before the next); `expire_waiters`; `take_append` (answered by `committed`, in order);
// `take_answers`, `take_endings`.
#pragma once

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "base/shared_bytes.hpp"
#include "runtime/queue/lease_token.hpp"
#include "runtime/queue/queue_commands.hpp"
#include "runtime/queue/queue_rows.hpp"
#include "runtime/queue/queue_settings.hpp"
#include "runtime/queue/queue_task.hpp"
#include "runtime/queue/ready_ring.hpp"
#include "runtime/queue/recent_changes.hpp"
#include "storage/record.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace callboard::runtime {

/// Owned by the QUEUES actor of a shard, used by it alone. Survives a restart: what was committed;
/// leases are granted anew for their full duration, waiting lease requests are gone.
class queue_core {
public:
  struct options {
    shard_id shard{};
    entity_id entity{};
    queue_settings settings;
    queue_limits limits;
    /// Jitter, and the unguessable part of leases.
    std::function<std::uint64_t()> random;
  };

  queue_core(options with, const queue_image& image, queue_time now);

  // -- commands; each is answered once, by its key --

  void enqueue(enqueue_command command, queue_time now);
  void lease(lease_command command, queue_time now);
  void extend(const extend_command& command, queue_time now);
  void complete(complete_command command, queue_time now);
  void fail_task(const fail_command& command, queue_time now);
  void change_dead(dead_command command);
  void withdraw(withdraw_command command);
  void cancel(cancel_command command);
  void purge(purge_command command);
  void leave(const leave_command& command, queue_time now);

  /// Whoever enqueued these tasks knows of their ends: nothing of them is kept.
  void told(const std::vector<task_id>& tasks);

  /// Leases that have run out.
  void tick(queue_time now);

  /// The node stood still for `pause`, up to now: leases are as long as they were before, at most
  /// granted anew.
  void paused(boot_time pause, queue_time now);

  /// Settings that are on disk now.
  void change_settings(const queue_settings& settings);

  // -- effects --

  /// Leases what may be leased to those who wait. Call after commands and reads.
  void match(queue_time now);

  [[nodiscard]] std::optional<queue_read> plan_read(queue_time now);
  void loaded(queue_read_result read, queue_time now);

  /// Answers lease requests whose wait is over, unless what is being read may serve them. Call
  /// after `plan_read`.
  void expire_waiters(queue_time now);

  /// Overloaded: the same is asked again. Anything else is told to those who wait for it.
  void read_failed(const error& why, queue_time now);

  /// Everything decided since the last one; at most `appends_in_flight_max` at a time.
  [[nodiscard]] std::optional<queue_append> take_append();

  /// The oldest append in flight is durable; its records end at `last`.
  void committed(lsn last, queue_time now);

  [[nodiscard]] std::vector<queue_answer> take_answers() { return std::exchange(answers_, {}); }

  /// Ends of tasks that have an origin, once they are durable.
  [[nodiscard]] std::vector<task_ending> take_endings() { return std::exchange(endings_, {}); }

  /// Tasks whose `told` is durable.
  [[nodiscard]] std::vector<task_id> take_told() { return std::exchange(told_, {}); }

  /// Keys of all commands that are not answered, for a core that is dropped.
  [[nodiscard]] std::vector<queue_request> unanswered() const;

  // -- queries --

  [[nodiscard]] queue_counts counts() const;

  [[nodiscard]] const queue_settings& settings() const { return settings_; }

  /// True if nothing would be lost by forgetting the queue until it is asked for again.
  [[nodiscard]] bool idle() const;

  static constexpr std::size_t appends_in_flight_max = 2;

private:
  struct live_lease {
    task_state state;
    task_lease lease;
    /// Nothing before the lease is durable: nobody knows of it.
    std::optional<boot_time> deadline;
    /// Its payload is still to be read for whoever leased it.
    bool is_hungry = false;
    /// Of the request that was given it.
    std::uint64_t poll = 0;
  };

  struct waiter {
    lease_command command;
    boot_time deadline{};
    std::vector<granted_task> given;
    /// Of payloads at hand.
    std::uint64_t given_bytes = 0;
  };

  struct grant {
    queue_request key{};
    std::vector<granted_task> tasks;
    std::uint64_t bytes_max = 0;
  };

  /// What one append will say, and what waits for it.
  struct batch {
    batch_number number{1};
    std::vector<storage::record_draft> stored;
    std::map<task_id, task_change> changes;
    std::vector<task_audit> audits;
    std::optional<sequence> trim;
    std::vector<task_id> told;
    std::vector<task_ending> restated;
    std::uint32_t enqueues = 0;
    std::vector<queue_answer> answers;
    std::vector<grant> grants;
    std::vector<task_ending> endings;

    [[nodiscard]] bool has_changes() const {
      return !stored.empty() || !changes.empty() || !audits.empty() || !told.empty()
             || !restated.empty() || trim;
    }
  };

  struct recent_key {
    dedupe_entry entry;
    batch_number batch{};
  };

  struct parked_enqueue {
    enqueue_command command;
    hash128 hash;
  };

  struct parked_origin {
    enqueue_command command;
    /// Of its dedupe key.
    std::optional<hash128> hash;
    /// Whoever enqueues it went on without it.
    bool is_withdrawn = false;
  };

  struct recent_origin {
    task_id task{};
    batch_number batch{};
  };

  /// Once through the ends that are still to be told: the old ones are written again.
  struct ending_lap {
    task_id next{};
    sequence up_to{};
    /// Where it comes to when it is over; ends that come meanwhile are behind it.
    sequence none_up_to{};
  };

  struct choice {
    task_priority priority = task_priority::normal;
    /// The classes that are as urgent, this one among them.
    std::array<bool, priority_count> rivals{};
    bool has_rival = false;
  };

  /// A part at a time, the next one when the one before is durable.
  struct running_purge {
    purge_command command;
    /// The last task that there was when it was asked for, and the last one looked at.
    task_id up_to{};
    task_id after{};
    std::uint64_t count = 0;
    batch_number part{};
  };

  struct attempt_end {
    std::string_view outcome;
    std::string_view error;
    time_ms ready{};
    bool counts = true;
    bool is_last = false;
  };

  // queue_core.cpp: enqueues, batches
  void hold(queue_request key, result<queue_outcome> outcome);
  void refuse(queue_request key, error why);
  [[nodiscard]] const dedupe_entry* find_recent(const hash128& hash, queue_time now) const;
  void
  admit_unknown_key(enqueue_command command, const std::optional<hash128>& hash, queue_time now);
  void admit(enqueue_command command, const std::optional<hash128>& hash, queue_time now);
  void remember_key(const hash128& hash, const dedupe_entry& entry);
  void forget_old_keys();
  void put_waiting(task_state state, std::optional<shared_bytes> payload);
  [[nodiscard]] waiting_task take_waiting(task_priority priority, queue_time now);
  task_change& note(const task_state& state, task_phase phase);
  [[nodiscard]] sequence store(storage::record_kind kind, const stored_task& task);

  // queue_leases.cpp: leases and their ends
  [[nodiscard]] bool has_lease_room() const;
  [[nodiscard]] std::optional<choice> next_class(queue_time now) const;
  void account(const choice& served);
  void grant_next(waiter& to, task_priority priority, queue_time now);
  [[nodiscard]] live_lease* find_lease(const std::string& text);
  [[nodiscard]] live_lease end_lease(task_id task);
  void end_attempt(live_lease lease, const attempt_end& how, queue_time now);
  void put_back(task_id task, std::optional<shared_bytes> payload);
  void stop_waiting(const std::string& worker, std::span<const std::uint64_t> unseen);
  void release_all(const std::string& worker, queue_time now);
  void bury(live_lease lease, task_attempt attempt);
  [[nodiscard]] time_ms backoff(std::uint32_t attempt, queue_time now);
  void set_deadline(live_lease& lease, boot_time deadline);
  [[nodiscard]] bool is_granted(const granted_task& task) const;
  void shorten(grant& one, bool is_cut);
  void feed();

  // queue_reads.cpp: what is read, and what comes of it
  void plan_trim(queue_read& read, queue_time now);
  void loaded_dedupe(const std::vector<std::optional<dedupe_entry>>& found, queue_time now);
  void loaded_dead(const std::vector<std::optional<task_row>>& rows, lsn as_of, queue_time now);
  void apply_dead(const dead_command& command, const task_row& row, queue_time now);
  void loaded_payloads(std::vector<stored_payload> payloads, bool is_cut);
  void loaded_trim(const trim_page& page, lsn as_of);
  void restate(const stored_task& task);
  void go_round(const old_endings& page);

  // queue_removals.cpp: tasks taken out before they have ended
  void loaded_withdraws(const std::vector<std::optional<task_row>>& rows, lsn as_of);
  void loaded_cancels(const std::vector<std::optional<task_row>>& rows, lsn as_of, queue_time now);
  [[nodiscard]] bool withdraw_task(task_state state, task_phase phase);
  [[nodiscard]] bool
  cancel_task(const cancel_command& command, task_state state, task_phase phase, queue_time now);
  void drop_task(task_state state, task_phase phase, std::string_view how, std::string_view who);
  [[nodiscard]] std::optional<open_ask> plan_purge() const;
  void loaded_purge(const open_page& page, lsn as_of, queue_time now);
  [[nodiscard]] std::optional<task_state> take_out(task_state state, task_phase phase);

  // queue_origins.cpp: tasks that somebody waits for
  void enqueue_once(enqueue_command command, const std::optional<hash128>& hash);
  void loaded_origins(const std::vector<std::optional<task_id>>& found, queue_time now);
  void end_for_origin(task_change& change, std::string origin, task_end end, std::string text);
  void prune_origins();

  queue_settings settings_;
  const queue_limits limits_;
  const shard_id shard_;
  const entity_id entity_;
  std::function<std::uint64_t()> random_;

  sequence next_seq_{1};
  sequence floor_{};
  std::uint64_t last_lease_ = 0;
  std::array<std::uint64_t, priority_count> waiting_{};
  std::uint64_t dead_ = 0;

  std::vector<ready_ring> rings_;
  /// What each priority has not had of its share, in parts of a lease, since others are as urgent.
  /// All together they are 0.
  std::array<std::int64_t, priority_count> deficits_{};

  std::map<task_id, live_lease> leases_;
  std::set<std::pair<boot_time, task_id>> deadlines_;
  std::map<std::string, std::set<task_id>> workers_;
  key_load load_;
  std::deque<waiter> waiters_;
  /// Leases that are durable and wait for payloads.
  std::vector<grant> unfed_;

  std::unordered_map<hash128, recent_key> keys_;
  std::deque<std::pair<hash128, task_id>> keys_in_order_;
  /// All keys enqueued after this are in `keys_`.
  time_ms keys_known_after_{};
  /// Some task had a dedupe key: its record is kept for the window.
  bool uses_keys_ = false;
  std::deque<parked_enqueue> parked_;
  std::deque<dead_command> dead_commands_;
  /// Until it is read whether their origins have a task.
  std::deque<parked_origin> parked_origins_;
  std::deque<withdraw_command> withdraws_;
  std::deque<cancel_command> cancels_;
  std::deque<running_purge> purges_;
  /// Admitted, and maybe not in what is being read.
  std::unordered_map<std::string, recent_origin> origins_;
  /// Told, and maybe still to be told in what is being read.
  std::unordered_map<task_id, batch_number> told_lately_;
  batch_number committed_{};

  recent_changes recent_;
  batch open_;
  std::deque<batch> flying_;
  std::uint32_t enqueues_in_flight_ = 0;
  std::optional<queue_read> reading_;
  /// The next trim is not looked into before it is this record's turn.
  sequence trim_at_{};
  /// No end whose record is up to there is still to be told.
  sequence no_ends_up_to_{};
  std::optional<ending_lap> lap_;
  std::vector<queue_answer> answers_;
  std::vector<task_ending> endings_;
  std::vector<task_id> told_;
};

}  // namespace callboard::runtime
