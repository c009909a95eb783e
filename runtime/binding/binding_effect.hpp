// What a binding does for one event, as values: which request goes where, under which id.
#pragma once

#include "base/error.hpp"
#include "base/names.hpp"
#include "runtime/binding/binding_rule.hpp"
#include "runtime/binding/bound_event.hpp"

#include <cstdint>
#include <string>
#include <variant>

namespace callboard::runtime {

struct start_effect {
  /// `workflow.{id}`, also below.
  topic_name channel;
  std::string type;
  /// JSON
  std::string input;
  std::string correlation_id;
};

struct signal_effect {
  topic_name channel;
  std::string name;
  std::string payload;
  std::string id;
};

struct call_effect {
  topic_name channel;
  /// `agent:{type}`
  std::string type;
  std::string message;
  std::string payload;
  std::string id;
  std::string correlation_id;
};

struct enqueue_effect {
  queue_name queue;
  std::string payload;
  task_priority priority = task_priority::normal;
  std::string fairness_key;
  std::string dedupe_key;
};

using binding_effect = std::variant<start_effect, signal_effect, call_effect, enqueue_effect>;

/// `event_id` (see `binding_event_id`) is what makes the effect count once.
/// Errors: invalid_event, invalid_name. They are final: the same event gives them again.
[[nodiscard]] result<binding_effect>
make_effect(const binding_rule& rule, bound_event& event, const std::string& event_id);

/// Events of one key are handed on one after the other, in order of their seq. 0: in any order, as
/// for events that do not match, tasks, and workflows without an id of the user's.
[[nodiscard]] std::uint64_t order_key(const binding_rule& rule, bound_event& event);

}  // namespace callboard::runtime
