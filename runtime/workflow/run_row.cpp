#include "runtime/workflow/run_row.hpp"

#include "proto/journal.pb.h"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <tuple>

namespace callboard::runtime {

namespace {

using storage::record_kind;
using storage::view_id;

time_ms time_of(std::int64_t ms) {
  return time_ms{std::chrono::milliseconds{ms}};
}

static_assert(static_cast<int>(run_debt::what::cancel_child) == journal::RunDebt::CANCEL_CHILD);
static_assert(static_cast<int>(run_debt::what::withdraw_task) == journal::RunDebt::WITHDRAW_TASK);
static_assert(static_cast<int>(run_debt::what::tell_end) == journal::RunDebt::TELL_END);

void encode(const run_debts& owes, journal::RunDebts& to) {
  to.set_parent(owes.parent);
  for (const auto& debt : owes.debts) {
    auto& one = *to.add_debts();
    one.set_kind(static_cast<journal::RunDebt::Kind>(debt.kind));
    one.set_target(debt.target);
    one.set_origin(debt.origin);
  }
}

run_debts decode(const journal::RunDebts& from) {
  run_debts owes;
  owes.parent = from.parent();
  for (const auto& one : from.debts()) {
    const auto kind = static_cast<run_debt::what>(one.kind());
    owes.debts.push_back({kind, one.target(), one.origin()});
  }
  return owes;
}

void encode(const workflow_row& row, journal::WorkflowRow& to) {
  to.set_type(row.type);
  to.set_version(row.version);
  to.set_run(row.run);
  to.set_status(std::string{name_of(row.status)});
  to.set_started_ms(shown_ms(row.started));
  if (row.ended) to.set_ended_ms(shown_ms(*row.ended));
  to.set_first_seq(row.first_seq.raw());
  to.set_last_seq(row.last_seq.raw());
  to.set_correlation_id(row.correlation_id);
  to.set_start_hash(row.start_hash);
  to.set_state(row.state);
  to.set_result(row.result);
  if (row.why) to.set_error(boost::json::serialize(describe_failure(*row.why)));
  to.set_needs_wake(row.needs_wake);
  to.mutable_accepted()->Assign(row.accepted.begin(), row.accepted.end());
  to.mutable_unasked_models()->Assign(row.unasked_models.begin(), row.unasked_models.end());
  to.set_commands(row.commands);
  to.set_history_bytes(row.history_bytes);
  if (row.owes) encode(*row.owes, *to.mutable_owes());
  to.mutable_watchers()->Assign(row.watchers.begin(), row.watchers.end());
  to.set_parent_cancelled(row.parent_cancelled);
  if (row.cancel_asked) {
    to.mutable_cancel_asked()->set_who(row.cancel_asked->who);
    to.mutable_cancel_asked()->set_reason(row.cancel_asked->reason);
  }
}

workflow_row decode(const journal::WorkflowRow& from) {
  workflow_row row;
  row.type = from.type();
  row.version = from.version();
  row.run = from.run();
  row.status = run_status_named(from.status()).value_or(run_status::running);
  row.started = time_of(from.started_ms());
  if (from.ended_ms() != 0) row.ended = time_of(from.ended_ms());
  row.first_seq = sequence{from.first_seq()};
  row.last_seq = sequence{from.last_seq()};
  row.correlation_id = from.correlation_id();
  row.start_hash = from.start_hash();
  row.state = from.state();
  row.result = from.result();
  if (!from.error().empty()) {
    row.why = read_failure(read_json(from.error()).value_or(nullptr));
  }
  row.needs_wake = from.needs_wake();
  row.accepted.assign(from.accepted().begin(), from.accepted().end());
  row.unasked_models.assign(from.unasked_models().begin(), from.unasked_models().end());
  row.commands = from.commands();
  row.history_bytes = from.history_bytes();
  if (from.has_owes()) row.owes = decode(from.owes());
  row.watchers.assign(from.watchers().begin(), from.watchers().end());
  row.parent_cancelled = from.parent_cancelled();
  if (from.has_cancel_asked()) {
    row.cancel_asked = run_cancel{from.cancel_asked().who(), from.cancel_asked().reason()};
  }
  row.entity = entity_id{from.entity()};
  return row;
}

void append_big_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>(value >> static_cast<unsigned>(shift));
  }
}

std::uint64_t read_big_endian(std::string_view from) {
  std::uint64_t value = 0;
  for (const char byte : from)
    value = value << 8U | static_cast<unsigned char>(byte);
  return value;
}

std::string id_of(const topic_ref& channel) {
  return channel.topic.str().substr(channel_prefix.size());
}

