#include "runtime/group/group_projection.hpp"

#include "proto/journal.pb.h"
#include "runtime/group/group_codec.hpp"

namespace callboard::runtime {

namespace {

using storage::record_kind;
using storage::view_id;

/// False, and the damage is known, if it cannot be read.
template <class Message>
bool parse(Message& to, const storage::record& from, storage::view_writer& out) {
  const auto bytes = from.payload.view();
  if (to.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return true;
  out.report_damage(from, {errc::corruption, "a group's definition is unreadable"});
  return false;
}

/// Nothing if there is none, or if it cannot be read.
std::optional<journal::GroupRow>
row_at(const std::string& key, const storage::record& at, storage::view_writer& out) {
  const auto value = out.get(view_id::catalogue, key);
  if (!value) return std::nullopt;
  journal::GroupRow row;
  if (row.ParseFromString(*value)) return row;
  out.report_damage(at, {errc::corruption, "a group's catalogue row is unreadable"});
  return std::nullopt;
}

template <class Message>
topic_ref topic_of(const Message& from) {
  return {tenant_name::trusted(from.tenant()), topic_name::trusted(from.topic())};
}

template <class Message>
std::string key_of(const Message& from) {
  return group_row_key(topic_of(from), group_name::trusted(from.group()));
}

void apply_created(const storage::record& record, storage::view_writer& out) {
  journal::GroupCreated from;
  if (!parse(from, record, out)) return;
  journal::GroupRow row;
  row.set_entity(record.lsn.raw());
  row.set_topic_entity(from.topic_entity());
  row.set_start_after_seq(from.start_after_seq());
  *row.mutable_settings() = from.settings();
  out.put(view_id::catalogue, key_of(from), row.SerializeAsString());
}

void apply_configured(const storage::record& record, storage::view_writer& out) {
  journal::GroupConfigured from;
  if (!parse(from, record, out)) return;
  const auto key = key_of(from);
  auto row = row_at(key, record, out);
  if (!row) return;
  *row->mutable_settings() = from.settings();
  out.put(view_id::catalogue, key, row->SerializeAsString());
}

/// By now the name may be that of a group of a later topic.
void apply_deleted(const storage::record& record, storage::view_writer& out) {
  journal::GroupDeleted from;
  if (!parse(from, record, out)) return;
  const auto key = key_of(from);
  const auto row = row_at(key, record, out);
  if (row && row->entity() == record.entity.raw()) out.erase(view_id::catalogue, key);
}

}  // namespace

void apply_group_record(const storage::record& record, storage::view_writer& out) {
  switch (record.kind) {
  case record_kind::group_created:
    apply_created(record, out);
    break;
  case record_kind::group_configured:
    apply_configured(record, out);
    break;
  case record_kind::group_deleted: {
    apply_deleted(record, out);
    break;
  }
  default:
    break;
  }
}

}  // namespace callboard::runtime
