#include "gateway/routes.hpp"

#include "gateway/control_json.hpp"
#include "runtime/binding/binding_names.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <charconv>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::pair<http_method, std::string_view> method_names[] = {
    {http_method::get, "GET"},
    {http_method::head, "HEAD"},
    {http_method::post, "POST"},
    {http_method::put, "PUT"},
    {http_method::delete_, "DELETE"},
    {http_method::options, "OPTIONS"}};

constexpr unsigned get =
    static_cast<unsigned>(http_method::get) | static_cast<unsigned>(http_method::head);
constexpr auto post = static_cast<unsigned>(http_method::post);
constexpr auto put = static_cast<unsigned>(http_method::put);
constexpr auto delete_ = static_cast<unsigned>(http_method::delete_);

constexpr unsigned methods_of(endpoint at) {
  switch (at) {
  case endpoint::livez:
  case endpoint::readyz:
  case endpoint::metrics:
  case endpoint::openapi:
  case endpoint::asyncapi:
  case endpoint::cluster:
  case endpoint::topics:
  case endpoint::groups:
  case endpoint::bindings:
  case endpoint::binding_dead:
  case endpoint::presence:
  case endpoint::workflow:
  case endpoint::workflow_history:
  case endpoint::workflow_result:
  case endpoint::workflow_explain:
  case endpoint::agent:
  case endpoint::queues:
  case endpoint::queue_dead:
  case endpoint::queue_audit:
  case endpoint::websocket:
    return get;
  case endpoint::topic:
  case endpoint::group:
  case endpoint::binding:
  case endpoint::queue:
    return get | put | delete_;
  case endpoint::events:
  case endpoint::workflows:
    return get | post;
  case endpoint::backup:
  case endpoint::group_fetch:
  case endpoint::group_ack:
  case endpoint::group_nack:
  case endpoint::binding_redrive:
  case endpoint::binding_abandon:
  case endpoint::workflow_signal:
  case endpoint::workflow_cancel:
  case endpoint::workflow_terminate:
  case endpoint::workflow_restart:
  case endpoint::workflow_fork:
  case endpoint::workflow_skip:
  case endpoint::workflow_resolve:
  case endpoint::agent_message:
  case endpoint::queue_tasks:
  case endpoint::queue_purge:
  case endpoint::queue_lease:
  case endpoint::queue_redrive:
  case endpoint::queue_abandon:
  case endpoint::lease_complete:
  case endpoint::lease_fail:
  case endpoint::lease_extend:
    return post;
  case endpoint::queue_task:
    return get | delete_;
  case endpoint::binding_dead_letter:
  case endpoint::queue_dead_task:
    return put;
  case endpoint::group_member:
    return delete_;
  case endpoint::presence_member:
    return put | delete_;
  }
  return 0;
}

result<void> found(route_match& match, endpoint at) {
  match.at = at;
  return {};
}

std::unexpected<error> nothing_here() {
  return fail(errc::not_found, "there is nothing at this path");
}

result<void> node_route(const std::vector<std::string>& path, route_match& match) {
  if (path.size() == 1) {
    if (path[0] == "livez") return found(match, endpoint::livez);
    if (path[0] == "readyz") return found(match, endpoint::readyz);
    if (path[0] == "metrics") return found(match, endpoint::metrics);
    if (path[0] == "openapi.yaml") return found(match, endpoint::openapi);
    if (path[0] == "asyncapi.yaml") return found(match, endpoint::asyncapi);
  }
  if (path.size() == 2 && path[0] == "v1" && path[1] == "cluster") {
    return found(match, endpoint::cluster);
  }
  if (path.size() == 3 && path[0] == "v1" && path[1] == "admin" && path[2] == "backup") {
    return found(match, endpoint::backup);
  }
  return nothing_here();
}

