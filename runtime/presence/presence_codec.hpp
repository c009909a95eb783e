// Presence as bytes: records, rows and the events that subscribers see.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "runtime/presence/presence_core.hpp"
#include "runtime/topic/event_batch.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// Payload of a presence_changed record.
[[nodiscard]] std::string
encode_presence_changed(const topic_ref& topic, const presence_batch& batch);

/// Keys of the presence view: one row per member, and one under the entity alone with its topic.
[[nodiscard]] std::string presence_topic_key(entity_id entity);
[[nodiscard]] std::string presence_member_key(entity_id entity, std::string_view member);

struct presence_key {
  entity_id entity{};
  /// Empty: the row that names the topic.
  std::string member;
};

/// Nothing for a key that is too short.
[[nodiscard]] std::optional<presence_key> parse_presence_key(std::string_view key);

/// Errors: corruption.
[[nodiscard]] result<presence_entry> decode_presence_member(std::string_view value);
[[nodiscard]] result<topic_ref> decode_presence_topic(std::string_view value);

/// An ephemeral event "presence.joined", "presence.updated" or "presence.left": source
/// "/presence/<topic>", subject = member, data = {"member","state","version"}. `id` must be new.
[[nodiscard]] encoded_event make_presence_event(
    const topic_name& topic,
    const presence_change& change,
    std::uint64_t version,
    const std::string& id);

}  // namespace callboard::runtime
