// What a binding says: which events it is about, and what to do for each.
#pragma once

#include "base/error.hpp"
#include "base/names.hpp"
#include "runtime/binding/template_text.hpp"
#include "runtime/queue/queue_task.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace callboard::runtime {

class bound_event;

/// Exact, or the beginning of what is meant with a `*` behind it. Empty: any.
struct event_filter {
  std::string type;
  std::string subject;

  [[nodiscard]] bool matches(const bound_event& event) const;

  friend bool operator==(const event_filter&, const event_filter&) = default;
};

struct workflow_target {
  std::string type;
  /// Empty: an id made of the binding and the event.
  template_text id;
  /// The input is the whole CloudEvent, not only its data.
  bool takes_event = false;

  friend bool operator==(const workflow_target&, const workflow_target&) = default;
};

struct signal_target {
  template_text workflow;
  std::string name;

  friend bool operator==(const signal_target&, const signal_target&) = default;
};

struct agent_target {
  std::string type;
  template_text key;
  std::string message;

  friend bool operator==(const agent_target&, const agent_target&) = default;
};

struct queue_target {
  queue_name queue;
  task_priority priority = task_priority::normal;
  template_text fairness_key;

  friend bool operator==(const queue_target&, const queue_target&) = default;
};

using binding_target = std::variant<workflow_target, signal_target, agent_target, queue_target>;

struct binding_rule {
  event_filter filter;
  binding_target target;

  friend bool operator==(const binding_rule&, const binding_rule&) = default;
};

/// `{"filter":{"type"?,"subject"?}?,"target":{…}}`; unknown members are refused.
/// Errors: invalid_json, bad_request, invalid_name.
[[nodiscard]] result<binding_rule> parse_binding(std::string_view text);

/// The one spelling of a rule: equal rules have equal texts.
[[nodiscard]] std::string binding_text(const binding_rule& rule);

/// "workflow", "signal", "agent" or "queue"
[[nodiscard]] std::string_view kind_of(const binding_target& target);

}  // namespace callboard::runtime