/// On the projection's thread for each transition, so the row goes on as it came.
void apply_progress(const storage::record& record, storage::view_writer& out) {
  const auto payload = record.payload.view();
  journal::WorkflowProgress progress;
  if (!progress.ParseFromArray(payload.data(), static_cast<int>(payload.size()))
      || !progress.topic().starts_with(channel_prefix)) {
    return out.report_damage(
        record, {errc::corruption, "the progress of a workflow is unreadable"});
  }
  const auto id = std::string_view{progress.topic()}.substr(channel_prefix.size());
  const auto key = workflow_key(tenant_name::trusted(progress.tenant()), id);
  progress.mutable_row()->set_entity(record.entity.raw());
  out.put(view_id::workflow, key, progress.row().SerializeAsString());
  const auto row_of = [&](const journal::WorkflowTimer& timer) {
    return timer_key({time_of(timer.due_ms()), timer.command()}, record.entity);
  };
  const auto view_of = [](const journal::WorkflowTimer& timer) {
    return timer.by_wall() ? view_id::workflow_wall_timer : view_id::workflow_timer;
  };
  for (const auto& timer : progress.cleared())
    out.erase(view_of(timer), row_of(timer));
  for (const auto& timer : progress.set())
    out.put(view_of(timer), row_of(timer), key);
  if (progress.row().needs_wake()) {
    out.put(view_id::workflow_wake, entity_key(record.entity), key);
  } else {
    out.erase(view_id::workflow_wake, entity_key(record.entity));
  }
}

}  // namespace

bool tell_the_same(const workflow_row& one, const workflow_row& other) {
  const auto told = [](const workflow_row& row) {
    return std::tie(
        row.type,
        row.version,
        row.run,
        row.status,
        row.started,
        row.ended,
        row.first_seq,
        row.correlation_id,
        row.start_hash,
        row.state,
        row.result,
        row.why,
        row.needs_wake,
        row.accepted,
        row.unasked_models,
        row.owes,
        row.watchers,
        row.parent_cancelled,
        row.cancel_asked);
  };
  return told(one) == told(other);
}

bool is_unasked(const workflow_row& row, std::uint32_t command) {
  return !row.needs_wake
         || std::ranges::find(row.unasked_models, command) != row.unasked_models.end();
}

shared_bytes encode_workflow_progress(const workflow_progress& progress) {
  journal::WorkflowProgress to;
  to.set_tenant(progress.channel.tenant.str());
  to.set_topic(progress.channel.topic.str());
  encode(progress.row, *to.mutable_row());
  const auto encode_timer = [](const run_timer& timer, journal::WorkflowTimer& one) {
    one.set_due_ms(shown_ms(timer.due));
    one.set_command(timer.command);
    one.set_by_wall(timer.by_wall);
  };
  for (const auto& timer : progress.set)
    encode_timer(timer, *to.add_set());
  for (const auto& timer : progress.cleared)
    encode_timer(timer, *to.add_cleared());
  return shared_bytes{to.SerializeAsString()};
}

result<workflow_progress> decode_workflow_progress(std::string_view payload) {
  journal::WorkflowProgress from;
  if (!from.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(errc::corruption, "the progress of a workflow is unreadable");
  }
  if (!from.topic().starts_with(channel_prefix)) {
    return fail(errc::corruption, "the progress of a workflow names no channel of one");
  }
  workflow_progress progress;
  progress.channel = {tenant_name::trusted(from.tenant()), topic_name::trusted(from.topic())};
  progress.row = decode(from.row());
  for (const auto& one : from.set())
    progress.set.push_back({time_of(one.due_ms()), one.command(), one.by_wall()});
  for (const auto& one : from.cleared())
    progress.cleared.push_back({time_of(one.due_ms()), one.command(), one.by_wall()});
  return progress;
}

std::string workflow_key(const tenant_name& tenant, std::string_view id) {
  std::string key = tenant.str();
  key += '\0';
  key += id;
  return key;
}

std::optional<workflow_row> decode_workflow_row(std::string_view value) {
  journal::WorkflowRow from;
  if (!from.ParseFromArray(value.data(), static_cast<int>(value.size()))) return std::nullopt;
  return decode(from);
}

std::string timer_key(const run_timer& timer, entity_id entity) {
  std::string key;
  append_big_endian(key, static_cast<std::uint64_t>(shown_ms(timer.due)), 8);
  append_big_endian(key, entity.raw(), 8);
  append_big_endian(key, timer.command, 4);
  return key;
}

time_ms timer_due(std::string_view key) {
  return time_of(static_cast<std::int64_t>(read_big_endian(key.substr(0, 8))));
}

entity_id timer_entity(std::string_view key) {
  return entity_id{key.size() < 16 ? 0 : read_big_endian(key.substr(8, 8))};
}

std::optional<topic_ref> channel_of_key(std::string_view key) {
  const auto end = key.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  return topic_ref{
      tenant_name::trusted(std::string{key.substr(0, end)}),
      topic_name::trusted(std::string{channel_prefix}.append(key.substr(end + 1)))};
}

void apply_workflow_record(const storage::record& record, storage::view_writer& out) {
  if (record.kind == record_kind::workflow_progress) return apply_progress(record, out);
  const auto deleted = decode_topic_deleted(record.payload.view());
  if (!deleted || !deleted->topic.str().starts_with(channel_prefix)) return;
  out.erase(view_id::workflow, workflow_key(deleted->tenant, id_of(*deleted)));
  out.erase(view_id::workflow_wake, entity_key(record.entity));
}

}  // namespace callboard::runtime
