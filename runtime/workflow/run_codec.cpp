#include "runtime/workflow/run_codec.hpp"

#include "base/hash.hpp"
#include "base/rfc3339.hpp"
#include "proto/event.pb.h"
#include "runtime/topic/position.hpp"
#include "runtime/workflow/correlation.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_check.hpp"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace callboard::runtime {

namespace {

using boost::json::object;

/// The memory of a larger one is given back.
constexpr std::size_t kept_event_bytes_max = 16 << 10;

std::string_view type_of_issue(command_kind kind) {
  switch (kind) {
  case command_kind::step:
  case command_kind::publish:
  case command_kind::child:
  case command_kind::call:
  case command_kind::model:
  case command_kind::task:
    return "task.started";
  case command_kind::sleep:
    return "timer.started";
  case command_kind::signal:
    return "signal.awaited";
  case command_kind::update:
    return "workflow.update";
  case command_kind::version:
    return "version.marked";
  case command_kind::reply:
    return "agent.replied";
  }
  return "task.started";
}

void write_type(const run_event& event, std::string& to) {
  switch (event.kind) {
  case run_event_kind::started:
    to = "workflow.started";
    break;
  case run_event_kind::completed:
    to = "task.completed";
    break;
  case run_event_kind::attempt_failed:
  case run_event_kind::failed:
    to = "task.failed";
    break;
  case run_event_kind::timer_fired:
    to = "timer.fired";
    break;
  case run_event_kind::signalled:
    to = "signal.received";
    break;
  case run_event_kind::cancel_requested:
    to = "workflow.cancelling";
    break;
  case run_event_kind::issued:
    to = type_of_issue(event.what);
    break;
  case run_event_kind::command_cancelled:
    to = "command.cancelled";
    break;
  case run_event_kind::ended:
    to.assign("workflow.").append(name_of(event.status));
    break;
  case run_event_kind::parent_told:
    to = "parent.told";
    break;
  case run_event_kind::rerun:
    to.assign("workflow.").append(event.name);
    break;
  case run_event_kind::build_changed:
    to = "build.changed";
    break;
  case run_event_kind::unblocked:
    to = "workflow.unblocked";
    break;
  case run_event_kind::parted:
    to = "workflow.parted";
    break;
  }
}

std::optional<time_ms> parse_time(const std::string& text) {
  auto position = parse_position("time:" + text);
  if (!position) return std::nullopt;
  const auto* found = std::get_if<from_time>(&*position);
  return found == nullptr ? std::nullopt : std::optional{found->time};
}

/// What a reader of the channel sees, in `memory`. Updates are the code's own words, as they are.
json data_of(const run_event& event, boost::json::storage_ptr memory) {
  if (event.kind == run_event_kind::issued && event.what == command_kind::update) {
    return json(event.data.at("data"), std::move(memory));
  }
  if (event.kind == run_event_kind::started || event.kind == run_event_kind::rerun
      || event.kind == run_event_kind::build_changed || event.kind == run_event_kind::parted) {
    return json(event.data, std::move(memory));
  }
  object data(std::move(memory));
  if (!event.by_hand.is_null()) data["by_hand"] = event.by_hand;
  if (!event.name.empty()) data["name"] = event.name;
  if (event.attempt != 0) data["attempt"] = event.attempt;
  if (!event.id.empty()) data["id"] = event.id;
  if (event.due) data["due_ms"] = shown_ms(*event.due);
  if (event.why) data["error"] = describe_failure(*event.why);
  switch (event.kind) {
  case run_event_kind::issued:
    data["kind"] = name_of(event.what);
    if (event.data.is_object() && !event.data.get_object().empty()) data["arguments"] = event.data;
    break;
  case run_event_kind::completed:
    data["result"] = event.data;
    break;
  case run_event_kind::signalled:
    data["payload"] = event.data;
    break;
  case run_event_kind::attempt_failed:
    data["final"] = false;
    if (event.is_deferred) data["deferred"] = true;
    break;
  case run_event_kind::failed:
    data["final"] = true;
    break;
  case run_event_kind::cancel_requested:
    data["reason"] = event.data;
    break;
  case run_event_kind::ended:
    if (event.status == run_status::continued) {
      data["input"] = event.data;
    } else if (event.status == run_status::completed) {
      data["result"] = event.data;
    }
    break;
  case run_event_kind::started:
  case run_event_kind::timer_fired:
  case run_event_kind::command_cancelled:
  case run_event_kind::parent_told:
  case run_event_kind::rerun:
  case run_event_kind::build_changed:
  case run_event_kind::unblocked:
  case run_event_kind::parted:
    break;
  }
  return data;
}

void add_extension(v1::Event& event, std::string name, std::int32_t value) {
  auto& extension = *event.add_extensions();
  extension.set_name(std::move(name));
  extension.set_integer(value);
}

void add_extension(v1::Event& event, std::string name, const std::string& value) {
  auto& extension = *event.add_extensions();
  extension.set_name(std::move(name));
  extension.set_text(value);
}

std::int32_t integer_extension(const v1::Event& event, std::string_view name) {
  for (const auto& one : event.extensions()) {
    if (one.name() == name) return one.integer();
  }
  return 0;
}

std::optional<v1::Event> parse(const delivered_event& stored) {
  v1::Event event;
  const auto bytes = event_proto(stored.stored);
  if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  return event;
}

std::uint64_t hexadecimal_at(const object& data, std::string_view key) {
  const auto text = text_at(data, key);
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number, 16);
  return number;
}

