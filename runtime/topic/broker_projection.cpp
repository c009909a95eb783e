#include "runtime/topic/broker_projection.hpp"

#include "runtime/group/group_projection.hpp"
#include "runtime/presence/presence_projection.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/topic/topic_codec.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>

namespace callboard::runtime {

namespace {

using storage::record;
using storage::record_kind;
using storage::view_id;
using storage::view_writer;

/// What one block adds to one topic.
struct topic_addition {
  sequence first{};
  sequence last{};
  std::uint64_t bytes = 0;
  std::string dedupe;
};

topic_counters counters_of(entity_id entity, view_writer& out) {
  const auto row = out.get(view_id::topic_state, entity_key(entity));
  return row ? decode_counters(*row) : topic_counters{};
}

void gather(const record& one, topic_addition& sum) {
  if (sum.dedupe.empty()) sum.first = one.entity_seq;
  sum.last = one.entity_seq;
  const auto payload = one.payload.view();
  sum.bytes += payload.size();
  sum.dedupe.append(payload.substr(0, event_prefix_size));
  const std::uint64_t seq = one.entity_seq.raw();
  const std::int64_t time = one.time.time_since_epoch().count();
  sum.dedupe.append(reinterpret_cast<const char*>(&seq), 8);
  sum.dedupe.append(reinterpret_cast<const char*>(&time), 8);
}

void store(entity_id entity, const topic_addition& sum, view_writer& out) {
  auto counters = counters_of(entity, out);
  counters.last_seq = sum.last;
  counters.bytes += sum.bytes;
  out.put(view_id::topic_state, entity_key(entity), encode_counters(counters));
  out.put(view_id::dedupe, dedupe_key(entity, sum.first), sum.dedupe);
}

void apply_trimmed(const record& one, view_writer& out) {
  const auto range = decode_trimmed(one.payload.view());
  if (!range) return;
  const auto row = out.get(view_id::topic_state, entity_key(one.entity));
  if (!row) return; // a group's trim; groups keep no counters here
  auto counters = decode_counters(*row);
  counters.trimmed_up_to = std::max(counters.trimmed_up_to, range->up_to);
  counters.bytes -= std::min(counters.bytes, range->bytes);
  out.put(view_id::topic_state, entity_key(one.entity), encode_counters(counters));
  // A row is kept while its last event may be within the window, so the last row stays.
  out.erase_range(
      view_id::dedupe,
      dedupe_key(one.entity, sequence{0}),
      dedupe_key(one.entity, counters.trimmed_up_to));
}

void apply_topic_record(const record& one, view_writer& out) {
  if (one.kind == record_kind::topic_deleted) {
    if (const auto name = decode_topic_deleted(one.payload.view())) {
      out.erase(view_id::catalogue, catalogue_key(*name));
    }
    out.erase(view_id::topic_state, entity_key(one.entity));
    out.erase_range(
        view_id::dedupe, entity_key(one.entity), entity_key(entity_id{one.entity.raw() + 1}));
    return;
  }
  if (const auto row = decode_topic_record(one.payload.view(), one.entity)) {
    out.put(view_id::catalogue, catalogue_key(row->name), encode_catalogue_value(*row));
  }
}

} // namespace

void broker_projection::apply(std::span<const record> block, view_writer& out) const {
  std::map<entity_id, topic_addition> additions;
  entity_id last_entity{};
  topic_addition* last_addition = nullptr;
  const auto flush = [&] {
    for (const auto& [entity, sum] : additions) store(entity, sum, out);
    additions.clear();
    last_addition = nullptr;
  };
  for (const auto& one : block) {
    if (one.kind == record_kind::event) {
      if (last_addition == nullptr || one.entity != last_entity) {
        last_entity = one.entity;
        last_addition = &additions[one.entity];
      }
      gather(one, *last_addition);
      continue;
    }
    switch (one.kind) {
      case record_kind::topic_created:
      case record_kind::topic_configured: apply_topic_record(one, out); break;
      case record_kind::topic_deleted:
        flush();
        apply_topic_record(one, out);
        apply_group_record(one, out);
        apply_presence_record(one, out);
        break;
      case record_kind::trimmed:
        flush();
        apply_trimmed(one, out);
        break;
      case record_kind::group_created:
      case record_kind::group_configured:
      case record_kind::group_deleted:
      case record_kind::group_progress: apply_group_record(one, out); break;
      case record_kind::presence_changed: apply_presence_record(one, out); break;
      case record_kind::event:
      case record_kind::snapshot: break;
    }
  }
  flush();
}

} // namespace callboard::runtime