/// `groups/{group}...` below a topic; `rest` begins after "groups".
result<void>
group_route(const std::vector<std::string>& path, std::size_t rest, route_match& match) {
  match.at = endpoint::groups;
  if (path.size() == rest) return {};
  auto name = group_name::parse(path[rest]);
  if (!name) return std::unexpected{name.error()};
  match.group = std::move(*name);
  match.at = endpoint::group;
  if (path.size() == rest + 1) return {};
  const auto& last = path[rest + 1];
  if (path.size() == rest + 2) {
    if (last == "fetch") return found(match, endpoint::group_fetch);
    if (last == "ack") return found(match, endpoint::group_ack);
    if (last == "nack") return found(match, endpoint::group_nack);
  }
  if (path.size() == rest + 3 && last == "members") {
    match.at = endpoint::group_member;
    match.member = path[rest + 2];
    return check_label("member", match.member);
  }
  return nothing_here();
}

result<void> take_seq(const std::string& text, route_match& match) {
  const auto* end = text.data() + text.size();
  const auto [stopped, failed] = std::from_chars(text.data(), end, match.seq);
  if (failed != std::errc{} || stopped != end || match.seq == 0) {
    return fail(errc::bad_request, "a dead letter is known by its seq, a number");
  }
  return found(match, endpoint::binding_dead_letter);
}

/// `bindings/{binding}...` below a topic.
result<void> binding_route(const std::vector<std::string>& path, route_match& match) {
  match.at = endpoint::bindings;
  if (path.size() == 6) return {};
  auto group = runtime::binding_group(path[6]);
  if (!group) return std::unexpected{group.error()};
  match.group = std::move(*group);
  if (path.size() == 7) return found(match, endpoint::binding);
  if (path.size() == 8 && path[7] == "dead") return found(match, endpoint::binding_dead);
  if (path.size() == 9 && path[7] == "dead" && path[8] == "redrive") {
    return found(match, endpoint::binding_redrive);
  }
  if (path.size() == 9 && path[7] == "dead" && path[8] == "abandon") {
    return found(match, endpoint::binding_abandon);
  }
  if (path.size() == 9 && path[7] == "dead") return take_seq(path[8], match);
  return nothing_here();
}

/// Sets the topic, which must be a topic's name unless it may be a pattern.
result<void> take_topic(const std::string& text, bool may_be_pattern, route_match& match) {
  match.topic = text;
  if (may_be_pattern) {
    auto parsed = topic_pattern::parse(text);
    return parsed ? result<void>{} : std::unexpected{parsed.error()};
  }
  auto parsed = topic_name::parse(text);
  return parsed ? result<void>{} : std::unexpected{parsed.error()};
}

/// Below `/v1/tenants/{tenant}/topics`.
result<void> topic_route(const std::vector<std::string>& path, route_match& match) {
  match.at = endpoint::topics;
  if (path.size() == 4) return {};
  const bool is_events = path.size() == 6 && path[5] == "events";
  if (auto taken = take_topic(path[4], is_events, match); !taken) return taken;
  if (path.size() == 5) return found(match, endpoint::topic);
  if (is_events) return found(match, endpoint::events);
  if (path[5] == "groups") return group_route(path, 6, match);
  if (path[5] == "bindings") return binding_route(path, match);
  return nothing_here();
}

result<void> presence_route(const std::vector<std::string>& path, route_match& match) {
  if (path.size() < 5 || path.size() > 6) return nothing_here();
  if (auto taken = take_topic(path[4], false, match); !taken) return taken;
  match.at = endpoint::presence;
  if (path.size() == 5) return {};
  match.at = endpoint::presence_member;
  match.member = path[5];
  return check_label("member", match.member);
}

result<void> take_command(const std::string& text, route_match& match, endpoint at) {
  const auto* end = text.data() + text.size();
  const auto [stopped, failed] = std::from_chars(text.data(), end, match.command);
  if (failed != std::errc{} || stopped != end || match.command == 0) {
    return fail(
        errc::bad_request,
        "a command is known by its index, a number from 1; `workflow explain` lists those that are "
        "open");
  }
  return found(match, at);
}

