// From path to endpoint, by hand: no table of patterns is walked.
#pragma once

#include "base/error.hpp"
#include "base/names.hpp"
#include "gateway/url.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::gateway {

enum class endpoint : std::uint8_t {
  livez,
  readyz,
  metrics,
  openapi,
  asyncapi,
  cluster,
  backup,
  topics,
  topic,
  events,
  groups,
  group,
  group_fetch,
  group_ack,
  group_nack,
  group_member,
  bindings,
  binding,
  binding_dead,
  binding_redrive,
  binding_abandon,
  binding_dead_letter,
  presence,
  presence_member,
  workflows,
  workflow,
  workflow_history,
  workflow_result,
  workflow_signal,
  workflow_cancel,
  workflow_terminate,
  workflow_restart,
  workflow_fork,
  workflow_skip,
  workflow_resolve,
  workflow_explain,
  agent,
  agent_message,
  queues,
  queue,
  queue_tasks,
  queue_task,
  queue_lease,
  queue_dead,
  queue_dead_task,
  queue_audit,
  queue_purge,
  queue_redrive,
  queue_abandon,
  lease_complete,
  lease_fail,
  lease_extend,
  websocket,
};

enum class http_method : std::uint8_t {
  get = 1,
  head = 2,
  post = 4,
  put = 8,
  delete_ = 16,
  options = 32
};

[[nodiscard]] std::optional<http_method> method_named(std::string_view name);

struct route_match {
  endpoint at = endpoint::livez;
  /// Empty for endpoints of the node.
  tenant_name tenant;
  /// As in the path: a topic, or for event streams a pattern.
  std::string topic;
  /// Of a binding the one that it stands on.
  group_name group;
  /// A member of a group or of presence, or a lease; of a workflow the signal's name, of an agent
  /// the message's.
  std::string member;
  std::string agent_type;
  queue_name queue;
  std::uint64_t task = 0;
  /// Of a dead letter.
  std::uint64_t seq = 0;
  /// Of a workflow, by its index.
  std::uint32_t command = 0;

  [[nodiscard]] bool allows(http_method method) const;
  /// For the Allow header, for example "GET, HEAD, POST".
  [[nodiscard]] std::string allowed_methods() const;

  /// True if anybody may ask without a token.
  [[nodiscard]] bool is_open() const { return at <= endpoint::asyncapi; }
};

/// Errors: not_found, invalid_name.
[[nodiscard]] result<route_match> find_route(const request_target& target);

/// The class of an endpoint in metrics.
[[nodiscard]] std::string_view route_class(endpoint at);

}  // namespace callboard::gateway
