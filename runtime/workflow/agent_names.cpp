#include "runtime/workflow/agent_names.hpp"

#include "runtime/workflow/run_codec.hpp"

#include <callboard/agent.hpp>

namespace callboard::runtime {

namespace {

std::string agent_prefix() {
  return std::string{channel_prefix}.append(detail::agent_id_prefix);
}

}  // namespace

bool is_agent_type(std::string_view type) {
  return type.starts_with(detail::agent_type_prefix);
}

std::string_view agent_name_of(std::string_view type) {
  return is_agent_type(type) ? type.substr(detail::agent_type_prefix.size()) : type;
}

bool is_agent_channel(const topic_name& channel) {
  return channel.str().starts_with(agent_prefix());
}

result<topic_name> agent_channel(std::string_view type, std::string_view key) {
  if (type.empty() || type.contains('.')) {
    return fail(errc::invalid_name, "the type of an agent is one token of [A-Za-z0-9_:-]");
  }
  if (key.empty()) return fail(errc::invalid_name, "the key of an agent must not be empty");
  auto channel = topic_name::parse(agent_prefix().append(type).append(".").append(key));
  if (!channel) {
    return fail(
        errc::invalid_name,
        "type and key of an agent must be dot-separated tokens of [A-Za-z0-9_:-], of at most 239 "
        "bytes together");
  }
  return channel;
}

agent_name parse_agent_channel(const topic_name& channel) {
  const auto rest = channel.str().substr(agent_prefix().size());
  const auto dot = rest.find('.');
  return {std::string{rest.substr(0, dot)}, std::string{rest.substr(dot + 1)}};
}

}  // namespace callboard::runtime
