#include "runtime/topic/topic_codec.hpp"

#include "proto/journal.pb.h"

#include <cstring>

namespace callboard::runtime {

namespace {

void write_settings(const topic_settings& from, journal::TopicSettings& to) {
  to.set_kind(
      from.kind == topic_kind::durable ? journal::TopicSettings::DURABLE
                                       : journal::TopicSettings::EPHEMERAL);
  to.set_lane(
      from.lane == topic_lane::interactive ? journal::TopicSettings::INTERACTIVE
                                           : journal::TopicSettings::BULK);
  to.mutable_retention()->set_max_age_s(from.retention_age_s);
  to.mutable_retention()->set_max_bytes(from.retention_bytes);
  to.mutable_retention()->set_max_events(from.retention_events);
  to.set_dedupe_window_s(from.dedupe_window_s);
  to.set_hold_for_groups(from.hold_for_groups);
}

topic_settings read_settings(const journal::TopicSettings& from) {
  topic_settings to;
  to.kind = from.kind() == journal::TopicSettings::EPHEMERAL ? topic_kind::ephemeral
                                                             : topic_kind::durable;
  to.lane =
      from.lane() == journal::TopicSettings::BULK ? topic_lane::bulk : topic_lane::interactive;
  to.retention_age_s = from.retention().max_age_s();
  to.retention_bytes = from.retention().max_bytes();
  to.retention_events = from.retention().max_events();
  to.dedupe_window_s = from.dedupe_window_s();
  to.hold_for_groups = from.hold_for_groups();
  return to;
}

void append_big_endian(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out += static_cast<char>(value >> shift);
}

std::string name_key(const tenant_name& tenant, char kind, std::string_view name) {
  std::string key;
  key.reserve(tenant.str().size() + 2 + name.size());
  key.append(tenant.str()).append(1, '\0').append(1, kind).append(name);
  return key;
}

constexpr std::string_view damaged = "a topic record does not parse";
constexpr std::size_t counter_words = 7;
/// The last is not there.
constexpr std::size_t old_counters_size = 6 * sizeof(std::uint64_t);

}  // namespace

shared_bytes encode_topic_created(const topic_ref& name, const topic_settings& with) {
  journal::TopicCreated message;
  message.set_tenant(name.tenant.str());
  message.set_topic(name.topic.str());
  write_settings(with, *message.mutable_settings());
  return shared_bytes{message.SerializeAsString()};
}

shared_bytes encode_topic_configured(const topic_ref& name, const topic_settings& with) {
  journal::TopicConfigured message;
  message.set_tenant(name.tenant.str());
  message.set_topic(name.topic.str());
  write_settings(with, *message.mutable_settings());
  return shared_bytes{message.SerializeAsString()};
}

shared_bytes encode_topic_deleted(const topic_ref& name, sequence last_seq) {
  journal::TopicDeleted message;
  message.set_tenant(name.tenant.str());
  message.set_topic(name.topic.str());
  message.set_last_seq(last_seq.raw());
  return shared_bytes{message.SerializeAsString()};
}

shared_bytes encode_trimmed(sequence up_to, std::uint64_t bytes) {
  journal::Trimmed message;
  message.set_up_to_seq(up_to.raw());
  message.set_bytes(bytes);
  return shared_bytes{message.SerializeAsString()};
}

result<topic_row> decode_topic_record(std::string_view payload, entity_id entity) {
  // TopicConfigured has the same fields under the same numbers.
  journal::TopicCreated message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(errc::corruption, std::string{damaged});
  }
  return topic_row{
      .name = {tenant_name::trusted(message.tenant()), topic_name::trusted(message.topic())},
      .settings = read_settings(message.settings()),
      .entity = entity};
}

result<topic_ref> decode_topic_deleted(std::string_view payload) {
  journal::TopicDeleted message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(errc::corruption, std::string{damaged});
  }
  return topic_ref{tenant_name::trusted(message.tenant()), topic_name::trusted(message.topic())};
}

