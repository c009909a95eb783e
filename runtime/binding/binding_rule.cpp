#include "runtime/binding/binding_rule.hpp"

#include "runtime/binding/bound_event.hpp"
#include "runtime/queue/priority_names.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <array>
#include <callboard/json_text.hpp>
#include <optional>
#include <set>

namespace callboard::runtime {

namespace {

using boost::json::object;

constexpr std::size_t name_size_max = 255;

bool fits(std::string_view wanted, std::string_view given) {
  if (wanted.empty()) return true;
  if (!wanted.ends_with('*')) return wanted == given;
  wanted.remove_suffix(1);
  return given.starts_with(wanted);
}

/// Takes members out of an object; the first thing that is wrong with it is told at the end.
class member_reader {
public:
  member_reader(const object& from, std::string path) : from_{from}, path_{std::move(path)} {}

  std::string text(std::string_view name, bool is_needed) {
    taken_.insert(name);
    const auto* value = from_.if_contains(name);
    if (value == nullptr && !is_needed) return {};
    if (value == nullptr || !value->is_string() || value->get_string().empty()
        || value->get_string().size() > name_size_max) {
      refuse(
          errc::bad_request,
          fmt::format("'{}{}' must be a text of 1 to {} bytes", path_, name, name_size_max));
      return {};
    }
    return std::string{value->get_string()};
  }

  template_text pattern(std::string_view name, bool is_needed) {
    taken_.insert(name);
    const auto* value = from_.if_contains(name);
    if (value == nullptr && !is_needed) return {};
    if (value == nullptr || !value->is_string() || value->get_string().empty()) {
      refuse(errc::bad_request, fmt::format("'{}{}' must be a template", path_, name));
      return {};
    }
    auto parsed = template_text::parse(value->get_string());
    if (parsed) return *std::move(parsed);
    refuse(parsed.error().code, fmt::format("'{}{}': {}", path_, name, parsed.error().detail));
    return {};
  }

  const object* nested(std::string_view name, bool is_needed) {
    taken_.insert(name);
    const auto* value = from_.if_contains(name);
    if (value == nullptr && !is_needed) return nullptr;
    if (value != nullptr && value->is_object()) return &value->get_object();
    refuse(errc::bad_request, fmt::format("'{}{}' must be an object", path_, name));
    return nullptr;
  }

  void refuse(errc code, std::string detail) {
    if (!first_) first_ = error{code, std::move(detail), 0};
  }

  void join(const member_reader& other) {
    if (auto sound = other.finish(); !sound && !first_) first_ = sound.error();
  }

