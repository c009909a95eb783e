#include "runtime/presence/presence_codec.hpp"

#include "base/hash.hpp"
#include "proto/event.pb.h"
#include "proto/journal.pb.h"
#include "runtime/json_string.hpp"

namespace callboard::runtime {

namespace {

std::string_view type_of(presence_event what) {
  switch (what) {
  case presence_event::joined:
    return "presence.joined";
  case presence_event::updated:
    return "presence.updated";
  case presence_event::left:
    return "presence.left";
  }
  return "presence.updated";
}

}  // namespace

std::string encode_presence_changed(const topic_ref& topic, const presence_batch& batch) {
  journal::PresenceChanged to;
  to.set_tenant(topic.tenant.str());
  to.set_topic(topic.topic.str());
  for (const auto& entry : batch.joined_or_updated) {
    auto& one = *to.add_joined_or_updated();
    one.set_member(entry.member);
    one.set_state(entry.state);
    one.set_version(entry.version);
  }
  for (const auto& member : batch.left) {
    to.add_left(member);
  }
  return to.SerializeAsString();
}

std::string presence_topic_key(entity_id entity) {
  std::string key(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    key[i] = static_cast<char>(entity.raw() >> (56 - 8 * i));
  }
  return key;
}

std::string presence_member_key(entity_id entity, std::string_view member) {
  return presence_topic_key(entity).append(member);
}

std::optional<presence_key> parse_presence_key(std::string_view key) {
  if (key.size() < 8) return std::nullopt;
  std::uint64_t entity = 0;
  for (const char c : key.substr(0, 8)) {
    entity = entity << 8U | static_cast<unsigned char>(c);
  }
  return presence_key{entity_id{entity}, std::string{key.substr(8)}};
}

result<presence_entry> decode_presence_member(std::string_view value) {
  journal::PresenceMember from;
  if (!from.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    return fail(errc::corruption, "a presence row is unreadable");
  }
  return presence_entry{from.member(), from.state(), from.version(), false};
}

result<topic_ref> decode_presence_topic(std::string_view value) {
  journal::PresenceTopic from;
  if (!from.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    return fail(errc::corruption, "a presence row is unreadable");
  }
  return topic_ref{tenant_name::trusted(from.tenant()), topic_name::trusted(from.topic())};
}

encoded_event make_presence_event(
    const topic_name& topic,
    const presence_change& change,
    std::uint64_t version,
    const std::string& id) {
  v1::Event event;
  event.set_id(id);
  event.set_source("/presence/" + topic.str());
  event.set_type(std::string{type_of(change.what)});
  event.set_subject(change.member);
  event.set_datacontenttype("application/json");
  std::string data = R"({"member":)";
  append_json_string(data, change.member);
  data += R"(,"state":)" + (change.state.empty() ? "{}" : change.state);
  data += R"(,"version":)" + std::to_string(version) + '}';
  event.set_json(std::move(data));

  std::string stored(event_prefix_size, '\0');
  event.AppendToString(&stored);
  const auto body = std::string_view{stored}.substr(event_prefix_size);
  write_event_prefix(stored.data(), event_identity(event.source(), event.id()), hash_64(body));
  return encoded_event{shared_bytes{std::move(stored)}};
}

}  // namespace callboard::runtime
