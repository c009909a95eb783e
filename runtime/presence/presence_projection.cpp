#include "runtime/presence/presence_projection.hpp"

#include "proto/journal.pb.h"
#include "runtime/presence/presence_codec.hpp"

namespace callboard::runtime {

namespace {

using storage::record_kind;
using storage::view_id;

void apply_changed(const storage::record& record, storage::view_writer& out) {
  journal::PresenceChanged from;
  const auto bytes = record.payload.view();
  if (!from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return out.report_damage(record, {errc::corruption, "a change of presence is unreadable"});
  }
  const auto topic_key = presence_topic_key(record.entity);
  if (!out.get(view_id::presence, topic_key)) {
    journal::PresenceTopic topic;
    topic.set_tenant(from.tenant());
    topic.set_topic(from.topic());
    out.put(view_id::presence, topic_key, topic.SerializeAsString());
  }
  // The key without a name is that of the topic's row.
  for (const auto& one : from.joined_or_updated()) {
    if (one.member().empty()) continue;
    out.put(
        view_id::presence,
        presence_member_key(record.entity, one.member()),
        one.SerializeAsString());
  }
  for (const auto& member : from.left()) {
    if (!member.empty()) out.erase(view_id::presence, presence_member_key(record.entity, member));
  }
}

}  // namespace

void apply_presence_record(const storage::record& record, storage::view_writer& out) {
  if (is_of_presence(record.kind)) {
    apply_changed(record, out);
  } else if (
      record.kind == record_kind::topic_deleted
      && out.get(view_id::presence, presence_topic_key(record.entity))) {
    out.erase_range(
        view_id::presence,
        presence_topic_key(record.entity),
        presence_topic_key(entity_id{record.entity.raw() + 1}));
  }
}

}  // namespace callboard::runtime
