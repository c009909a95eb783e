// What clients ask of consumer groups and of bindings, which stand on groups, and what they are
// answered: bodies of control_request. They go to the shard of the topic.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "runtime/group/group_settings.hpp"
#include "runtime/group/seq_set.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/topic/position.hpp"

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace callboard::actors {

// -- consumer groups -------------------------------------------------------------------------

struct group_ref {
  topic_ref topic;
  group_name group;

  friend auto operator<=>(const group_ref&, const group_ref&) = default;
};

using runtime::group_settings;
using runtime::nack_kind;

struct put_group {
  group_ref group;
  std::optional<std::uint32_t> hold_ms;
  std::optional<std::uint32_t> deliveries_max;
  std::optional<std::uint32_t> in_flight_max;
  std::optional<std::uint32_t> backoff_min_ms;
  std::optional<std::uint32_t> backoff_max_ms;
  std::optional<bool> ordered_by_subject;
  std::optional<std::string> dead_letter_topic;
  /// The rule of a binding, for the group that a binding stands on.
  std::optional<std::string> binding;
  /// Deliver what the topic holds by now up to here, and no more; never less than before.
  std::optional<sequence> up_to{};
  /// Only for a group that is made now.
  runtime::position from = runtime::from_first{};
};

struct get_group {
  group_ref group;
};

struct delete_group {
  group_ref group;
};

/// Those of clients, or those that bindings stand on.
struct list_groups {
  topic_ref topic;
  bool of_bindings = false;
};

struct group_description {
  std::string group;
  group_settings settings;
  /// Everything up to here is acked.
  sequence floor{};
  sequence last_seq{};
  std::uint64_t lag = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t parked = 0;
  /// Ever.
  std::uint64_t dead_lettered = 0;
  /// Ever: retention took them before they were acked.
  std::uint64_t missed = 0;
  /// Of a binding: those that are neither redriven nor given up; nothing if nobody counted them.
  std::optional<std::uint64_t> dead{};
  std::uint64_t members = 0;
  std::uint64_t oldest_unacked_age_ms = 0;
  /// Of the latest nack since the group became active.
  std::string last_error;
  /// What is acked above the floor; of the groups that redrive dead letters.
  std::vector<runtime::seq_range> acked{};
  /// Of what is not acked: the first of those whose place it took. Of such groups, too.
  std::map<sequence, sequence> roots{};
  bool created = false;
};

struct group_list {
  std::vector<group_description> groups;
  bool of_bindings = false;
};

/// Asks for up to `max` deliveries for `member`, waiting up to `wait_ms` for the first.
struct fetch_deliveries {
  group_ref group;
  std::string member;
  std::uint32_t max = 10;
  std::uint32_t wait_ms = 0;
  /// Bytes of events after which nothing is added; 0: as many as one answer may have.
  std::uint64_t bytes_max = 0;
  /// Names it to `leave_group`, if nobody may have seen its answer; 0: it has no name.
  std::uint64_t poll = 0;
};

struct delivery {
  /// Token of this delivery; names it in ack and nack. Opaque, URL-safe.
  std::string token;
  std::uint32_t attempt = 1;
  runtime::delivered_event event;
  /// The first of those whose place it took, if any.
  std::optional<sequence> root{};
};

struct delivery_list {
  std::string epoch;
  std::vector<delivery> deliveries;
  /// Where they go back to if whoever asked is told nothing of them any more.
  group_ref group{};
};

/// Acks deliveries by token and, or, everything up to a seq. Answered once durable.
struct ack_deliveries {
  group_ref group;
  std::vector<std::string> tokens;
  std::optional<sequence> up_to;
  /// Whoever holds them, and whether anybody does.
  std::vector<sequence> seqs{};
};

/// Acks an event whose place another takes from then on; without one (0) `by`, unless it has one.
/// Durable when answered. Errors: overloaded (one was acked, or is under way: nothing was done).
struct replace_event {
  group_ref group;
  sequence seq{};
  sequence by{};
};

struct nack_deliveries {
  group_ref group;
  std::vector<std::string> tokens;
  /// Nothing: the group's backoff for this attempt.
  std::optional<std::uint32_t> delay_ms;
  std::string error;
  nack_kind kind = nack_kind::retry;
};

/// These were seen by nobody: no attempt has ended.
[[nodiscard]] inline nack_deliveries
put_back(const group_ref& group, std::span<const delivery> unseen) {
  nack_deliveries back{group, {}, 0, {}, nack_kind::put_back};
  for (const auto& one : unseen)
    back.tokens.push_back(one.token);
  return back;
}

struct ack_result {
  /// Tokens that were no longer valid (held too long, acked before); acks of them changed nothing.
  std::vector<std::string> lost;
  sequence floor{};
};

/// Gives back at once what `member` holds; sent when its connection ends. Any group of any topic.
struct leave_group {
  group_ref group;
  std::string member;
  /// The `poll` of each fetch of whose answer nobody saw anything: no attempt of what it was given
  /// has ended.
  std::vector<std::uint64_t> unseen{};
};

/// Whether the group needs an event of this epoch no more. Answered `done` if that is on disk.
/// Errors: overloaded if it is not: it may be soon.
struct check_settled {
  group_ref group;
  std::string epoch;
  sequence seq{};
};

// -- bindings: made and changed by put_group, on `runtime::binding_group` -----------------------

/// A binding with how many dead letters it has now; answered by a group_description.
struct get_binding {
  group_ref group;
};

/// All of a topic; answered by a group_list.
struct list_bindings {
  topic_ref topic;
};

/// The binding, and its dead letters with their topic.
struct delete_binding {
  group_ref group;
};

/// Dead letters that wait for a redrive, from `from` on; answered by an event_page.
struct list_binding_dead {
  group_ref group;
  runtime::position from = runtime::from_first{};
  std::uint32_t events_max = 100;
  std::uint64_t bytes_max = 1 << 20;
};

/// Which dead letters; without anything all.
struct binding_dead_filter {
  /// In the topic of dead letters; at most 1000.
  std::vector<sequence> seqs;
  /// What the reason of the last attempt must contain.
  std::string error_contains;
  /// Exact type and subject of the event.
  std::string type;
  std::string subject;

  [[nodiscard]] bool is_all() const {
    return seqs.empty() && error_contains.empty() && type.empty() && subject.empty();
  }
};

/// Hands dead letters of now to the binding's target again, the oldest first and at most
/// `limits.dead_changes_max` of them; what fails is a dead letter again. Errors: task_not_found
/// (one that is named is no dead letter: nothing was done).
struct redrive_binding {
  group_ref group;
  binding_dead_filter filter{};
  std::string who{};
};

/// One dead letter with other data, which it has from then on: a new one in its place, which its
/// target knows by the same id. Errors: task_not_found (no such dead letter), too_large.
struct edit_binding_dead {
  group_ref group;
  sequence seq{};
  /// JSON
  std::string data;
  std::string who{};
};

/// Gives dead letters up, which are listed and handed on no more; bounded as a redrive is. Answered
/// by dead_change_count.
struct abandon_binding_dead {
  group_ref group;
  binding_dead_filter filter{};
  std::string who{};
};

struct binding_redrive {
  /// Dead letters that are being tried; of some, those that the target has taken.
  std::uint64_t events = 0;
  /// Of some: those that it refused, and why it did the last of them.
  std::uint64_t refused = 0;
  std::string last_error{};
  /// There may be others that fit, beyond what one request may do.
  bool more = false;
};

/// Where the dead letter is from now on.
struct binding_edited {
  sequence seq{};
};

/// What the shard's BINDINGS actor is asked.
template <class Body>
concept binding_request =
    std::same_as<Body, get_binding> || std::same_as<Body, list_bindings>
    || std::same_as<Body, delete_binding> || std::same_as<Body, list_binding_dead>
    || std::same_as<Body, redrive_binding> || std::same_as<Body, abandon_binding_dead>
    || std::same_as<Body, edit_binding_dead>;

}  // namespace callboard::actors
