// What clients see of a workflow.
#include "actors/run_host.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/correlation.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_limits.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace callboard::actors {

namespace {

using boost::json::object;
using runtime::run_event;
using runtime::run_event_kind;

constexpr std::size_t shown_steps_max = 1000;

bool is_attempted(command_kind kind) {
  return kind == command_kind::step || kind == command_kind::model;
}

std::string shown_state(const json& status, std::size_t most) {
  if (status.is_null()) return {};
  if (const auto flaw = flaw_of(status)) {
    return fmt::format(R"({{"state_not_json":"it {}"}})", *flaw);
  }
  if (!runtime::is_larger(status, most)) return boost::json::serialize(status);
  return fmt::format(
      R"({{"state_too_large":"more than {} bytes, which is workflows.state_bytes_max"}})", most);
}

}  // namespace

/// What is shown now comes behind what is on its way to the journal.
void run_host::show_so_far(std::uint64_t relay) {
  if (is_retired_ || is_dead_) return;
  std::set<std::uint32_t> told;
  if (is_appending_) {
    for (const auto& one : batch_)
      told.insert(one.event.command);
  }
  models_.show_so_far(relay, told);
}

void run_host::show_state() {
  row_->state = shown_state(engine_->status(), limits().state_bytes_max);
}

std::string run_host::id() const {
  return channel_.topic.str().substr(runtime::channel_prefix.size());
}

void run_host::note(const run_event& event) {
  changed_ = std::max(changed_, event.time);
  builds_.take(event);
  if (event.kind == run_event_kind::signalled && !event.id.empty()) {
    const auto said = said_by(event);
    signal_ids_.emplace(event.id, said);
    if (is_agent()) {
      const auto& message = event.data.as_object();
      open_messages_.emplace(event.id, open_message{said, runtime::text_at(message, "caller")});
    }
  }
  if (event.kind == run_event_kind::ended && event.status != runtime::run_status::blocked) {
    note_left(event.time);
  }
  const auto heard = signals_.take(event);
  if (heard && event.kind != run_event_kind::issued) note_heard(*heard, event.time);
  if (event.kind == run_event_kind::issued && event.what == command_kind::reply) {
    note_reply(event.data.as_object());
    start_->answered.add(runtime::text_at(event.data.as_object(), "id"), event.time);
  }
  if (event.kind == run_event_kind::cancel_requested) is_being_cancelled_ = true;
  if (event.command == 0) return;
  note_task(event);
  if (event.kind == run_event_kind::issued && event.what == command_kind::child) {
    const auto& arguments = event.data.as_object();
    const auto* policy = arguments.if_contains("on_parent_close");
    if (policy != nullptr && *policy == "cancel") {
      children_[event.command] = child_id(event.command, arguments);
    }
  } else if (event.kind != run_event_kind::issued) {
    children_.erase(event.command);
  }
  if (event.kind != run_event_kind::issued && event.kind != run_event_kind::attempt_failed) {
    accepted_.erase(event.command);
    resent_calls_.erase(event.command);
    woken_calls_.erase(event.command);
    refused_.erase(event.command);
    borrowed_.erase(event.command);
  }
  if (event.kind == run_event_kind::issued) {
    auto& step = steps_[event.command];
    step.kind = runtime::name_of(event.what);
    step.name = event.name;
    const bool is_mirrored = start_ && !start_->identity.mirror.empty();
    const bool at_once = (event.what == command_kind::update && !is_mirrored)
                         || event.what == command_kind::version
                         || event.what == command_kind::reply;
    step.status = at_once ? "completed" : "running";
    step.attempts = is_attempted(event.what) ? 1 : 0;
    step.started = event.time;
    step.due = event.due;
    if (heard) note_heard(event.command, event.time);
    if (steps_.size() > shown_steps_max) steps_.erase(steps_.begin());
    return;
  }
  const auto found = steps_.find(event.command);
  if (found == steps_.end()) return;
  auto& step = found->second;
  switch (event.kind) {
  case run_event_kind::completed:
  case run_event_kind::timer_fired:
    step.status = "completed";
    step.ended = event.time;
    step.why.reset();
    break;
  case run_event_kind::attempt_failed:
    step.status = "retrying";
    step.attempts = event.attempt + 1;
    if (event.is_deferred) ++step.deferrals;
    step.due = event.due;
    step.why = event.why;
    break;
  case run_event_kind::failed:
    step.status = "failed";
    step.ended = event.time;
    step.why = event.why;
    break;
  case run_event_kind::command_cancelled:
    step.status = "cancelled";
    step.ended = event.time;
    break;
  default:
    break;
  }
}

