// The QUEUES actor of a shard: the directory of its task queues, and those that are at work.
//
// A queue is loaded by the first request that needs it, or at once if leases of it are out: its
// leases are read on the reader pool, the backlog stays on disk. Its core decides in memory; this
// shell reads what the core plans, appends what it has decided (at most two records' worth under
// way), and answers only what is durable. When an append fails the core is dropped and the queue
// read again; requests of which nothing can have been written are put to it once more, so that a
// long poll does not notice.
#pragma once

#include "actors/group_companion.hpp"
#include "actors/queue_metrics.hpp"
#include "actors/queue_reads.hpp"
#include "runtime/queue/queue_core.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace callboard::actors {

/// Of a worker that has gone: kept and put again until it is on disk.
[[nodiscard]] inline bool is_leave(const pending_request& request) {
  return std::holds_alternative<leave_queue>(request.body);
}

/// A queue at work.
struct queue_unit {
  queue_unit(
      runtime::queue_core::options with,
      const runtime::queue_image& image,
      runtime::queue_time now,
      std::uint64_t activation)
      : core{std::move(with), image, now},
        number{activation},
        last_seq{image.counters.last_seq},
        used{now.boot} {}

  /// A change of many dead letters that is under way.
  struct walk {
    std::uint64_t changed = 0;
    /// Where to go on; nothing behind the last page.
    std::optional<runtime::task_id> next;
  };

  struct asked {
    pending_request request;
    std::optional<walk> rest;
  };

  /// By the core's keys, so in order of arrival.
  using asked_requests = std::map<runtime::queue_request, asked>;

  runtime::queue_core core;
  /// Tells this activation from one before it, where work comes back from the disk.
  std::uint64_t number = 0;
  bool reading = false;
  /// What the journal had no room for yet.
  std::optional<runtime::queue_append> offered;
  std::uint32_t flying = 0;
  /// Of what was handed to the journal.
  sequence last_seq{};
  /// Not answered.
  asked_requests requests;
  boot_time used{};
};

/// A queue in the directory.
struct queue_slot {
  runtime::queue_row row;
  std::unique_ptr<queue_unit> unit;
  /// As far as it was known when it was last at work.
  runtime::queue_counts counts;
  bool loading = false;
  /// A record that makes, changes or deletes it is being written, or may have been: it is looked up
  /// in the journal before the queue is used.
  bool changing = false;
  /// It could not be looked up: when that is tried again.
  std::optional<boot_time> look_again;
  /// Asked of a core that was dropped for the deletion: nobody may hear that the queue is gone
  /// until that is durable.
  queue_unit::asked_requests left;
  /// Appends of a core that was dropped, whose outcome is not known yet.
  std::uint32_t unsettled = 0;
  /// Leases are out: it is loaded, now or then, though nobody asks.
  std::optional<boot_time> wake_at;
  std::deque<pending_request> waiting;
};

/// The end of a task, on its way to the run that waits for it, or to the group of its event.
struct owed_ending {
  queue_ref queue;
  runtime::task_ending ending;
  /// When it is told, again if it was.
  boot_time next{};
  std::uint32_t tries = 0;
  /// The run's answer is on its way.
  bool is_asked = false;
  /// The run knows: that is still to be recorded.
  bool is_heard = false;
  /// The core has been told so.
  bool is_recording = false;
};

class queues_actor final : public companion {
public:
  queues_actor(
      caf::actor_config& config, shard_id shard, const broker_parts& parts, caf::actor parent);

  const char* name() const override { return "callboard.queues"; }

  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  // queues_actor.cpp: life of the actor, the directory
  void on_activated(bool first) override;
  void on_tick() override;
  void on_pause(boot_time pause) override;
  void load_directory();
  void on_directory(result<std::vector<named_queue>> queues);
  void on_request(pending_request request);
  void tick_slot(const queue_ref& ref, queue_slot& slot);
  void arm_gauges();
  void on_gauges_tick();

  // queues_requests.cpp: what clients ask
  void with_queue(const queue_ref& ref, pending_request request);
  void with_lease(const tenant_name& tenant, const std::string& lease, pending_request request);
  void hold(const queue_ref& ref, queue_slot& slot, pending_request request);
  void handle(const queue_ref& ref, queue_slot& slot, pending_request request);
  void put(const queue_ref& ref, pending_request request);
  void make(const queue_ref& ref, pending_request request, const runtime::queue_settings& settings);
  void configure(
      const queue_ref& ref,
      queue_slot& slot,
      pending_request request,
      const runtime::queue_settings& settings);
  void look_up(const queue_ref& ref, queue_slot& slot);
  void on_looked_up(
      const queue_ref& ref, queue_slot& slot, result<std::optional<runtime::queue_row>> row);
  void on_absent(const queue_ref& ref, queue_slot& slot);
  void on_there(const queue_ref& ref, queue_slot& slot);
  void remove(const queue_ref& ref, queue_slot& slot, pending_request request);
  void leave(const leave_queue& body, pending_request request);
  void describe(const queue_ref& ref, queue_slot& slot, pending_request request, bool created);
  void
  walk_dead(const queue_ref& ref, queue_slot& slot, pending_request request, queue_unit::walk walk);
  void on_walked(const queue_ref& ref, queue_unit::asked asked, std::size_t changed);
  void refuse_waiting(queue_slot& slot, const error& why);
  void run_waiting(const queue_ref& ref);