result<trimmed_range> decode_trimmed(std::string_view payload) {
  journal::Trimmed message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(errc::corruption, std::string{damaged});
  }
  return trimmed_range{sequence{message.up_to_seq()}, message.bytes()};
}

std::string catalogue_key(const topic_ref& name) {
  return name_key(name.tenant, 't', name.topic.str());
}

key_range catalogue_range(const tenant_name& tenant, std::string_view after) {
  auto first = name_key(tenant, 't', after);
  if (!after.empty()) first += '\0';
  return {std::move(first), name_key(tenant, 'u', "")};
}

std::optional<topic_row> decode_catalogue_row(std::string_view key, std::string_view value) {
  const auto zero = key.find('\0');
  if (zero == std::string_view::npos || zero + 2 > key.size() || key[zero + 1] != 't') {
    return std::nullopt;
  }
  journal::CatalogueTopic message;
  if (!message.ParseFromArray(value.data(), static_cast<int>(value.size()))) return std::nullopt;
  return topic_row{
      .name =
          {tenant_name::trusted(std::string{key.substr(0, zero)}),
           topic_name::trusted(std::string{key.substr(zero + 2)})},
      .settings = read_settings(message.settings()),
      .entity = entity_id{message.entity()}};
}

std::string encode_catalogue_value(const topic_row& row) {
  journal::CatalogueTopic message;
  message.set_entity(row.entity.raw());
  write_settings(row.settings, *message.mutable_settings());
  return message.SerializeAsString();
}

std::string entity_key(entity_id entity) {
  std::string key;
  append_big_endian(key, entity.raw());
  return key;
}

std::string encode_counters(const topic_counters& counters) {
  const std::uint64_t words[counter_words] = {
      counters.trimmed_up_to.raw(),
      counters.last_seq.raw(),
      counters.bytes,
      counters.dedupe_first.raw(),
      static_cast<std::uint64_t>(counters.dedupe_time.time_since_epoch().count()),
      counters.dedupe_window_s,
      static_cast<std::uint64_t>(counters.dedupe_last_time.time_since_epoch().count())};
  std::string value(sizeof words, '\0');
  std::memcpy(value.data(), words, sizeof words);
  return value;
}

topic_counters decode_counters(std::string_view value) {
  std::uint64_t words[counter_words] = {};
  if (value.size() == sizeof words || value.size() == old_counters_size) {
    std::memcpy(words, value.data(), value.size());
  }
  return {
      sequence{words[0]},
      sequence{words[1]},
      words[2],
      sequence{words[3]},
      time_ms{std::chrono::milliseconds{static_cast<std::int64_t>(words[4])}},
      words[5],
      time_ms{std::chrono::milliseconds{static_cast<std::int64_t>(words[6])}}};
}

std::string dedupe_key(entity_id entity, sequence first) {
  auto key = entity_key(entity);
  append_big_endian(key, first.raw());
  return key;
}

std::string dedupe_row::begin(time_ms time) {
  const std::int64_t ms = time.time_since_epoch().count();
  std::string row(header_size, '\0');
  std::memcpy(row.data(), &ms, sizeof ms);
  return row;
}

std::optional<dedupe_row> dedupe_row::read(std::string_view key, std::string_view value) {
  if (key.size() != 16 || value.size() < header_size
      || (value.size() - header_size) % entry_size != 0) {
    return std::nullopt;
  }
  dedupe_row row;
  std::uint64_t first = 0;
  for (const char byte : key.substr(8))
    first = first << 8 | static_cast<unsigned char>(byte);
  row.first_ = sequence{first};
  std::int64_t ms = 0;
  std::memcpy(&ms, value.data(), sizeof ms);
  row.time_ = time_ms{std::chrono::milliseconds{ms}};
  row.entries_ = value.substr(header_size);
  return row;
}

}  // namespace callboard::runtime