json value_at(const object& data, std::string_view key) {
  const auto* value = data.if_contains(key);
  return value == nullptr ? json{} : *value;
}

std::optional<std::int64_t> integer_at(const object& data, std::string_view key) {
  const auto* value = data.if_contains(key);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  boost::system::error_code failed;
  const auto number = value->to_number<std::int64_t>(failed);
  if (failed) return std::nullopt;
  return number;
}

/// The kind of an event of this type; nothing for a type that no history has.
std::optional<run_event_kind> kind_of(std::string_view type, const object& data) {
  using enum run_event_kind;
  if (type == "workflow.started") return started;
  if (type == "task.completed") return completed;
  if (type == "task.failed") return value_at(data, "final") == json(true) ? failed : attempt_failed;
  if (type == "timer.fired") return timer_fired;
  if (type == "signal.received") return signalled;
  if (type == "workflow.cancelling") return cancel_requested;
  if (type == "command.cancelled") return command_cancelled;
  if (type == "parent.told") return parent_told;
  if (type == "workflow.restarted" || type == "workflow.forked") return rerun;
  if (type == "build.changed") return build_changed;
  if (type == "workflow.unblocked") return unblocked;
  if (type == "workflow.parted") return parted;
  if (type == "task.started" || type == "timer.started" || type == "signal.awaited"
      || type == "version.marked" || type == "agent.replied" || type == "workflow.update") {
    return issued;
  }
  if (type.starts_with("workflow.") && run_status_named(type.substr(9))) return ended;
  return std::nullopt;
}

/// Precondition: `type` is that of an end.
run_status status_in(std::string_view type) {
  return run_status_named(type.substr(9)).value_or(run_status::failed);
}

std::optional<time_ms> due_in(const object& data) {
  const auto due = integer_at(data, "due_ms");
  return due ? std::optional{time_ms{std::chrono::milliseconds{*due}}} : std::nullopt;
}

void read_members(run_event& event, const std::string& type, json data) {
  static const object none;
  const auto& from = data.is_object() ? data.get_object() : none;
  if (type == "workflow.update") {
    event.what = command_kind::update;
    event.name = "update";
    event.data = object{{"data", std::move(data)}};
    return;
  }
  if (event.kind == run_event_kind::started) {
    event.id = text_at(from, "id");
    event.is_cancelled = value_at(from, "cancelled") == json(true);
    event.due = due_in(from);
    event.data = std::move(data);
    return;
  }
  if (event.kind == run_event_kind::rerun || event.kind == run_event_kind::build_changed
      || event.kind == run_event_kind::parted) {
    if (event.kind == run_event_kind::rerun) event.name = type.substr(type.find('.') + 1);
    event.data = std::move(data);
    return;
  }
  event.by_hand = value_at(from, "by_hand");
  event.name = text_at(from, "name");
  event.id = text_at(from, "id");
  event.attempt = static_cast<std::uint32_t>(integer_at(from, "attempt").value_or(0));
  event.is_deferred = value_at(from, "deferred") == json(true);
  event.due = due_in(from);
  if (from.contains("error")) event.why = read_failure(from.at("error"));
  if (event.kind == run_event_kind::issued) {
    event.what = command_kind_named(text_at(from, "kind")).value_or(command_kind::step);
    event.data = from.contains("arguments") ? from.at("arguments") : json(object{});
  } else if (event.kind == run_event_kind::ended) {
    event.status = status_in(type);
    event.data = value_at(from, event.status == run_status::continued ? "input" : "result");
  } else if (event.kind == run_event_kind::signalled) {
    event.data = value_at(from, "payload");
  } else if (event.kind == run_event_kind::cancel_requested) {
    event.data = value_at(from, "reason");
  } else {
    event.data = value_at(from, "result");
  }
}

}  // namespace