void run_host::note_heard(std::uint32_t command, time_ms when) {
  const auto found = steps_.find(command);
  if (found == steps_.end()) return;
  found->second.status = "completed";
  found->second.ended = when;
}

void run_host::note_left(time_ms when) {
  for (auto& [command, step] : steps_) {
    if (step.status != "running" && step.status != "retrying") continue;
    step.status = "abandoned";
    step.ended = when;
  }
}

workflow_answer run_host::describe(bool created) const {
  const auto& row = *shown_;
  object out{
      {"id", id()},
      {"type", row.type},
      {"version", row.version},
      {"run", row.run},
      {"status", name_of(row.status)},
      {"started_ms", runtime::shown_ms(row.started)},
      {"correlation_id", runtime::correlation_of(row.correlation_id, id())},
      {"commands", row.commands},
      {"history_size", runtime::history_size(row)}};
  if (row.history_bytes != 0) out["history_bytes"] = row.history_bytes;
  if (is_agent()) {
    const auto name = runtime::parse_agent_channel(channel_.topic);
    out["type"] = name.type;
    out["key"] = name.key;
    out["messages_waiting"] = open_messages_.size();
  }
  if (row.ended) out["ended_ms"] = runtime::shown_ms(*row.ended);
  if (const auto took = costs_.replay_took()) out["replay_ms"] = took->count();
  if (start_) out["input"] = start_->input;
  if (start_ && !start_->parent_id.empty()) {
    out["parent"] = object{
        {"id", start_->parent_id},
        {"run", start_->parent_run},
        {"command", start_->parent_command}};
    if (start_->parent_incarnation != 0) {
      out["parent"].as_object()["incarnation"] =
          runtime::format_incarnation(start_->parent_incarnation);
    }
  }
  out["state"] = json_or_text(row.state);
  if (row.status == runtime::run_status::completed) out["result"] = json_or_text(row.result);
  if (row.why) out["error"] = runtime::describe_failure(*row.why);
  boost::json::array steps;
  for (const auto& [command, step] : steps_) {
    object one{
        {"command", command},
        {"kind", step.kind},
        {"name", step.name},
        {"status", step.status},
        {"started_ms", runtime::shown_ms(step.started)}};
    if (step.attempts != 0) one["attempts"] = step.attempts;
    if (step.deferrals != 0) one["deferrals"] = step.deferrals;
    if (step.ended) one["ended_ms"] = runtime::shown_ms(*step.ended);
    if (step.due && !step.ended) one["due_ms"] = runtime::shown_ms(*step.due);
    if (step.why) one["error"] = runtime::describe_failure(*step.why);
    steps.push_back(std::move(one));
  }
  out["steps"] = std::move(steps);
  if (row.commands > steps_.size()) out["steps_omitted"] = row.commands - steps_.size();
  return {.body = boost::json::serialize(out), .created = created};
}

workflow_answer run_host::describe_result() const {
  object out{{"id", id()}, {"status", name_of(shown_->status)}};
  if (shown_->status == runtime::run_status::completed)
    out["result"] = json_or_text(shown_->result);
  if (shown_->why) out["error"] = runtime::describe_failure(*shown_->why);
  return {.body = boost::json::serialize(out), .pending = !shown_->ended};
}

}  // namespace callboard::actors
