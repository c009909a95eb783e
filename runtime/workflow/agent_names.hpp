// An agent is a workflow of its own kind: how its type, id and channel are called.
#pragma once

#include "base/error.hpp"
#include "base/names.hpp"

#include <string>
#include <string_view>

namespace callboard::runtime {

/// Of a registered type: `agent:{type}`.
[[nodiscard]] bool is_agent_type(std::string_view type);

/// `counter` of `agent:counter`.
[[nodiscard]] std::string_view agent_name_of(std::string_view type);

/// Of `workflow.agent.{type}.{key}`.
[[nodiscard]] bool is_agent_channel(const topic_name& channel);

/// `key` may have dots, `type` may not; both follow the grammar of topics. Errors: invalid_name.
[[nodiscard]] result<topic_name> agent_channel(std::string_view type, std::string_view key);

struct agent_name {
  std::string type;
  std::string key;
};

/// Precondition: `is_agent_channel(channel)`.
[[nodiscard]] agent_name parse_agent_channel(const topic_name& channel);

}  // namespace callboard::runtime