result<topic_name> workflow_channel(std::string_view id) {
  auto channel = topic_name::parse(std::string{channel_prefix}.append(id));
  if (channel) return channel;
  return fail(
      errc::invalid_name,
      "the id of a workflow must be 1 to 246 bytes of dot-separated tokens of [A-Za-z0-9_:-]");
}

encoded_event
encode_run_event(const run_event& event, const run_identity& run, std::uint64_t number) {
  // Most have the same shape as the one before, so that the memory of one is enough for all.
  thread_local v1::Event to;
  to.Clear();
  to.set_id(fmt::format(FMT_COMPILE("{}.{}"), run.run, number));
  to.mutable_source()->assign("/workflows/").append(run.workflow_id);
  write_type(event, *to.mutable_type());
  to.set_subject(run.workflow_id);
  // The code saw this time, not that of the commit.
  to.set_time(format_time(event.time));
  to.set_datacontenttype("application/json");
  if (event.command != 0) {
    add_extension(to, "command", static_cast<std::int32_t>(event.command));
  }
  add_extension(to, "correlationid", correlation_of(run));
  add_extension(to, "run", static_cast<std::int32_t>(run.run));
  unsigned char memory[2048];
  boost::json::monotonic_resource resource{memory};
  to.set_json(boost::json::serialize(data_of(event, &resource)));
  std::string stored;
  stored.reserve(event_prefix_size + to.ByteSizeLong());
  stored.resize(event_prefix_size);
  to.AppendToString(&stored);
  const auto body = std::string_view{stored}.substr(event_prefix_size);
  write_event_prefix(stored.data(), event_identity(to.source(), to.id()), hash_64(body));
  if (body.size() > kept_event_bytes_max) to = {};
  return encoded_event{shared_bytes{std::move(stored)}};
}

result<run_event> decode_run_event(const delivered_event& stored) {
  const auto from = parse(stored);
  if (!from) {
    return fail(errc::corruption, fmt::format("event {} of a run is unreadable", stored.seq.raw()));
  }
  auto data = read_json(from->json());
  static const object none;
  const auto kind =
      data ? kind_of(from->type(), data->is_object() ? data->get_object() : none) : std::nullopt;
  if (!kind) {
    return fail(
        errc::corruption,
        fmt::format(
            "event {} of a run, of type '{}', {}",
            stored.seq.raw(),
            from->type(),
            data ? "is not part of a history" : data.error()));
  }
  run_event event;
  event.kind = *kind;
  event.time = parse_time(from->time()).value_or(stored.time);
  event.command = static_cast<std::uint32_t>(integer_extension(*from, "command"));
  event.run = static_cast<std::uint32_t>(integer_extension(*from, "run"));
  read_members(event, from->type(), *std::move(data));
  return event;
}

result<run_event> read_shown_event(const object& shown) {
  const auto type = text_at(shown, "type");
  auto data = value_at(shown, "data");
  static const object none;
  const auto kind = kind_of(type, data.is_object() ? data.get_object() : none);
  if (!kind) {
    return fail(
        errc::corruption,
        fmt::format(
            "event '{}', of type '{}', is not part of a history", text_at(shown, "id"), type));
  }
  run_event event;
  event.kind = *kind;
  event.time = parse_time(text_at(shown, "time")).value_or(time_ms{});
  event.command = static_cast<std::uint32_t>(integer_at(shown, "command").value_or(0));
  event.run = static_cast<std::uint32_t>(integer_at(shown, "run").value_or(0));
  read_members(event, type, std::move(data));
  return event;
}

std::optional<run_event_outline> outline_of(const delivered_event& stored) {
  const auto from = parse(stored);
  const auto kind = from ? kind_of(from->type(), {}) : std::nullopt;
  if (!kind) return std::nullopt;
  run_event_outline outline;
  outline.kind = *kind;
  outline.run = static_cast<std::uint32_t>(integer_extension(*from, "run"));
  if (*kind == run_event_kind::ended) outline.status = status_in(from->type());
  return outline;
}

