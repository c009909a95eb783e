#include "runtime/topic/broker_projection.hpp"

#include "runtime/group/group_projection.hpp"
#include "runtime/presence/presence_projection.hpp"
#include "runtime/queue/queue_projection.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/run_row.hpp"

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

/// At most so many old dedupe rows go per new one: enough to catch up, and bounded work.
constexpr int dedupe_erase_max = 4;
/// Of a topic that fell silent or is deleted, before the rest goes as one range.
constexpr int dedupe_erase_by_key_max = 64;

static_assert(dedupe_row::entry_size == event_prefix_size);

/// What one block adds to one topic.
struct topic_addition {
  sequence first{};
  time_ms time{};
  sequence last{};
  time_ms last_time{};
  std::uint64_t bytes = 0;
  std::string dedupe;
};

topic_counters counters_of(entity_id entity, view_writer& out) {
  const auto row = out.get(view_id::topic_state, entity_key(entity));
  return row ? decode_counters(*row) : topic_counters{};
}

void gather(const record& one, topic_addition& sum) {
  if (sum.dedupe.empty()) {
    sum.first = one.entity_seq;
    sum.time = one.time;
    sum.dedupe = dedupe_row::begin(one.time);
  }
  sum.last = one.entity_seq;
  sum.last_time = one.time;
  const auto payload = one.payload.view();
  sum.bytes += payload.size();
  sum.dedupe.append(payload.substr(0, dedupe_row::entry_size));
}

/// Rows that the window has passed lead to each other, from the oldest on.
void erase_old_rows(
    entity_id entity, sequence newest, time_ms now, topic_counters& counters, view_writer& out) {
  const auto oldest_kept = now - std::chrono::seconds{counters.dedupe_window_s};
  for (int i = 0; i < dedupe_erase_max && counters.dedupe_first < newest; ++i) {
    if (counters.dedupe_time >= oldest_kept) return;
    const auto key = dedupe_key(entity, counters.dedupe_first);
    const auto value = out.get(view_id::dedupe, key);
    const auto row = value ? dedupe_row::read(key, *value) : std::nullopt;
    const auto next = row ? counters.dedupe_first.plus(row->count()) : newest;
    out.erase(view_id::dedupe, key);
    const auto next_key = dedupe_key(entity, next);
    const auto next_value = out.get(view_id::dedupe, next_key);
    const auto next_row = next_value ? dedupe_row::read(next_key, *next_value) : std::nullopt;
    counters.dedupe_first = next_row ? next : newest;
    counters.dedupe_time = next_row ? next_row->time() : now;
  }
}

void store(entity_id entity, const topic_addition& sum, view_writer& out) {
  auto counters = counters_of(entity, out);
  counters.last_seq = sum.last;
  counters.bytes += sum.bytes;
  if (counters.dedupe_window_s != 0) {
    out.put(view_id::dedupe, dedupe_key(entity, sum.first), sum.dedupe);
    if (counters.dedupe_first == sequence{}) {
      counters.dedupe_first = sum.first;
      counters.dedupe_time = sum.time;
    }
    counters.dedupe_last_time = sum.last_time;
    erase_old_rows(entity, sum.first, sum.time, counters, out);
  }
  out.put(view_id::topic_state, entity_key(entity), encode_counters(counters));
}

/// By their keys; a range, which makes every later look-up dearer, only where they are many.
void erase_dedupe_rows(entity_id entity, topic_counters& counters, view_writer& out) {
  if (counters.dedupe_first == sequence{}) return;
  auto first = counters.dedupe_first;
  for (int i = 0; i < dedupe_erase_by_key_max && first <= counters.last_seq; ++i) {
    const auto key = dedupe_key(entity, first);
    const auto value = out.get(view_id::dedupe, key);
    const auto row = value ? dedupe_row::read(key, *value) : std::nullopt;
    if (!row) break;
    out.erase(view_id::dedupe, key);
    first = first.plus(row->count());
  }
  if (first <= counters.last_seq) {
    out.erase_range(
        view_id::dedupe, dedupe_key(entity, first), entity_key(entity_id{entity.raw() + 1}));
  }
  counters.dedupe_first = sequence{};
  counters.dedupe_last_time = {};
}