  // queues_units.cpp: queues at work
  void load(const queue_ref& ref, queue_slot& slot);
  void open(const queue_ref& ref, queue_slot& slot, const runtime::queue_image& image);
  [[nodiscard]] runtime::queue_request note(queue_unit& unit, pending_request request);
  void pump(const queue_ref& ref, queue_slot& slot);
  void start_read(const queue_ref& ref, queue_slot& slot);
  void start_appends(const queue_ref& ref, queue_slot& slot);
  void on_appended(
      const queue_ref& ref,
      entity_id entity,
      std::uint64_t number,
      const result<storage::append_receipt>& outcome);
  void send_answers(const queue_ref& ref, queue_slot& slot);
  void
  answer_outcome(const queue_ref& ref, queue_unit::asked asked, runtime::queue_outcome outcome);
  [[nodiscard]] leased_tasks lease_answer(runtime::granted_tasks granted);
  /// Ends the core; its requests are answered with `why`, or put to the next core.
  void fail_unit(const queue_ref& ref, queue_slot& slot, const error& why);
  /// Ends the core; gives its requests.
  [[nodiscard]] queue_unit::asked_requests drop_unit(queue_slot& slot);
  /// After an append failed with `why`: the queue is read again, for what can be asked again.
  void ask_again(
      const queue_ref& ref,
      queue_slot& slot,
      queue_unit::asked_requests requests,
      const error& why);

  // queues_endings.cpp: ends of tasks are told to runs
  using ending_key = std::pair<entity_id, runtime::task_id>;
  void owe(entity_id entity, const queue_ref& ref, runtime::task_ending ending);
  void tell(const ending_key& key);
  void on_told(const control_reply& reply);
  /// Records what runs have heard of this queue's tasks, or sees to it that this can be done.
  void settle(entity_id entity);
  void settle_again(entity_id entity);
  void settle_gone(entity_id entity);
  void forget_told(entity_id entity, const std::vector<runtime::task_id>& tasks);
  [[nodiscard]] bool is_full() const;
  void put_off(std::size_t count_max);
  void tick_endings();
  /// Something is to be told that is on disk only.
  void look_for_endings();
  void read_more_endings();
  void on_endings(runtime::ending_page page);
  /// Of a new queue's name there may have been another, whose tasks come first.
  void load_gone();
  /// All that is there is known.
  void begin();
  void walk_gone(entity_id entity);
  void end_gone(entity_id entity, runtime::ends_told ends);
  [[nodiscard]] std::vector<entity_id> gone_before(const queue_ref& ref) const;

  [[nodiscard]] queue_slot* find_slot(const queue_ref& ref);
  [[nodiscard]] queue_slot* find_slot(const queue_ref& ref, entity_id entity);
  [[nodiscard]] queue_slot* find_at_work(const queue_ref& ref, std::uint64_t number);

  [[nodiscard]] runtime::queue_time now() const { return {boot(), shard_time()}; }

  bool ready_ = false;
  std::deque<pending_request> early_;
  std::map<queue_ref, queue_slot> queues_;
  std::map<entity_id, queue_ref> names_;
  /// Queues that the tick has to look at.
  std::set<queue_ref> hot_;
  std::uint64_t unit_numbers_ = 0;
  std::uint64_t request_keys_ = 0;
  boot_time directory_retry_{};
  bool gauges_armed_ = false;
  bool aging_ = false;
  boot_time next_age_{};
  queue_metrics metrics_;

  /// A deleted queue of whose tasks runs are still to be told.
  struct gone_queue {
    runtime::queue_deletion deletion;
    bool is_busy = false;
    boot_time next{};
    /// Origin behind which the walk through what it leaves goes on.
    std::string after;
    /// When it goes on though somebody has not heard.
    boot_time next_walk{};
    /// Of what was read some is on disk only.
    bool is_put_off = false;
  };

  std::map<ending_key, owed_ending> owed_;
  std::size_t owed_bytes_ = 0;
  std::unordered_map<std::uint64_t, ending_key> telling_;
  std::uint64_t last_telling_ = 0;
  std::map<entity_id, gone_queue> gone_;
  /// They could not be read.
  std::optional<boot_time> gone_retry_;
  /// Where the search on disk goes on; nothing if all is known here.
  std::optional<std::string> endings_from_;
  bool endings_reading_ = false;
  /// Begin it again when it has come to the end.
  bool endings_again_ = false;
  /// Some was told in vain and is on disk only: looked for again then.
  std::optional<boot_time> next_lap_;
  ending_key last_put_off_;
  boot_time endings_retry_{};
};

/// Most requests that wait for one queue to be read or changed.
inline constexpr std::size_t queue_requests_waiting_max = 4096;

}  // namespace callboard::actors
