// What clients ask of the broker and what it answers: plain structs without CAF, so that sessions
// need not know actors. Every request is answered exactly once, by its correlation id.
#pragma once

#include "actors/group_requests.hpp"
#include "actors/queue_requests.hpp"
#include "actors/run_endings.hpp"
#include "base/byte_budget.hpp"
#include "base/durability.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/topic/position.hpp"
#include "runtime/topic/publish.hpp"
#include "runtime/topic/topic_settings.hpp"

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace callboard::runtime {
struct rerun_plan;
}  // namespace callboard::runtime

namespace callboard::actors {

// -- publish (hot path) ----------------------------------------------------------------------

using runtime::publish_outcome;
using runtime::publish_reply;
using runtime::publish_request;

/// Everything one connection had ready for one topic. Requests are handled in order.
struct publish_batch {
  topic_ref topic;
  std::vector<publish_request> requests;
  /// A topic that is not there is made; else the events are refused.
  bool makes_topic = true;
  /// Payload bytes taken from the node's budget; given back at commit or refusal.
  byte_charge charge;
};

/// Answers of one commit to one connection.
struct publish_replies {
  std::vector<publish_reply> replies;
};

// -- topics ----------------------------------------------------------------------------------

/// Settings as far as the caller named them; the rest stays or takes its default.
struct topic_settings_patch {
  std::optional<runtime::topic_kind> kind;
  std::optional<runtime::topic_lane> lane;
  std::optional<std::uint64_t> retention_age_s;
  std::optional<std::uint64_t> retention_bytes;
  std::optional<std::uint64_t> retention_events;
  std::optional<std::uint32_t> dedupe_window_s;
  std::optional<bool> hold_for_groups;
};

/// Makes the topic or changes its settings. The kind of an existing topic cannot change: exists.
struct put_topic {
  topic_ref topic;
  topic_settings_patch patch;
};

struct get_topic {
  topic_ref topic;
};

struct delete_topic {
  topic_ref topic;
  /// Only the channel of a workflow that is over since then; else wrong_kind.
  std::optional<time_ms> if_ended_before{};
};

/// In order of name, after `after`. Channels of runs (`workflow.*`) only if asked for.
struct list_topics {
  tenant_name tenant;
  std::string after;
  std::uint32_t limit = 100;
  bool with_run_channels = false;
};

struct topic_description {
  std::string topic;
  std::string epoch;
  runtime::topic_settings settings;
  sequence first_seq{};
  sequence last_seq{};
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;
  bool created = false;
};

struct topic_list {
  std::vector<topic_description> topics;
  /// Continue with this `after`; empty at the end.
  std::string next_after;
  /// Shards that are quarantined: nobody knows what topics they have.
  std::vector<std::uint32_t> shards_left_out;
};

struct done {};

// -- history ---------------------------------------------------------------------------------

/// One page: at most `events_max` events and about `bytes_max` bytes (at least one event).
struct read_events {
  topic_ref topic;
  runtime::position from;
  std::uint32_t events_max = 100;
  std::uint64_t bytes_max = 1 << 20;
};

struct event_page {
  /// Never null.
  runtime::event_batch_ptr batch;
  sequence first_seq{};
  sequence last_seq{};
  sequence next_from{};
};

// -- presence --------------------------------------------------------------------------------

struct presence_join {
  topic_ref topic;
  std::string member;
  /// A JSON object, at most 4 KiB.
  std::string state;
};

/// Renews the lease; sent by the connection's heartbeat.
struct presence_renew {
  topic_ref topic;
  std::string member;
};

struct presence_leave {
  topic_ref topic;
  std::string member;
  /// The connection vanished: unknown for the grace, and left only then.
  bool vanished = false;
};

struct presence_list {
  topic_ref topic;
};

struct presence_member {
  std::string member;
  std::string state;
  std::uint64_t version = 0;
  /// False: unknown, its lease has run out or the node restarted, and the grace runs.
  bool present = true;
};

struct presence_members {
  std::vector<presence_member> members;
  std::uint64_t version = 0;
};

// -- workflows -------------------------------------------------------------------------------

/// Who hears how a child ended.
struct workflow_parent {
  topic_ref channel;
  std::uint32_t run = 1;
  std::uint32_t command = 0;
  /// Of the parent (`runtime::run_start::incarnation`); 0: it has none.
  std::uint64_t incarnation = 0;
  /// Only with a start: ids of those above the parent, from the first on.
  std::vector<std::string> above{};
};

/// Starts a run, or answers with the one that was started so before.
/// Errors: workflow_exists (same id, other type or input), bad_request (no such type here).
struct start_workflow {
  /// `workflow.{id}`, also below.
  topic_ref topic;
  std::string type;
  /// JSON
  std::string input;
  std::string correlation_id;
  std::optional<workflow_parent> parent;
  /// Answer with the result if it is there by then.
  std::uint32_t wait_ms = 0;
  /// Topic that gets the run's `workflow.update` events, too; empty: none.
  std::string mirror{};
  /// Its id was drawn for this request alone, which is sent once: nothing can be there of it.
  bool is_new = false;
};

/// Answered once it is on disk. A signal with the `id` of an earlier one is not sent again.
struct signal_workflow {
  topic_ref topic;
  std::string signal;
  /// JSON
  std::string payload;
  std::string id;
};

struct cancel_workflow {
  topic_ref topic;
  std::string reason;
  /// Given by a parent: only its own child is cancelled, once however often this comes. Anything
  /// else is answered `done` and left alone.
  std::optional<workflow_parent> parent{};
  /// For the record; empty if a run does it.
  std::string who{};
};

/// Ends a run where it stands: no code runs for it, no compensation either. Errors: wrong_kind (it
/// is an agent).
struct terminate_workflow {
  topic_ref topic;
  std::string reason;
  std::string who{};
};

struct get_workflow {
  topic_ref topic;
};

/// What the run waits for, in words.
struct explain_workflow {
  topic_ref topic;
};

/// The result; after `wait_ms` what there is.
struct await_workflow {
  topic_ref topic;
  std::uint32_t wait_ms = 0;
  /// The command of a workflow that waits (`format_origin`), or empty. An answer with `is_watched`
  /// says that it is on disk with the run, which tells it of its end (`end_child`).
  std::string watcher = {};
};

/// Hands a message to an agent, which is made by its first one. Answered once its reply is on disk;
/// after `wait_ms` as pending. A message with the `id` of an earlier one is not handled again.
/// Errors: agent_not_found (there is no such agent, and no class here to make it).
struct call_agent {
  topic_ref topic;
  std::string type;
  std::string message;
  /// JSON
  std::string payload;
  std::string id;
  /// Ids of the agents that wait for the reply.
  std::vector<std::string> chain;
  std::string correlation_id;
  /// The workflow whose command it is, of the same tenant: checked (`check_run`) when the reply is
  /// there and it asks no more. Empty: whoever asks asks again.
  std::string caller;
  std::uint32_t wait_ms = 0;
  /// Whoever made its id makes no other of it: one that was heard stands for it, whatever it says.
  /// A run that computes its message anew may word it otherwise.
  bool id_suffices = false;
  /// Whoever asks asks again until he has recorded the answer: what the agent has answered before
  /// it does not handle again, and if it no longer knows the reply, it says so.
  bool is_once = false;
  /// Of an `is_once`: it may have been handed on before, then or later.
  std::optional<time_ms> sent_since;
  /// By the router: its class is here.
  bool makes_agent = true;
};

/// In order of id, after `after`. Empty type or status: all. `stuck`: only those that nothing would
/// ever wake.
struct list_workflows {
  tenant_name tenant;
  std::string type;
  std::string status;
  std::string after;
  std::uint32_t limit = 100;
  bool stuck = false;
};

/// Where a run is begun anew from, and who wants it.
struct rerun_order {
  /// Index of a command, or the name of one: its last. Empty: behind all that is recorded.
  std::string from;
  std::string reason;
  std::string who;
  /// 0: the one that the run is pinned to.
  std::uint32_t version = 0;
  /// What was signalled behind the command is not taken over.
  bool without_signals = false;
};

/// The next run of a workflow, with what the current one recorded before a command.
/// Errors: not_found (there is no such command), wrong_kind (it is being cancelled), too_large
/// (the signals that came behind the command are).
struct restart_workflow {
  topic_ref topic;
  rerun_order order;
};

/// The same in a new workflow, which no cancel of the other concerns. Errors: the others, and
/// workflow_exists.
struct fork_workflow {
  topic_ref topic;
  topic_ref target;
  rerun_order order;
};

/// A restart or fork; made by the router, for the channel it goes to.
struct begin_rerun {
  topic_ref topic;
  /// The channel and the run that were read.
  topic_ref source;
  std::uint32_t run = 1;
  rerun_order order;
  std::shared_ptr<const runtime::rerun_plan> plan;
};

/// INTERNAL: the run shall see whether what it waits for is still there, and what has come of it.
struct check_run {
  topic_ref topic;
  /// By an agent that the run has called: its reply is there, or will never be.
  bool is_replied = false;
};

/// Ends an open command by hand. Errors: wrong_kind (it is not open).
struct resolve_command {
  topic_ref topic;
  std::uint32_t command = 0;
  /// `skipped` or `resolved`, for the record.
  std::string how;
  std::string reason;
  std::string who;
  /// JSON; a failure if `failed`.
  std::string with;
  bool failed = false;
};

/// An answer about workflows, rendered where the run is.
struct workflow_answer {
  /// A JSON object.
  std::string body;
  bool created = false;
  /// The result is not there yet.
  bool pending = false;
  /// Of `call_agent`: the handler failed; `body` has `error`.
  bool failed = false;
  /// Of `await_workflow`: its watcher is on disk.
  bool is_watched = false;
};

// -- envelope --------------------------------------------------------------------------------

template <class T, class Variant>
inline constexpr bool is_alternative = false;

template <class T, class... Alternatives>
inline constexpr bool is_alternative<T, std::variant<Alternatives...>> =
    (std::is_same_v<T, Alternatives> || ...);

using control_bodies = std::variant<
    put_topic,
    get_topic,
    delete_topic,
    list_topics,
    read_events,
    put_group,
    get_group,
    delete_group,
    list_groups,
    fetch_deliveries,
    ack_deliveries,
    replace_event,
    nack_deliveries,
    leave_group,
    check_settled,
    get_binding,
    list_bindings,
    delete_binding,
    list_binding_dead,
    redrive_binding,
    abandon_binding_dead,
    edit_binding_dead,
    presence_join,
    presence_renew,
    presence_leave,
    presence_list,
    start_workflow,
    signal_workflow,
    cancel_workflow,
    terminate_workflow,
    get_workflow,
    explain_workflow,
    await_workflow,
    end_child,
    end_task,
    call_agent,
    list_workflows,
    restart_workflow,
    fork_workflow,
    begin_rerun,
    check_run,
    resolve_command,
    put_queue,
    get_queue,
    delete_queue,
    list_queues,
    enqueue_task,
    lease_tasks,
    extend_lease,
    complete_task,
    fail_task,
    leave_queue,
    list_dead,
    get_task,
    change_dead,
    change_dead_where,
    cancel_task,
    purge_queue,
    withdraw_task,
    list_queue_audit>;

/// What is asked. Copying, moving and destroying it is compiled once (requests.cpp): for so many
/// alternatives that takes seconds, which each file that includes this would spend.
class control_body : public control_bodies {
public:
  control_body() noexcept;
  ~control_body();