void apply_trimmed(const record& one, view_writer& out) {
  const auto range = decode_trimmed(one.payload.view());
  if (!range) return out.report_damage(one, range.error());
  const auto row = out.get(view_id::topic_state, entity_key(one.entity));
  if (!row) return;  // a group's trim; groups keep no counters here
  auto counters = decode_counters(*row);
  counters.trimmed_up_to = std::max(counters.trimmed_up_to, range->up_to);
  // When views are made anew the events themselves may be gone.
  counters.last_seq = std::max({counters.last_seq, counters.trimmed_up_to, one.entity_seq});
  counters.bytes -= std::min(counters.bytes, range->bytes);
  // Dedupe rows stay for their window: a late retry of a trimmed event is still a duplicate. Those
  // of a topic that fell silent go with its events.
  const auto oldest_kept = one.time - std::chrono::seconds{counters.dedupe_window_s};
  const bool is_known = counters.dedupe_last_time != time_ms{};
  if (is_known && counters.dedupe_last_time < oldest_kept) {
    erase_dedupe_rows(one.entity, counters, out);
  }
  out.put(view_id::topic_state, entity_key(one.entity), encode_counters(counters));
}

void apply_topic_record(const record& one, view_writer& out) {
  if (one.kind == record_kind::topic_deleted) {
    const auto name = decode_topic_deleted(one.payload.view());
    if (!name) return out.report_damage(one, name.error());
    out.erase(view_id::catalogue, catalogue_key(*name));
    auto counters = counters_of(one.entity, out);
    erase_dedupe_rows(one.entity, counters, out);
    out.erase(view_id::topic_state, entity_key(one.entity));
    return;
  }
  const auto row = decode_topic_record(one.payload.view(), one.entity);
  if (!row) return out.report_damage(one, row.error());
  out.put(view_id::catalogue, catalogue_key(row->name), encode_catalogue_value(*row));
  // What has just been made has no row.
  const bool is_new = one.kind == record_kind::topic_created;
  auto counters = is_new ? topic_counters{} : counters_of(one.entity, out);
  counters.dedupe_window_s = row->settings.dedupe_window_s;
  if (counters.dedupe_window_s == 0) erase_dedupe_rows(one.entity, counters, out);
  out.put(view_id::topic_state, entity_key(one.entity), encode_counters(counters));
}

}  // namespace

void broker_projection::apply(std::span<const record> block, view_writer& out) const {
  std::map<entity_id, topic_addition> additions;
  entity_id last_entity{};
  topic_addition* last_addition = nullptr;
  const auto flush = [&] {
    for (const auto& [entity, sum] : additions)
      store(entity, sum, out);
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
    case record_kind::topic_configured:
      flush();
      apply_topic_record(one, out);
      break;
    case record_kind::topic_deleted:
      flush();
      apply_topic_record(one, out);
      apply_presence_record(one, out);
      apply_workflow_record(one, out);
      break;
    case record_kind::trimmed:
      flush();
      apply_trimmed(one, out);
      apply_queue_record(one, out);
      break;
    case record_kind::group_created:
    case record_kind::group_configured:
    case record_kind::group_deleted:
    case record_kind::group_progress:
      apply_group_record(one, out);
      break;
    case record_kind::presence_changed:
    case record_kind::presence_restated:
      apply_presence_record(one, out);
      break;
    case record_kind::workflow_progress:
      apply_workflow_record(one, out);
      break;
    case record_kind::queue_created:
    case record_kind::queue_configured:
    case record_kind::queue_closed:
    case record_kind::queue_deleted:
    case record_kind::task_enqueued:
    case record_kind::task_progress:
    case record_kind::task_restated:
    case record_kind::task_audited:
    case record_kind::task_ends_told:
      apply_queue_record(one, out);
      break;
    case record_kind::event:
    case record_kind::snapshot:
      break;
    }
  }
  flush();
}

}  // namespace callboard::runtime
