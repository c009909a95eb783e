#include "runtime/queue/queue_projection.hpp"

#include "base/hash.hpp"
#include "runtime/queue/queue_codec.hpp"
#include "runtime/queue/queue_row_keys.hpp"

#include <algorithm>

namespace callboard::runtime {

namespace {

using storage::record;
using storage::record_kind;
using storage::view_id;
using storage::view_writer;

/// At most so many old dedupe keys go per new one: enough to catch up, and bounded work.
constexpr int dedupe_erase_max = 4;

/// What was read; nothing, and the damage is known, if it could not be.
template <class Value>
std::optional<Value> read_for(const record& at, result<Value> value, view_writer& out) {
  if (value) return *std::move(value);
  out.report_damage(at, value.error());
  return std::nullopt;
}

std::optional<queue_counters> counters_of(const record& at, view_writer& out) {
  const auto value = out.get(view_id::queue_counters, queue_key(at.entity));
  if (!value) return std::nullopt;
  return read_for(at, decode_queue_counters(*value), out);
}

void put(entity_id queue, const queue_counters& counters, view_writer& out) {
  out.put(view_id::queue_counters, queue_key(queue), encode_counters(counters));
}

std::optional<task_row> row_of(const record& at, task_id task, view_writer& out) {
  const auto value = out.get(view_id::queue_task, queue_key(at.entity, task.raw()));
  if (!value) return std::nullopt;
  return read_for(at, decode_task_row(*value), out);
}

/// Where a task of this phase is counted; nothing for one that is gone.
std::uint64_t* counter_of(queue_counters& counters, const task_row& row) {
  switch (row.phase) {
  case task_phase::waiting:
    return &counters.waiting[static_cast<std::size_t>(row.state.priority)];
  case task_phase::leased:
    return &counters.leased;
  case task_phase::dead:
    return &counters.dead;
  case task_phase::gone:
    break;
  }
  return nullptr;
}

std::string place_of(entity_id queue, const task_row& row) {
  const auto& state = row.state;
  return waiting_key(queue, state.priority, state.fairness, state.position());
}

/// Takes the rows of the task's phase out; its own row stays.
void take_out(entity_id queue, const task_row& row, queue_counters& counters, view_writer& out) {
  if (auto* count = counter_of(counters, row); count != nullptr && *count > 0) --*count;
  const auto key = queue_key(queue, row.state.task.raw());
  if (row.phase == task_phase::waiting) out.erase(view_id::queue_waiting, place_of(queue, row));
  if (row.phase == task_phase::leased) out.erase(view_id::queue_lease, key);
  if (row.phase == task_phase::dead) out.erase(view_id::queue_dead, key);
}

void put_in(entity_id queue, const task_row& row, queue_counters& counters, view_writer& out) {
  const auto key = queue_key(queue, row.state.task.raw());
  if (row.phase == task_phase::gone) {
    out.erase(view_id::queue_task, key);
    out.erase(view_id::queue_place, queue_key(queue, row.state.place.raw()));
    return;
  }
  if (auto* count = counter_of(counters, row)) ++*count;
  if (row.phase == task_phase::waiting) {
    out.put(view_id::queue_waiting, place_of(queue, row), waiting_value(row.state));
  }
  if (row.phase == task_phase::leased) out.put(view_id::queue_lease, key, {});
  if (row.phase == task_phase::dead) out.put(view_id::queue_dead, key, {});
  out.put(view_id::queue_task, key, encode_task_row(row));
}

void erase_old_dedupe(entity_id queue, time_ms now, queue_counters& counters, view_writer& out) {
  const auto oldest_kept = now - std::chrono::seconds{counters.dedupe_window_s};
  for (int i = 0; i < dedupe_erase_max && counters.dedupe_first < counters.dedupe_next; ++i) {
    const auto number = counters.dedupe_first;
    const auto number_key = dedupe_number_key(queue, number);
    const auto value = out.get(view_id::queue_dedupe, number_key);
    if (value && value->size() == 24) {
      std::string_view rest = *value;
      const auto time = static_cast<std::int64_t>(take_number(rest));
      if (time_ms{std::chrono::milliseconds{time}} >= oldest_kept) return;
      const hash128 hash{take_number(rest), take_number(rest)};
      const auto hash_key = dedupe_hash_key(queue, hash);
      const auto owner = out.get(view_id::queue_dedupe, hash_key);
      // The key may have been used again since.
      if (owner && owner->size() == 24) {
        std::string_view last = std::string_view{*owner}.substr(16);
        if (take_number(last) == number) out.erase(view_id::queue_dedupe, hash_key);
      }
    }
    out.erase(view_id::queue_dedupe, number_key);
    ++counters.dedupe_first;
  }
}

void note_dedupe(entity_id queue, const task_row& row, queue_counters& counters, view_writer& out) {
  if (row.dedupe_key.empty() || counters.dedupe_window_s == 0) return;
  const auto hash = hash_128(row.dedupe_key);
  const auto time = static_cast<std::uint64_t>(row.state.enqueued.time_since_epoch().count());
  std::string by_hash;
  append_number(by_hash, row.state.task.raw());
  append_number(by_hash, time);
  append_number(by_hash, counters.dedupe_next);
  out.put(view_id::queue_dedupe, dedupe_hash_key(queue, hash), by_hash);
  std::string by_number;
  append_number(by_number, time);
  append_number(by_number, hash.high);
  append_number(by_number, hash.low);
  out.put(view_id::queue_dedupe, dedupe_number_key(queue, counters.dedupe_next), by_number);
  ++counters.dedupe_next;
  erase_old_dedupe(queue, row.state.enqueued, counters, out);
}

/// Its task, until whoever enqueued it knows of its end.
void put_origin(entity_id queue, const std::string& origin, task_id task, view_writer& out) {
  std::string value;
  append_number(value, task.raw());
  out.put(view_id::queue_origin, origin_key(queue, origin), value);
}

void apply_stored(const record& from, queue_counters& counters, view_writer& out) {
  const auto stored = read_for(from, decode_stored_task(from.payload.view(), from.entity_seq), out);
  if (!stored) return;
  const auto& row = stored->row;
  const auto queue = from.entity;
  if (from.kind == record_kind::task_restated) {
    if (const auto old = row_of(from, row.state.task, out)) {
      take_out(queue, *old, counters, out);
      out.erase(view_id::queue_place, queue_key(queue, old->state.place.raw()));
    }
  } else {
    note_dedupe(queue, row, counters, out);
  }
  put_in(queue, row, counters, out);
  if (row.phase == task_phase::gone) return;
  if (!row.state.origin.empty()) put_origin(queue, row.state.origin, row.state.task, out);
  std::string task;
  append_number(task, row.state.task.raw());
  out.put(view_id::queue_place, queue_key(queue, row.state.place.raw()), task);
}

/// Of a task that may have no row any more: views made anew begin behind its first record.
void apply_end(const record& from, task_ending ending, view_writer& out) {
  if (ending.end == task_end::withdrawn) {
    out.erase(view_id::queue_origin, origin_key(from.entity, ending.origin));
    return;
  }
  put_origin(from.entity, ending.origin, ending.task, out);
  const auto key = queue_key(from.entity, ending.task.raw());
  out.put(view_id::queue_ending, key, encode_ending_row({std::move(ending), from.entity_seq}));
}

void apply_told(const record& from, task_id task, view_writer& out) {
  const auto key = queue_key(from.entity, task.raw());
  const auto value = out.get(view_id::queue_ending, key);
  if (!value) return;
  if (const auto row = read_for(from, decode_ending_row(*value, task), out)) {
    out.erase(view_id::queue_origin, origin_key(from.entity, row->ending.origin));
  }
  out.erase(view_id::queue_ending, key);
}

void apply_ends_told(const record& from, view_writer& out) {
  const auto told = read_for(from, decode_ends_told(from.payload.view()), out);
  if (!told) return;
  for (const auto task : told->tasks)
    apply_told(from, task, out);
  for (const auto& origin : told->origins)
    out.erase(view_id::queue_origin, origin_key(from.entity, origin));
  if (told->all) out.erase(view_id::queue_gone, queue_key(from.entity));
}

void apply_progress(const record& from, queue_counters& counters, view_writer& out) {
  auto progress = read_for(from, decode_task_progress(from.payload.view()), out);
  if (!progress) return;
  counters.last_lease = std::max(counters.last_lease, progress->last_lease);
  for (const auto& change : progress->changes) {
    if (change.end != task_end::none) {
      apply_end(
          from, {change.task, change.origin, change.end, change.attempts, change.result}, out);
    }
    auto row = row_of(from, change.task, out);
    if (!row) continue;
    if (change.end != task_end::none) row->state.origin.clear();
    take_out(from.entity, *row, counters, out);
    row->phase = change.phase;
    row->state.ready = change.ready;
    row->state.attempts = change.attempts;
    row->lease = change.lease;
    append_attempts(row->history, change.ended);
    put_in(from.entity, *row, counters, out);
  }
  for (auto& ending : progress->restated)
    apply_end(from, std::move(ending), out);
  for (const auto task : progress->told)
    apply_told(from, task, out);
}

void apply_definition(const record& from, view_writer& out) {
  const auto queue = read_for(from, decode_queue_definition(from.payload.view()), out);
  if (!queue) return;
  auto counters = counters_of(from, out);
  if (!counters) {
    if (from.kind != record_kind::queue_created) return;
    counters = queue_counters{};
  }
  out.put(
      view_id::catalogue,
      queue_row_key(queue->name),
      encode_queue_row({from.entity, queue->settings}));
  counters->dedupe_window_s = queue->settings.dedupe_window_s;
  put(from.entity, *counters, out);
}

void apply_deleted(const record& from, view_writer& out) {
  const auto deletion = read_for(from, decode_queue_deleted(from.payload.view()), out);
  if (!deletion) return;
  if (from.kind == record_kind::queue_deleted && deletion->is_closed_first) {
    // Its name may be another queue's by now.
    return out.erase(view_id::queue_gone, queue_key(from.entity));
  }
  out.erase(view_id::catalogue, queue_row_key(deletion->name));
  // Those who wait for its tasks are still to be told: the rows of views 24 and 25 stay for them.
  out.put(view_id::queue_gone, queue_key(from.entity), from.payload.view());
  const auto first = queue_key(from.entity);
  const auto last = queue_key(entity_id{from.entity.raw() + 1});
  for (const auto view :
       {view_id::queue_task,
        view_id::queue_waiting,
        view_id::queue_lease,
        view_id::queue_dead,
        view_id::queue_place,
        view_id::queue_dedupe,
        view_id::queue_counters,
        view_id::queue_audit}) {
    out.erase_range(view, first, last);
  }
}

}  // namespace

void apply_queue_record(const record& record, view_writer& out) {
  switch (record.kind) {
  case record_kind::queue_created:
  case record_kind::queue_configured:
    return apply_definition(record, out);
  case record_kind::queue_closed:
  case record_kind::queue_deleted:
    return apply_deleted(record, out);
  case record_kind::task_ends_told:
    return apply_ends_told(record, out);
  case record_kind::task_enqueued:
  case record_kind::task_progress:
  case record_kind::task_restated:
  case record_kind::task_audited:
  case record_kind::trimmed:
    break;
  default:
    return;
  }
  // None: the trim of another entity, or what is left of a queue that was deleted.
  auto counters = counters_of(record, out);
  if (!counters) return;
  counters->last_seq = std::max(counters->last_seq, record.entity_seq);
  if (record.kind == record_kind::task_progress) {
    apply_progress(record, *counters, out);
  } else if (record.kind == record_kind::task_audited) {
    out.put(
        view_id::queue_audit, queue_key(record.entity, record.lsn.raw()), record.payload.view());
  } else if (record.kind == record_kind::trimmed) {
    if (const auto up_to = read_for(record, decode_queue_trimmed(record.payload.view()), out)) {
      counters->floor = std::max(counters->floor, *up_to);
    }
  } else {
    apply_stored(record, *counters, out);
  }
  put(record.entity, *counters, out);
}

}  // namespace callboard::runtime