/// Below `/v1/tenants/{tenant}/workflows`: the topic is the workflow's channel.
result<void> workflow_route(const std::vector<std::string>& path, route_match& match) {
  match.at = endpoint::workflows;
  if (path.size() == 4) return {};
  auto channel = runtime::workflow_channel(path[4]);
  if (!channel) return std::unexpected{channel.error()};
  match.topic = channel->str();
  if (path.size() == 5) return found(match, endpoint::workflow);
  if (path.size() == 6) {
    if (path[5] == "history") return found(match, endpoint::workflow_history);
    if (path[5] == "result") return found(match, endpoint::workflow_result);
    if (path[5] == "cancel") return found(match, endpoint::workflow_cancel);
    if (path[5] == "terminate") return found(match, endpoint::workflow_terminate);
    if (path[5] == "restart") return found(match, endpoint::workflow_restart);
    if (path[5] == "fork") return found(match, endpoint::workflow_fork);
    if (path[5] == "explain") return found(match, endpoint::workflow_explain);
  }
  if (path.size() == 7 && path[5] == "signals") {
    match.member = path[6];
    if (auto sound = check_label("signal", match.member); !sound) return sound;
    return found(match, endpoint::workflow_signal);
  }
  if (path.size() == 8 && path[5] == "commands") {
    if (path[7] == "skip") return take_command(path[6], match, endpoint::workflow_skip);
    if (path[7] == "resolve") return take_command(path[6], match, endpoint::workflow_resolve);
  }
  return nothing_here();
}

/// Below `/v1/tenants/{tenant}/agents`: `{type}/{key}` or `{type}/{key}/{message}`.
result<void> agent_route(const std::vector<std::string>& path, route_match& match) {
  if (path.size() < 6 || path.size() > 7) return nothing_here();
  auto channel = runtime::agent_channel(path[4], path[5]);
  if (!channel) return std::unexpected{channel.error()};
  match.topic = channel->str();
  match.agent_type = path[4];
  if (path.size() == 6) return found(match, endpoint::agent);
  match.member = path[6];
  if (auto sound = check_label("message", match.member); !sound) return sound;
  return found(match, endpoint::agent_message);
}

result<void> take_task(const std::string& text, route_match& match, endpoint at) {
  const auto* end = text.data() + text.size();
  const auto [stopped, failed] = std::from_chars(text.data(), end, match.task);
  if (failed != std::errc{} || stopped != end || match.task == 0) {
    return fail(errc::bad_request, "a task is known by its number");
  }
  return found(match, at);
}

/// Below `/v1/tenants/{tenant}/queues`.
result<void> queue_route(const std::vector<std::string>& path, route_match& match) {
  if (path.size() == 4) return found(match, endpoint::queues);
  auto name = queue_name::parse(path[4]);
  if (!name) return std::unexpected{name.error()};
  match.queue = std::move(*name);
  if (path.size() == 5) return found(match, endpoint::queue);
  if (path.size() == 6) {
    if (path[5] == "tasks") return found(match, endpoint::queue_tasks);
    if (path[5] == "lease") return found(match, endpoint::queue_lease);
    if (path[5] == "dead") return found(match, endpoint::queue_dead);
    if (path[5] == "audit") return found(match, endpoint::queue_audit);
    if (path[5] == "purge") return found(match, endpoint::queue_purge);
  }
  if (path.size() == 7 && path[5] == "tasks") {
    return take_task(path[6], match, endpoint::queue_task);
  }
  if (path.size() == 7 && path[5] == "dead") {
    if (path[6] == "redrive") return found(match, endpoint::queue_redrive);
    if (path[6] == "abandon") return found(match, endpoint::queue_abandon);
    return take_task(path[6], match, endpoint::queue_dead_task);
  }
  return nothing_here();
}

