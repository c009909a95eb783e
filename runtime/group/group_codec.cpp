#include "runtime/group/group_codec.hpp"

#include "base/hash.hpp"
#include "proto/event.pb.h"
#include "proto/journal.pb.h"
#include "runtime/topic/event_batch.hpp"

#include <algorithm>

namespace callboard::runtime {

namespace {

void write_settings(journal::GroupSettings& to, const group_settings& from) {
  to.set_hold_ms(from.hold_ms);
  to.set_deliveries_max(from.deliveries_max);
  to.set_in_flight_max(from.in_flight_max);
  to.set_backoff_min_ms(from.backoff_min_ms);
  to.set_backoff_max_ms(from.backoff_max_ms);
  to.set_ordered_by_subject(from.ordered_by_subject);
  to.set_dead_letter_topic(from.dead_letter_topic);
  to.set_binding(from.binding);
  to.set_up_to_seq(from.up_to.raw());
}

group_settings read_settings(const journal::GroupSettings& from) {
  group_settings to;
  to.hold_ms = from.hold_ms();
  to.deliveries_max = from.deliveries_max();
  to.in_flight_max = from.in_flight_max();
  to.backoff_min_ms = from.backoff_min_ms();
  to.backoff_max_ms = from.backoff_max_ms();
  to.ordered_by_subject = from.ordered_by_subject();
  to.dead_letter_topic = from.dead_letter_topic();
  to.binding = from.binding();
  to.up_to = sequence{from.up_to_seq()};
  return to;
}

template <class Message>
void write_names(Message& to, const group_definition& from) {
  to.set_tenant(from.topic.tenant.str());
  to.set_topic(from.topic.topic.str());
  to.set_group(from.group.str());
}

void write_pending(journal::PendingEvent& to, const pending_event& from) {
  to.set_seq(from.seq.raw());
  to.set_attempts(from.attempts);
  to.set_not_before_ms(from.not_before.time_since_epoch().count());
  to.set_nonce(from.nonce);
  for (const auto& attempt : from.history) {
    auto& one = *to.add_history();
    one.set_number(attempt.number);
    one.set_delivered_ms(attempt.delivered.time_since_epoch().count());
    one.set_member(attempt.member);
    one.set_outcome(attempt.outcome);
    one.set_error(attempt.error);
  }
}

time_ms from_ms(std::int64_t ms) {
  return time_ms{std::chrono::milliseconds{ms}};
}

pending_event read_pending(const journal::PendingEvent& from) {
  pending_event to;
  to.seq = sequence{from.seq()};
  to.attempts = from.attempts();
  to.not_before = from_ms(from.not_before_ms());
  to.nonce = from.nonce();
  for (const auto& one : from.history()) {
    to.history.push_back(
        {one.number(), from_ms(one.delivered_ms()), one.member(), one.outcome(), one.error()});
  }
  return to;
}

template <class Ranges>
void write_ranges(Ranges& to, const std::vector<seq_range>& from) {
  for (const auto& range : from) {
    auto& one = *to.Add();
    one.set_first(range.first.raw());
    one.set_last(range.last.raw());
  }
}

template <class Ranges>
std::vector<seq_range> read_ranges(const Ranges& from) {
  std::vector<seq_range> to;
  to.reserve(static_cast<std::size_t>(from.size()));
  for (const auto& range : from) {
    to.push_back({sequence{range.first()}, sequence{range.last()}});
  }
  return to;
}

void write_replacement(journal::Replacement& to, sequence by, sequence root) {
  to.set_by(by.raw());
  to.set_root(root.raw());
}

template <class Message>
std::vector<replacement> read_replaced(const Message& from) {
  std::vector<replacement> to;
  for (const auto& one : from.replaced())
    to.push_back({sequence{one.by()}, sequence{one.root()}});
  return to;
}

template <class Message>
bool parse(Message& to, std::string_view bytes) {
  return to.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

std::string row_prefix(const topic_ref& topic, char kind) {
  std::string key = topic.tenant.str();
  key += '\0';
  key += kind;
  key += topic.topic.str();
  key += '\0';
  return key;
}

}  // namespace

std::string encode_group_created(const group_definition& group) {
  journal::GroupCreated to;
  write_names(to, group);
  write_settings(*to.mutable_settings(), group.settings);
  to.set_topic_entity(group.topic_entity.raw());
  to.set_start_after_seq(group.start_after.raw());
  return to.SerializeAsString();
}

std::string encode_group_configured(const group_definition& group) {
  journal::GroupConfigured to;
  write_names(to, group);
  write_settings(*to.mutable_settings(), group.settings);
  return to.SerializeAsString();
}

std::string encode_group_deleted(const group_definition& group) {
  journal::GroupDeleted to;
  write_names(to, group);
  return to.SerializeAsString();
}

std::string encode_group_progress(const group_progress& progress) {
  journal::GroupProgress to;
  write_ranges(*to.mutable_delivered(), progress.delivered);
  write_ranges(*to.mutable_acked(), progress.acked);
  for (const auto& event : progress.pending) {
    write_pending(*to.add_pending(), event);
  }
  for (const auto seq : progress.dead_lettered) {
    to.add_dead_lettered(seq.raw());
  }
  to.set_nonce(progress.nonce);
  to.set_floor(progress.floor.raw());
  to.set_missed(progress.missed);
  for (const auto& one : progress.replaced)
    write_replacement(*to.add_replaced(), one.by, one.root);
  return to.SerializeAsString();
}

std::string encode_group_snapshot(const group_ledger& ledger, const group_settings& settings) {
  journal::GroupSnapshot to;
  to.set_floor(ledger.floor().raw());
  write_ranges(*to.mutable_acked(), ledger.acked().ranges());
  for (const auto& [seq, event] : ledger.pending()) {
    write_pending(*to.add_pending(), event);
  }
  write_settings(*to.mutable_settings(), settings);
  to.set_dead_lettered(ledger.dead_lettered());
  to.set_missed(ledger.missed());
  for (const auto& [by, root] : ledger.roots())
    write_replacement(*to.add_replaced(), by, root);
  return to.SerializeAsString();
}

std::string encode_trimmed(sequence up_to) {
  journal::Trimmed to;
  to.set_up_to_seq(up_to.raw());
  return to.SerializeAsString();
}

result<group_progress> decode_group_progress(std::string_view payload) {
  journal::GroupProgress from;
  if (!parse(from, payload)) return fail(errc::corruption, "a group_progress record is unreadable");
  group_progress to;
  to.delivered = read_ranges(from.delivered());
  to.acked = read_ranges(from.acked());
  for (const auto& event : from.pending()) {
    to.pending.push_back(read_pending(event));
  }
  for (const auto seq : from.dead_lettered()) {
    to.dead_lettered.push_back(sequence{seq});
  }
  to.nonce = from.nonce();
  to.floor = sequence{from.floor()};
  to.missed = from.missed();
  to.replaced = read_replaced(from);
  return to;
}

result<group_ledger> decode_group_snapshot(std::string_view payload) {
  journal::GroupSnapshot from;
  if (!parse(from, payload)) return fail(errc::corruption, "a group's snapshot is unreadable");
  std::vector<pending_event> pending;
  for (const auto& event : from.pending()) {
    pending.push_back(read_pending(event));
  }
  group_ledger ledger{
      sequence{from.floor()},
      read_ranges(from.acked()),
      std::move(pending),
      from.dead_lettered(),
      from.missed()};
  group_progress then;
  then.replaced = read_replaced(from);
  ledger.apply(then);
  return ledger;
}

result<group_row> decode_group_row(std::string_view value) {
  journal::GroupRow from;
  if (!parse(from, value)) return fail(errc::corruption, "a group's catalogue row is unreadable");
  group_row to;
  to.entity = entity_id{from.entity()};
  to.topic_entity = entity_id{from.topic_entity()};
  to.start_after = sequence{from.start_after_seq()};
  to.settings = read_settings(from.settings());
  return to;
}

std::uint64_t subject_key(const shared_bytes& stored) {
  if (stored.size() < event_prefix_size) return 0;
  v1::Event event;
  if (!parse(event, event_proto(stored)) || event.subject().empty()) return 0;
  return std::max<std::uint64_t>(hash_64(event.subject()), 1);
}

std::string group_row_prefix(const topic_ref& topic) {
  return row_prefix(topic, 'g');
}

std::string group_row_key(const topic_ref& topic, const group_name& group) {
  return group_row_prefix(topic) + group.str();
}

std::string key_after(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') {
    prefix.pop_back();
  }
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

std::optional<group_key> parse_group_row_key(std::string_view key) {
  const auto tenant_end = key.find('\0');
  if (tenant_end == std::string_view::npos) return std::nullopt;
  const auto rest = key.substr(tenant_end + 1);
  if (rest.empty() || rest.front() != 'g') return std::nullopt;
  const auto topic_end = rest.find('\0');
  if (topic_end == std::string_view::npos) return std::nullopt;
  group_key parsed;
  parsed.topic.tenant = tenant_name::trusted(std::string{key.substr(0, tenant_end)});
  parsed.topic.topic = topic_name::trusted(std::string{rest.substr(1, topic_end - 1)});
  parsed.group = group_name::trusted(std::string{rest.substr(topic_end + 1)});
  return parsed;
}

}  // namespace callboard::runtime
