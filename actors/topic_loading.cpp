#include "actors/topic_loading.hpp"

#include "actors/boxed.hpp"
#include "actors/earlier_signals.hpp"
#include "actors/reader_pool.hpp"
#include "actors/run_reads.hpp"
#include "actors/run_sweep.hpp"
#include "actors/shard_messages.hpp"
#include "actors/stuck_runs.hpp"
#include "actors/topic_reads.hpp"
#include "runtime/workflow/agent_names.hpp"

#include <caf/send.hpp>
#include <fmt/format.h>

namespace callboard::actors {

namespace {

std::string key_of(const topic_ref& channel) {
  return runtime::workflow_key(
      channel.tenant, channel.topic.str().substr(runtime::channel_prefix.size()));
}

/// So that a run nobody can read is listed with those that nothing would wake.
void note_readable(const broker_parts& parts, const topic_ref& name, const result<run_image>& run) {
  if (parts.stuck == nullptr) return;
  const auto key = key_of(name);
  const bool is_empty =
      run && run->row && !run->row->ended && !run->is_to_end && run->history.empty();
  if (!run && run.error().code == errc::corruption) {
    parts.stuck->note(key, unreadable_history(run.error().detail));
  } else if (is_empty) {
    parts.stuck->note(key, unreadable_history("nothing of its current run is there"));
  } else if (const auto known = parts.stuck->find(key); known && known->code == unreadable_code) {
    parts.stuck->clear(key);
  }
}

/// A run that has ended, or is to, is known by its row; all others need their history.
result<run_image> read_run(
    storage::shard_reader& reader, const topic_ref& name, entity_id entity, load_purpose purpose) {
  const bool is_to_end = purpose == load_purpose::end;
  auto run = read_run_image(reader, name, entity);
  if (!run && run.error().code == errc::corruption) {
    auto row = read_workflow_row(reader, name);
    if (row && *row && (is_to_end || (*row)->ended)) run = run_image{.row = std::move(*row)};
  }
  if (!run) return run;
  run->is_to_end = is_to_end;
  const auto& row = run->row;
  const bool has_earlier = row && row->run > 1 && !runtime::is_agent_type(row->type);
  if (purpose != load_purpose::work || !has_earlier) return run;
  auto signals = read_earlier_signals(reader, entity, *row);
  if (!signals) return std::unexpected{signals.error()};
  run->earlier_signals = std::move(*signals);
  return run;
}

/// As long as its row says that its history is, before that is read. Errors: overloaded, and those
/// of the reader.
result<run_charge>
room_to_go_on(const broker_parts& parts, shard_id shard, const topic_ref& channel) {
  auto reader = parts.journal.read(shard);
  if (!reader) return std::unexpected{reader.error()};
  const auto row = read_workflow_row(**reader, channel);
  // What cannot be read is told by who reads all of it.
  if (!row || !*row || (*row)->ended) return run_charge{};
  return parts.runs->admit((*row)->history_bytes, run_need::goes_on);
}

}  // namespace

bool is_channel(const topic_name& topic) {
  return topic.str().starts_with(runtime::channel_prefix);
}

void forget_stuck(const broker_parts& parts, const topic_ref& channel) {
  if (parts.stuck != nullptr && is_channel(channel.topic)) parts.stuck->clear(key_of(channel));
}

bool makes_topic(const control_body& ask) {
  if (const auto* rerun = std::get_if<begin_rerun>(&ask)) {
    return rerun->source.topic != rerun->topic.topic;
  }
  if (const auto* call = std::get_if<call_agent>(&ask)) return call->makes_agent;
  return std::holds_alternative<put_topic>(ask) || std::holds_alternative<start_workflow>(ask);
}

runtime::topic_settings channel_settings(const topic_name& channel, const config& settings) {
  auto defaults = runtime::topic_settings::defaults(settings.topics);
  defaults.dedupe_window_s = 0;
  defaults.retention_age_s = 0;
  defaults.retention_bytes = 0;
  // Others have what they went on from let go while they are at work, and need no looking after.
  defaults.retention_events =
      runtime::is_agent_channel(channel) ? settings.workflows.agent_events_kept : 0;
  return defaults;
}

error not_there(const topic_ref& name) {
  if (runtime::is_agent_channel(name.topic)) {
    return {errc::agent_not_found, "nobody has called this agent yet", 0};
  }
  if (is_channel(name.topic)) {
    const auto id = name.topic.str().substr(runtime::channel_prefix.size());
    return {errc::workflow_not_found, fmt::format("there is no workflow '{}'", id), 0};
  }
  return {errc::topic_not_found, fmt::format("there is no topic '{}'", name.topic.str()), 0};
}

error not_there(const topic_ref& name, const control_body& ask) {
  const auto* call = std::get_if<call_agent>(&ask);
  if (call == nullptr) return not_there(name);
  return {
      errc::agent_not_found,
      fmt::format("this node has no agent type '{}'", runtime::agent_name_of(call->type)),
      0};
}

std::unexpected<error>
too_large(std::string_view what, std::uint64_t most, std::string_view setting) {
  return fail(
      errc::too_large,
      fmt::format(
          "{} may have {} bytes ({}): put what is larger elsewhere, and hand on where",
          what,
          most,
          setting));
}

std::unique_ptr<runtime::topic_core>
make_topic_core(const broker_parts& parts, runtime::topic_image image) {
  const auto& from = parts.settings.topics;
  runtime::topic_limits limits;
  limits.events_in_flight_max = from.events_in_flight_max;
  limits.recent_ids_max = from.dedupe_cache_ids_max;
  return std::make_unique<runtime::topic_core>(std::move(image), limits);
}

result<loaded_topic>
load_topic(const broker_parts& parts, shard_id shard, const topic_ref& name, load_purpose purpose) {
  auto reader = parts.journal.read(shard);
  if (!reader) return std::unexpected{reader.error()};
  const auto row = find_topic_row(**reader, name);
  if (!row) return std::unexpected{row.error()};
  if (!*row) return loaded_topic{};
  auto image = read_topic_image(**reader, **row, parts.journal.state(shard).incarnation);
  if (!image) return std::unexpected{image.error()};
  loaded_topic loaded;
  if (is_channel(name.topic)) {
    auto run = read_run(**reader, name, image->entity, purpose);
    note_readable(parts, name, run);
    if (!run) return std::unexpected{run.error()};
    loaded.run = std::move(*run);
  }
  const auto window_s = image->settings.dedupe_window_s;
  const auto entity = image->entity;
  loaded.core = make_topic_core(parts, std::move(*image));
  if (window_s == 0) return loaded;
  const auto cutoff = parts.journal.shard_time(shard) - std::chrono::seconds{window_s};
  auto read = read_id_window(**reader, entity, cutoff, [&](const runtime::window_row& row) {
    loaded.core->remember(row);
  });
  if (!read) return std::unexpected{read.error()};
  return loaded;
}

result<run_charge> room_for(const broker_parts& parts, const control_body& ask) {
  if (const auto* start = std::get_if<start_workflow>(&ask)) {
    const auto need = start->parent ? run_need::goes_on : run_need::begins;
    return parts.runs->admit(start->input.size(), need);
  }
  if (const auto* call = std::get_if<call_agent>(&ask)) {
    const auto need = call->caller.empty() ? run_need::begins : run_need::goes_on;
    return parts.runs->admit(call->payload.size(), need);
  }
  if (std::holds_alternative<begin_rerun>(ask)) return parts.runs->admit(0, run_need::begins);
  return run_charge{};
}

void load_for(
    const caf::actor& to,
    const broker_parts& parts,
    shard_id shard,
    activation_id activation,
    const topic_ref& name,
    load_order order) {
  auto posted = parts.readers.post(reader_pool::lane::control, [=, &parts] {
    const auto purpose = order.is_to_end ? load_purpose::end : load_purpose::work;
    const auto began = parts.time.boot();
    const bool may_wait = order.may_wait && parts.workflows != nullptr;
    auto room = may_wait ? room_to_go_on(parts, shard, name) : run_charge{};
    if (!room) {
      const bool is_put_off = room.error().code == errc::overloaded;
      topic_loaded told{name, activation, std::unexpected{room.error()}, is_put_off};
      return caf::anon_send(to, box(std::move(told)));
    }
    auto loaded = load_topic(parts, shard, name, purpose);
    if (loaded && loaded->run) {
      loaded->run->read_in = parts.time.boot() - began;
      loaded->run->charge = *std::move(room);
    }
    caf::anon_send(to, box(topic_loaded{name, activation, std::move(loaded)}));
  });
  if (posted) return;
  caf::anon_send(to, box(topic_loaded{name, activation, std::unexpected{posted.error()}}));
}

}  // namespace callboard::actors