  control_body(const control_body&);
  control_body& operator=(const control_body&);
  control_body(control_body&&) noexcept;
  control_body& operator=(control_body&&) noexcept;

  template <class T>
    requires is_alternative<std::remove_cvref_t<T>, control_bodies>
  control_body(T&& one)  // NOLINT: as for the variant itself, one of them stands for it
      : control_bodies{std::in_place_type<std::remove_cvref_t<T>>, std::forward<T>(one)} {}
};

struct control_request {
  correlation_id correlation{};
  control_body body;
};

using control_answers = std::variant<
    done,
    topic_description,
    topic_list,
    event_page,
    group_description,
    group_list,
    delivery_list,
    ack_result,
    binding_redrive,
    binding_edited,
    presence_members,
    workflow_answer,
    queue_description,
    queue_list,
    runtime::enqueued_task,
    leased_tasks,
    runtime::lease_extended,
    runtime::task_failed,
    dead_list,
    task_description,
    runtime::dead_changed,
    dead_change_count,
    runtime::queue_purged,
    queue_audit_list>;

/// What is answered; compiled once as well.
class control_answer : public control_answers {
public:
  control_answer() noexcept;
  ~control_answer();

  control_answer(const control_answer&);
  control_answer& operator=(const control_answer&);
  control_answer(control_answer&&) noexcept;
  control_answer& operator=(control_answer&&) noexcept;

  template <class T>
    requires is_alternative<std::remove_cvref_t<T>, control_answers>
  control_answer(T&& one)  // NOLINT: as for the variant itself, one of them stands for it
      : control_answers{std::in_place_type<std::remove_cvref_t<T>>, std::forward<T>(one)} {}
};

struct control_reply {
  correlation_id correlation{};
  result<control_answer> outcome;
};

}  // namespace callboard::actors