run_event make_started(const run_start& start) {
  run_event event;
  event.kind = run_event_kind::started;
  event.data = object{
      {"type", start.identity.type},
      {"version", start.identity.version},
      {"run", start.identity.run},
      {"correlation_id", start.identity.correlation_id},
      {"seed", fmt::format("{:016x}", start.seed)},
      {"input", start.input}};
  if (start.incarnation != 0) {
    event.data.get_object()["incarnation"] = format_incarnation(start.incarnation);
  }
  if (!start.build.empty()) event.data.get_object()["build"] = start.build;
  if (!start.identity.mirror.empty()) event.data.get_object()["mirror"] = start.identity.mirror;
  if (start.is_cancelled) event.data.get_object()["cancelled"] = true;
  event.is_cancelled = start.is_cancelled;
  event.due = start.clock_least;
  if (event.due) event.data.get_object()["due_ms"] = shown_ms(*event.due);
  if (!start.signals.empty()) {
    object taken;
    for (const auto& [id, said] : start.signals)
      taken[id] = fmt::format("{:016x}", said);
    event.data.get_object()["signals"] = std::move(taken);
  }
  if (!start.answered.is_empty()) event.data.get_object()["answered"] = start.answered.write();
  if (!start.parent_id.empty()) {
    event.data.get_object()["parent"] = object{
        {"id", start.parent_id}, {"run", start.parent_run}, {"command", start.parent_command}};
    if (start.parent_incarnation != 0) {
      event.data.at("parent").as_object()["incarnation"] =
          format_incarnation(start.parent_incarnation);
    }
    if (!start.parent_above.empty()) {
      boost::json::array above;
      for (const auto& one : start.parent_above)
        above.emplace_back(one);
      event.data.at("parent").as_object()["above"] = std::move(above);
    }
  }
  return event;
}

result<run_start> read_started(const run_event& event) {
  if (event.kind != run_event_kind::started || !event.data.is_object()) {
    return fail(errc::corruption, "a run does not begin with workflow.started");
  }
  const auto& from = event.data.get_object();
  run_start start;
  start.identity.type = text_at(from, "type");
  start.identity.version = static_cast<std::uint32_t>(integer_at(from, "version").value_or(1));
  start.identity.run = static_cast<std::uint32_t>(integer_at(from, "run").value_or(1));
  start.identity.correlation_id = text_at(from, "correlation_id");
  start.identity.mirror = text_at(from, "mirror");
  start.seed = hexadecimal_at(from, "seed");
  start.incarnation = hexadecimal_at(from, "incarnation");
  start.input = value_at(from, "input");
  start.build = text_at(from, "build");
  start.is_cancelled = value_at(from, "cancelled") == json(true);
  start.clock_least = due_in(from);
  if (const auto* taken = from.if_contains("signals"); taken != nullptr && taken->is_object()) {
    for (const auto& one : taken->get_object())
      start.signals.emplace(one.key(), hexadecimal_at(taken->get_object(), one.key()));
  }
  if (const auto* answered = from.if_contains("answered")) {
    start.answered = answered_messages::read(*answered);
  }
  if (const auto* parent = from.if_contains("parent"); parent != nullptr && parent->is_object()) {
    const auto& of = parent->get_object();
    start.parent_id = text_at(of, "id");
    start.parent_run = static_cast<std::uint32_t>(integer_at(of, "run").value_or(0));
    start.parent_command = static_cast<std::uint32_t>(integer_at(of, "command").value_or(0));
    start.parent_incarnation = hexadecimal_at(of, "incarnation");
    const auto* above = of.if_contains("above");
    if (above != nullptr && above->is_array()) {
      for (const auto& one : above->get_array())
        if (one.is_string()) start.parent_above.emplace_back(one.get_string());
    }
  }
  return start;
}

run_event make_parted(const run_parting& parting) {
  run_event event;
  event.kind = run_event_kind::parted;
  event.data = object{{"seed", fmt::format("{:016x}", parting.seed)}};
  if (parting.signals != 0) event.data.get_object()["signals"] = parting.signals;
  if (!parting.build.empty()) event.data.get_object()["build"] = parting.build;
  return event;
}

run_parting read_parted(const run_event& event) {
  if (!event.data.is_object()) return {};
  const auto& from = event.data.get_object();
  return {
      hexadecimal_at(from, "seed"),
      static_cast<std::size_t>(std::max<std::int64_t>(integer_at(from, "signals").value_or(0), 0)),
      text_at(from, "build")};
}

std::string format_incarnation(std::uint64_t incarnation) {
  return fmt::format("{:016x}", incarnation);
}

boost::json::object describe_failure(const failure& why) {
  object data{{"class", name_of(why.kind)}, {"code", why.code}, {"message", why.message}};
  if (why.retry_after_ms != 0) data["retry_after_ms"] = why.retry_after_ms;
  if (!why.details.empty()) data["details"] = json_or_text(why.details);
  return data;
}

failure read_failure(const json& value) {
  failure why;
  if (!value.is_object()) return why;
  const auto& from = value.get_object();
  why.kind = failure_class_named(text_at(from, "class")).value_or(failure_class::retryable);
  why.code = text_at(from, "code");
  why.message = text_at(from, "message");
  why.retry_after_ms = static_cast<std::uint32_t>(integer_at(from, "retry_after_ms").value_or(0));
  if (const auto* more = from.if_contains("details")) why.details = boost::json::serialize(*more);
  return why;
}

}  // namespace callboard::runtime
