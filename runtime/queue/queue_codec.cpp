#include "runtime/queue/queue_codec.hpp"

#include "proto/journal.pb.h"
#include "runtime/queue/queue_row_keys.hpp"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace callboard::runtime {

namespace {

template <class Message>
bool parse(Message& to, std::string_view bytes) {
  return to.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

time_ms from_ms(std::int64_t ms) {
  return time_ms{std::chrono::milliseconds{ms}};
}

std::int64_t to_ms(time_ms time) {
  return time.time_since_epoch().count();
}

void write_settings(journal::QueueSettings& to, const queue_settings& from) {
  to.set_lease_ms(from.lease_ms);
  to.set_attempts_max(from.attempts_max);
  to.set_backoff_min_ms(from.backoff_min_ms);
  to.set_backoff_max_ms(from.backoff_max_ms);
  to.set_dedupe_window_s(from.dedupe_window_s);
  to.set_concurrency(from.concurrency);
  to.set_key_concurrency(from.key_concurrency);
  to.set_aging_ms(from.aging_ms);
  to.set_fairness_quantum(from.fairness_quantum);
}

queue_settings read_settings(const journal::QueueSettings& from) {
  queue_settings to;
  to.lease_ms = from.lease_ms();
  to.attempts_max = from.attempts_max();
  to.backoff_min_ms = from.backoff_min_ms();
  to.backoff_max_ms = from.backoff_max_ms();
  to.dedupe_window_s = from.dedupe_window_s();
  to.concurrency = from.concurrency();
  to.key_concurrency = from.key_concurrency();
  to.aging_ms = from.aging_ms();
  to.fairness_quantum = from.fairness_quantum();
  return to;
}

void write_lease(journal::TaskLease& to, const task_lease& from) {
  to.set_number(from.number);
  to.set_nonce(from.nonce);
  to.set_worker(from.worker);
  to.set_duration_ms(from.duration_ms);
  to.set_started_ms(to_ms(from.started));
}

task_lease read_lease(const journal::TaskLease& from) {
  return {
      from.number(), from.nonce(), from.worker(), from.duration_ms(), from_ms(from.started_ms())};
}

template <class Attempts>
void write_attempts(Attempts& to, const std::vector<task_attempt>& from) {
  for (const auto& attempt : from) {
    auto& one = *to.Add();
    one.set_number(attempt.number);
    one.set_started_ms(to_ms(attempt.started));
    one.set_ended_ms(to_ms(attempt.ended));
    one.set_worker(attempt.worker);
    one.set_outcome(attempt.outcome);
    one.set_error(attempt.error);
  }
}

template <class Attempts>
std::vector<task_attempt> read_attempts(const Attempts& from) {
  std::vector<task_attempt> to;
  to.reserve(static_cast<std::size_t>(from.size()));
  for (const auto& one : from) {
    to.push_back(
        {one.number(),
         from_ms(one.started_ms()),
         from_ms(one.ended_ms()),
         one.worker(),
         one.outcome(),
         one.error()});
  }
  return to;
}

void write_task(journal::QueueTask& to, const task_row& from) {
  to.set_task(from.state.task.raw());
  to.set_place(from.state.place.raw());
  to.set_phase(static_cast<journal::TaskPhase>(from.phase));
  to.set_priority(static_cast<std::uint32_t>(from.state.priority));
  to.set_fairness_key(from.fairness_key);
  to.set_ready_ms(to_ms(from.state.ready));
  to.set_enqueued_ms(to_ms(from.state.enqueued));
  to.set_attempts(from.state.attempts);
  to.set_attempts_max(from.state.attempts_max);
  if (from.phase == task_phase::leased) write_lease(*to.mutable_lease(), from.lease);
  write_attempts(*to.mutable_history(), from.history);
  to.set_dedupe_key(from.dedupe_key);
  to.set_origin(from.state.origin);
  to.set_payload_size(from.payload_size);
}

bool read_task(task_row& to, const journal::QueueTask& from) {
  if (from.priority() >= priority_count || !journal::TaskPhase_IsValid(from.phase())) return false;
  to.state.task = task_id{from.task()};
  to.state.place = sequence{from.place()};
  to.phase = static_cast<task_phase>(from.phase());
  to.state.priority = static_cast<task_priority>(from.priority());
  to.fairness_key = from.fairness_key();
  to.state.fairness = fairness_hash(to.fairness_key);
  to.state.ready = from_ms(from.ready_ms());
  to.state.enqueued = from_ms(from.enqueued_ms());
  to.state.attempts = from.attempts();
  to.state.attempts_max = from.attempts_max();
  if (to.phase == task_phase::leased) to.lease = read_lease(from.lease());
  to.history = read_attempts(from.history());
  to.dedupe_key = from.dedupe_key();
  to.state.origin = from.origin();
  to.payload_size = from.payload_size();
  return true;
}

std::unexpected<error> broken(const char* what) {
  return fail(errc::corruption, std::string{what} + " is unreadable");
}

template <class Message>
std::string encode_definition(const queue_definition& queue) {
  Message to;
  to.set_tenant(queue.name.tenant.str());
  to.set_queue(queue.name.queue.str());
  write_settings(*to.mutable_settings(), queue.settings);
  return to.SerializeAsString();
}

template <class Message>
queue_ref name_of(const Message& from) {
  return {tenant_name::trusted(from.tenant()), queue_name::trusted(from.queue())};
}

}  // namespace

std::string encode_queue_created(const queue_definition& queue) {
  return encode_definition<journal::QueueCreated>(queue);
}

std::string encode_queue_configured(const queue_definition& queue) {
  return encode_definition<journal::QueueConfigured>(queue);
}

std::string encode_queue_deleted(const queue_deletion& deletion) {
  journal::QueueDeleted to;
  to.set_tenant(deletion.name.tenant.str());
  to.set_queue(deletion.name.queue.str());
  to.set_is_closed_first(deletion.is_closed_first);
  return to.SerializeAsString();
}

std::string encode_stored_task(const stored_task& task) {
  journal::TaskStored to;
  write_task(*to.mutable_task(), task.row);
  to.mutable_task()->set_place(0);
  const auto payload = task.payload.view();
  to.set_payload(payload.data(), payload.size());
  return to.SerializeAsString();
}

std::string encode_task_progress(const task_progress& progress) {
  journal::TaskProgress to;
  for (const auto& change : progress.changes) {
    auto& one = *to.add_changes();
    one.set_task(change.task.raw());
    one.set_phase(static_cast<journal::TaskPhase>(change.phase));
    one.set_ready_ms(to_ms(change.ready));
    one.set_attempts(change.attempts);
    if (change.phase == task_phase::leased) write_lease(*one.mutable_lease(), change.lease);
    write_attempts(*one.mutable_ended(), change.ended);
    one.set_result(change.result);
    one.set_end(static_cast<journal::TaskEnd>(change.end));
    one.set_origin(change.origin);
  }
  for (const auto task : progress.told)
    to.add_told(task.raw());
  for (const auto& ending : progress.restated) {
    auto& one = *to.add_ends_restated();
    one.set_task(ending.task.raw());
    one.set_attempts(ending.attempts);
    one.set_result(ending.text);
    one.set_end(static_cast<journal::TaskEnd>(ending.end));
    one.set_origin(ending.origin);
  }
  to.set_last_lease(progress.last_lease);
  return to.SerializeAsString();
}

std::string encode_task_audit(const task_audit& audit) {
  journal::TaskAudit to;
  to.set_who(audit.who);
  to.set_action(audit.action);
  for (const auto task : audit.tasks)
    to.add_tasks(task.raw());
  to.set_time_ms(to_ms(audit.time));
  to.set_up_to(audit.up_to.raw());
  to.set_with_dead(audit.with_dead);
  return to.SerializeAsString();
}

std::string encode_queue_trimmed(sequence up_to) {
  journal::Trimmed to;
  to.set_up_to_seq(up_to.raw());
  return to.SerializeAsString();
}

result<queue_definition> decode_queue_definition(std::string_view payload) {
  // Created and configured have the same fields.
  journal::QueueCreated from;
  if (!parse(from, payload)) return broken("a queue's definition");
  return queue_definition{name_of(from), read_settings(from.settings())};
}

result<queue_deletion> decode_queue_deleted(std::string_view payload) {
  journal::QueueDeleted from;
  if (!parse(from, payload)) return broken("a queue's deletion");
  return queue_deletion{name_of(from), from.is_closed_first()};
}

result<stored_task> decode_stored_task(std::string_view payload, sequence at) {
  journal::TaskStored from;
  stored_task to;
  if (!parse(from, payload) || !read_task(to.row, from.task())) return broken("a stored task");
  if (to.row.state.task == task_id{}) to.row.state.task = task_id{at.raw()};
  to.row.state.place = at;
  to.row.payload_size = static_cast<std::uint32_t>(from.payload().size());
  to.payload = shared_bytes{std::move(*from.mutable_payload())};
  return to;
}

result<task_progress> decode_task_progress(std::string_view payload) {
  journal::TaskProgress from;
  if (!parse(from, payload)) return broken("a queue's progress");
  task_progress to;
  to.changes.reserve(static_cast<std::size_t>(from.changes_size()));
  for (auto& one : *from.mutable_changes()) {
    if (!journal::TaskPhase_IsValid(one.phase()) || !journal::TaskEnd_IsValid(one.end())) {
      return broken("a queue's progress");
    }
    auto& change = to.changes.emplace_back();
    change.task = task_id{one.task()};
    change.phase = static_cast<task_phase>(one.phase());
    change.ready = from_ms(one.ready_ms());
    change.attempts = one.attempts();
    if (change.phase == task_phase::leased) change.lease = read_lease(one.lease());
    change.ended = read_attempts(one.ended());
    change.result = std::move(*one.mutable_result());
    change.end = static_cast<task_end>(one.end());
    change.origin = std::move(*one.mutable_origin());
  }
  for (const auto task : from.told())
    to.told.push_back(task_id{task});
  for (auto& one : *from.mutable_ends_restated()) {
    if (!journal::TaskEnd_IsValid(one.end())) return broken("a queue's progress");
    to.restated.push_back(
        {task_id{one.task()},
         std::move(*one.mutable_origin()),
         static_cast<task_end>(one.end()),
         one.attempts(),
         std::move(*one.mutable_result())});
  }
  to.last_lease = from.last_lease();
  return to;
}

result<task_audit> decode_task_audit(std::string_view payload) {
  journal::TaskAudit from;
  if (!parse(from, payload)) return broken("a queue's audit");
  task_audit to{
      from.who(),
      from.action(),
      {},
      from_ms(from.time_ms()),
      task_id{from.up_to()},
      from.with_dead()};
  for (const auto task : from.tasks())
    to.tasks.push_back(task_id{task});
  return to;
}

result<sequence> decode_queue_trimmed(std::string_view payload) {
  journal::Trimmed from;
  if (!parse(from, payload)) return broken("a trim");
  return sequence{from.up_to_seq()};
}

std::string encode_queue_row(const queue_row& row) {
  journal::QueueRow to;
  to.set_entity(row.entity.raw());
  write_settings(*to.mutable_settings(), row.settings);
  return to.SerializeAsString();
}

result<queue_row> decode_queue_row(std::string_view value) {
  journal::QueueRow from;
  if (!parse(from, value)) return broken("a queue's catalogue row");
  return queue_row{entity_id{from.entity()}, read_settings(from.settings())};
}

std::string encode_task_row(const task_row& row) {
  journal::QueueTask to;
  write_task(to, row);
  return to.SerializeAsString();
}

result<task_row> decode_task_row(std::string_view value) {
  journal::QueueTask from;
  task_row to;
  if (!parse(from, value) || !read_task(to, from)) return broken("a task's row");
  return to;
}

std::string encode_ends_told(const ends_told& ends) {
  journal::TaskEndsTold to;
  for (const auto task : ends.tasks)
    to.add_tasks(task.raw());
  for (const auto& origin : ends.origins)
    to.add_origins(origin);
  to.set_all(ends.all);
  return to.SerializeAsString();
}

result<ends_told> decode_ends_told(std::string_view payload) {
  journal::TaskEndsTold from;
  if (!parse(from, payload)) return broken("ends of a deleted queue's tasks");
  ends_told to;
  for (const auto task : from.tasks())
    to.tasks.push_back(task_id{task});
  for (auto& origin : *from.mutable_origins())
    to.origins.push_back(std::move(origin));
  to.all = from.all();
  return to;
}

std::string encode_ending_row(const ending_row& row) {
  journal::TaskEnding to;
  to.set_origin(row.ending.origin);
  to.set_end(static_cast<journal::TaskEnd>(row.ending.end));
  to.set_attempts(row.ending.attempts);
  to.set_text(row.ending.text);
  to.set_place(row.place.raw());
  return to.SerializeAsString();
}

result<ending_row> decode_ending_row(std::string_view value, task_id task) {
  journal::TaskEnding from;
  if (!parse(from, value) || !journal::TaskEnd_IsValid(from.end())) {
    return broken("a row of a task's end");
  }
  ending_row row;
  row.ending.task = task;
  row.ending.origin = std::move(*from.mutable_origin());
  row.ending.end = static_cast<task_end>(from.end());
  row.ending.attempts = from.attempts();
  row.ending.text = std::move(*from.mutable_text());
  row.place = sequence{from.place()};
  return row;
}

result<sequence> decode_ending_place(std::string_view value) {
  using wire = google::protobuf::internal::WireFormatLite;
  constexpr auto wanted =
      wire::MakeTag(journal::TaskEnding::kPlaceFieldNumber, wire::WIRETYPE_VARINT);
  google::protobuf::io::CodedInputStream in{
      reinterpret_cast<const std::uint8_t*>(value.data()), static_cast<int>(value.size())};
  std::uint64_t place = 0;
  while (const auto tag = in.ReadTag()) {
    const bool is_read = tag == wanted ? in.ReadVarint64(&place) : wire::SkipField(&in, tag);
    if (!is_read) return broken("a row of a task's end");
  }
  if (!in.ConsumedEntireMessage()) return broken("a row of a task's end");
  return sequence{place};
}

std::string encode_counters(const queue_counters& counters) {
  std::string out;
  const auto put = [&](std::uint64_t value) { append_number(out, value); };
  for (const auto waiting : counters.waiting)
    put(waiting);
  put(counters.leased);
  put(counters.dead);
  put(counters.last_lease);
  put(counters.last_seq.raw());
  put(counters.floor.raw());
  put(counters.dedupe_first);
  put(counters.dedupe_next);
  put(counters.dedupe_window_s);
  return out;
}

result<queue_counters> decode_queue_counters(std::string_view value) {
  queue_counters counters;
  if (value.size() != (priority_count + 8) * 8) return broken("a queue's counters");
  const auto take = [&] { return take_number(value); };
  for (auto& waiting : counters.waiting)
    waiting = take();
  counters.leased = take();
  counters.dead = take();
  counters.last_lease = take();
  counters.last_seq = sequence{take()};
  counters.floor = sequence{take()};
  counters.dedupe_first = take();
  counters.dedupe_next = take();
  counters.dedupe_window_s = static_cast<std::uint32_t>(take());
  return counters;
}

std::string queue_row_prefix(const tenant_name& tenant) {
  return tenant.str() + '\0' + 'q';
}

std::string queue_row_key(const queue_ref& name) {
  return queue_row_prefix(name.tenant) + name.queue.str();
}

std::optional<queue_ref> parse_queue_row_key(std::string_view key) {
  const auto zero = key.find('\0');
  if (zero == std::string_view::npos || zero + 2 > key.size() || key[zero + 1] != 'q') {
    return std::nullopt;
  }
  return queue_ref{
      tenant_name::trusted(std::string{key.substr(0, zero)}),
      queue_name::trusted(std::string{key.substr(zero + 2)})};
}

}  // namespace callboard::runtime