/// `/v1/tenants/{tenant}/leases/{lease}/{what}`. Whether it is a lease is for its queue to say.
result<void> lease_route(const std::vector<std::string>& path, route_match& match) {
  if (path.size() != 6) return nothing_here();
  match.member = path[4];
  if (path[5] == "complete") return found(match, endpoint::lease_complete);
  if (path[5] == "fail") return found(match, endpoint::lease_fail);
  if (path[5] == "extend") return found(match, endpoint::lease_extend);
  return nothing_here();
}

result<void> tenant_route(const std::vector<std::string>& path, route_match& match) {
  auto tenant = tenant_name::parse(path[2]);
  if (!tenant) return std::unexpected{tenant.error()};
  match.tenant = std::move(*tenant);
  if (path[3] == "topics") return topic_route(path, match);
  if (path[3] == "presence") return presence_route(path, match);
  if (path[3] == "workflows") return workflow_route(path, match);
  if (path[3] == "agents") return agent_route(path, match);
  if (path[3] == "queues") return queue_route(path, match);
  if (path[3] == "leases") return lease_route(path, match);
  if (path[3] == "ws" && path.size() == 4) return found(match, endpoint::websocket);
  return nothing_here();
}

}  // namespace

std::optional<http_method> method_named(std::string_view name) {
  for (const auto& [method, candidate] : method_names) {
    if (candidate == name) return method;
  }
  return std::nullopt;
}

bool route_match::allows(http_method method) const {
  return (methods_of(at) & static_cast<unsigned>(method)) != 0;
}

std::string route_match::allowed_methods() const {
  std::string text;
  for (const auto& [method, name] : method_names) {
    if (method != http_method::options && !allows(method)) continue;
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

result<route_match> find_route(const request_target& target) {
  route_match match;
  const auto& path = target.path;
  const bool is_tenant = path.size() >= 4 && path[0] == "v1" && path[1] == "tenants";
  const auto matched = is_tenant ? tenant_route(path, match) : node_route(path, match);
  if (!matched) {
    return std::unexpected{matched.error()};
  }
  return match;
}

std::string_view route_class(endpoint at) {
  switch (at) {
  case endpoint::livez:
  case endpoint::readyz:
  case endpoint::metrics:
  case endpoint::openapi:
  case endpoint::asyncapi:
    return "health";
  case endpoint::cluster:
  case endpoint::backup:
    return "admin";
  case endpoint::topics:
  case endpoint::topic:
    return "topics";
  case endpoint::events:
    return "events";
  case endpoint::groups:
  case endpoint::group:
  case endpoint::group_ack:
  case endpoint::group_nack:
  case endpoint::group_member:
    return "groups";
  case endpoint::bindings:
  case endpoint::binding:
  case endpoint::binding_dead:
  case endpoint::binding_redrive:
  case endpoint::binding_abandon:
  case endpoint::binding_dead_letter:
    return "bindings";
  case endpoint::group_fetch:
    return "fetch";
  case endpoint::presence:
  case endpoint::presence_member:
    return "presence";
  case endpoint::workflows:
  case endpoint::workflow:
  case endpoint::workflow_history:
  case endpoint::workflow_result:
  case endpoint::workflow_signal:
  case endpoint::workflow_cancel:
  case endpoint::workflow_terminate:
  case endpoint::workflow_restart:
  case endpoint::workflow_fork:
  case endpoint::workflow_skip:
  case endpoint::workflow_resolve:
  case endpoint::workflow_explain:
    return "workflows";
  case endpoint::agent:
  case endpoint::agent_message:
    return "agents";
  case endpoint::queues:
  case endpoint::queue:
  case endpoint::queue_tasks:
  case endpoint::queue_task:
  case endpoint::queue_dead:
  case endpoint::queue_audit:
  case endpoint::queue_purge:
  case endpoint::queue_dead_task:
  case endpoint::queue_redrive:
  case endpoint::queue_abandon:
  case endpoint::lease_complete:
  case endpoint::lease_fail:
  case endpoint::lease_extend:
    return "queues";
  case endpoint::queue_lease:
    return "lease";
  case endpoint::websocket:
    return "websocket";
  }
  return "other";
}

}  // namespace callboard::gateway
