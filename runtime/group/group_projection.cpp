#include "runtime/group/group_projection.hpp"

#include "proto/journal.pb.h"
#include "runtime/group/group_codec.hpp"

namespace callboard::runtime {

namespace {

using storage::record_kind;
using storage::view_id;

template <class Message>
bool parse(Message& to, const storage::record& from) {
  const auto bytes = from.payload.view();
  return to.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
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
  if (!parse(from, record)) return;
  journal::GroupRow row;
  row.set_entity(record.lsn.raw());
  row.set_topic_entity(from.topic_entity());
  row.set_start_after_seq(from.start_after_seq());
  *row.mutable_settings() = from.settings();
  out.put(view_id::catalogue, key_of(from), row.SerializeAsString());
}

void apply_configured(const storage::record& record, storage::view_writer& out) {
  journal::GroupConfigured from;
  journal::GroupRow row;
  if (!parse(from, record)) return;
  const auto key = key_of(from);
  const auto value = out.get(view_id::catalogue, key);
  if (!value || !row.ParseFromString(*value)) return;
  *row.mutable_settings() = from.settings();
  out.put(view_id::catalogue, key, row.SerializeAsString());
}

/// By now the name may be that of a group of a later topic.
void apply_deleted(const storage::record& record, storage::view_writer& out) {
  journal::GroupDeleted from;
  journal::GroupRow row;
  if (!parse(from, record)) return;
  const auto key = key_of(from);
  const auto value = out.get(view_id::catalogue, key);
  if (!value || (row.ParseFromString(*value) && row.entity() != record.entity.raw())) return;
  out.erase(view_id::catalogue, key);
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