  [[nodiscard]] result<void> finish() const {
    if (first_) return std::unexpected{*first_};
    for (const auto& member : from_) {
      if (taken_.contains(member.key())) continue;
      return fail(
          errc::bad_request, fmt::format("'{}{}' is not known", path_, std::string{member.key()}));
    }
    return {};
  }

private:
  const object& from_;
  std::string path_;
  std::set<std::string_view> taken_;
  std::optional<error> first_;
};

/// Whether the fixed parts of a template can be part of a name at all.
void check_channel(member_reader& body, std::string_view place, const std::string& sample) {
  if (auto channel = topic_name::parse(sample); !channel) {
    body.refuse(
        errc::invalid_name,
        fmt::format(
            "'{}' cannot become a name: it has characters "
            "other than A-Z a-z 0-9 _ : - and dots, or is "
            "too long",
            place));
  }
}

void read_filter(member_reader& body, event_filter& filter) {
  const auto* from = body.nested("filter", false);
  if (from == nullptr) return;
  member_reader members{*from, "filter."};
  filter.type = members.text("type", false);
  filter.subject = members.text("subject", false);
  for (const auto& one : {filter.type, filter.subject}) {
    if (one.find('*') < one.size() - 1 && !one.empty()) {
      members.refuse(
          errc::bad_request, "a '*' may only end a filter, where it stands for any rest");
    }
  }
  body.join(members);
}

workflow_target read_workflow(member_reader& body) {
  workflow_target to;
  to.type = body.text("type", true);
  to.id = body.pattern("id", false);
  if (!to.id.empty()) check_channel(body, "target.workflow.id", "workflow." + to.id.sample("x"));
  if (to.type.starts_with("agent:")) {
    body.refuse(errc::bad_request, "agents are called, not started: use the target 'agent'");
  }
  const auto input = body.text("input", false);
  to.takes_event = input == "event";
  if (!input.empty() && input != "event" && input != "data") {
    body.refuse(errc::bad_request, "'target.workflow.input' must be \"data\" or \"event\"");
  }
  return to;
}

signal_target read_signal(member_reader& body) {
  signal_target to;
  to.workflow = body.pattern("workflow", true);
  check_channel(body, "target.signal.workflow", "workflow." + to.workflow.sample("x"));
  to.name = body.text("name", true);
  return to;
}

agent_target read_agent(member_reader& body) {
  agent_target to;
  to.type = body.text("type", true);
  if (to.type.contains('.') || !topic_name::parse(to.type)) {
    body.refuse(errc::invalid_name, "'target.agent.type' is one token of A-Z a-z 0-9 _ : -");
  }
  to.key = body.pattern("key", true);
  check_channel(body, "target.agent.key", "workflow.agent." + to.type + '.' + to.key.sample("x"));
  to.message = body.text("message", true);
  return to;
}

queue_target read_queue(member_reader& body) {
  queue_target to;
  auto queue = queue_name::parse(body.text("queue", true));
  if (queue) {
    to.queue = *std::move(queue);
  } else {
    body.refuse(queue.error().code, "'target.queue.queue': " + queue.error().detail);
  }
  const auto priority = body.text("priority", false);
  if (const auto named = priority_named(priority)) {
    to.priority = *named;
  } else if (!priority.empty()) {
    body.refuse(
        errc::bad_request, "'target.queue.priority' must be control, interactive, normal or bulk");
  }
  to.fairness_key = body.pattern("fairness_key", false);
  return to;
}

void read_target(member_reader& body, binding_target& target) {
  const auto* from = body.nested("target", true);
  if (from == nullptr) return;
  if (from->size() != 1) {
    return body.refuse(
        errc::bad_request, "'target' has exactly one of workflow, signal, agent and queue");
  }
  member_reader one{*from, "target."};
  const std::string kind{from->begin()->key()};
  const bool is_known =
      kind == "workflow" || kind == "signal" || kind == "agent" || kind == "queue";
  const auto* inner = is_known ? one.nested(kind, true) : nullptr;
  if (inner != nullptr) {
    member_reader members{*inner, "target." + kind + '.'};
    if (kind == "workflow") target = read_workflow(members);
    if (kind == "signal") target = read_signal(members);
    if (kind == "agent") target = read_agent(members);
    if (kind == "queue") target = read_queue(members);
    one.join(members);
  }
  body.join(one);
}

struct target_writer {
  object operator()(const workflow_target& one) const {
    object to{{"type", one.type}};
    if (!one.id.empty()) to["id"] = one.id.str();
    if (one.takes_event) to["input"] = "event";
    return {{"workflow", std::move(to)}};
  }

  object operator()(const signal_target& one) const {
    return {{"signal", {{"workflow", one.workflow.str()}, {"name", one.name}}}};
  }

  object operator()(const agent_target& one) const {
    return {{"agent", {{"type", one.type}, {"key", one.key.str()}, {"message", one.message}}}};
  }

  object operator()(const queue_target& one) const {
    object to{{"queue", one.queue.str()}};
    if (one.priority != task_priority::normal) {
      to["priority"] = priority_names[static_cast<std::size_t>(one.priority)];
    }
    if (!one.fairness_key.empty()) to["fairness_key"] = one.fairness_key.str();
    return {{"queue", std::move(to)}};
  }
};

}  // namespace

bool event_filter::matches(const bound_event& event) const {
  return fits(type, event.type()) && fits(subject, event.subject());
}

result<binding_rule> parse_binding(std::string_view text) {
  const auto parsed = accept_json(text, json_depth_max);
  if (!parsed) return fail(errc::invalid_json, "the body " + parsed.error());
  if (!parsed->is_object()) {
    return fail(errc::invalid_json, "the body must be a JSON object with 'target'");
  }
  binding_rule rule;
  member_reader body{parsed->get_object(), {}};
  read_filter(body, rule.filter);
  read_target(body, rule.target);
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return rule;
}

std::string binding_text(const binding_rule& rule) {
  object filter;
  if (!rule.filter.type.empty()) filter["type"] = rule.filter.type;
  if (!rule.filter.subject.empty()) filter["subject"] = rule.filter.subject;
  object to;
  to["filter"] = std::move(filter);
  to["target"] = std::visit(target_writer{}, rule.target);
  return boost::json::serialize(to);
}

std::string_view kind_of(const binding_target& target) {
  constexpr std::array<std::string_view, std::variant_size_v<binding_target>> names{
      "workflow", "signal", "agent", "queue"};
  return names[target.index()];
}

}  // namespace callboard::runtime
