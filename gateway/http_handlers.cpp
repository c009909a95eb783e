#include "gateway/http_handlers.hpp"

#include "base/random.hpp"
#include "gateway/control_json.hpp"
#include "gateway/documents.hpp"
#include "gateway/json_members.hpp"
#include "gateway/problem.hpp"
#include "runtime/topic/position.hpp"

#include <fmt/format.h>

#include <charconv>
#include <concepts>

namespace callboard::gateway {

namespace {

constexpr std::uint32_t topics_per_page_max = 1000;

topic_ref topic_of(const exchange& now) {
  return {now.route->tenant, topic_name::trusted(now.route->topic)};
}

actors::group_ref group_of(const exchange& now) {
  return {topic_of(now), now.route->group};
}

template <class T>
result<action> control(result<T> body) {
  if (!body) return std::unexpected{body.error()};
  return actors::control_body{std::move(*body)};
}

result<void> need_admin(const exchange& now) {
  if (now.who->admin) return {};
  return fail(errc::forbidden, "this needs a token with the admin claim");
}

result<void> need_subscribe(const exchange& now) {
  if (now.who->may_subscribe(now.route->topic)) return {};
  return fail(errc::forbidden, "the token does not allow to read this topic");
}

bool may_see(const principal& who, std::string_view topic) {
  return who.admin || who.may_subscribe(topic) || who.may_publish(topic);
}

result<action> history(const http_environment& environment, exchange& now) {
  auto topic = topic_name::parse(now.route->topic);
  if (!topic) return std::unexpected{topic.error()};
  actors::read_events read;
  read.topic = topic_of(now);
  read.from = runtime::from_first{};
  if (const auto* from = now.target.find("from")) {
    auto position = runtime::parse_position(*from);
    if (!position) return std::unexpected{position.error()};
    read.from = std::move(*position);
  }
  auto limit = number_of(now.target, "limit", read.events_max);
  if (!limit) return std::unexpected{limit.error()};
  read.events_max = std::min(*limit, environment.sessions.settings.limits.page_events_max);
  return actors::control_body{std::move(read)};
}

result<action> events(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    byte_charge& charge) {
  if (now.method == http_method::post) return handle_publish(environment, now, request, charge);
  if (auto may = need_subscribe(now); !may) return std::unexpected{may.error()};
  if (now.method == http_method::get && wants_event_stream(request)) return become_event_stream{};
  return history(environment, now);
}

result<action> topics(exchange& now) {
  actors::list_topics list;
  list.tenant = now.route->tenant;
  auto limit = number_of(now.target, "limit", list.limit);
  if (!limit) return std::unexpected{limit.error()};
  list.limit = std::min(*limit, topics_per_page_max);
  if (const auto* after = now.target.find("after")) list.after = *after;
  auto runs = flag_of(now.target, "runs");
  if (!runs) return std::unexpected{runs.error()};
  list.with_run_channels = *runs;
  return actors::control_body{std::move(list)};
}

result<action> topic(exchange& now, const http_request& request) {
  if (now.method == http_method::get || now.method == http_method::head) {
    if (!may_see(*now.who, now.route->topic)) {
      return fail(errc::forbidden, "the token does not allow to see this topic");
    }
    return actors::control_body{actors::get_topic{topic_of(now)}};
  }
  if (auto may = need_admin(now); !may) return std::unexpected{may.error()};
  if (now.method == http_method::delete_) {
    return actors::control_body{actors::delete_topic{topic_of(now)}};
  }
  auto patch = parse_topic_patch(request.body);
  if (!patch) return std::unexpected{patch.error()};
  return actors::control_body{actors::put_topic{topic_of(now), *patch}};
}

result<action> group(exchange& now, const http_request& request) {
  switch (now.method) {
  case http_method::put:
    return control(parse_put_group(group_of(now), request.body));
  case http_method::delete_:
    return actors::control_body{actors::delete_group{group_of(now)}};
  default:
    return actors::control_body{actors::get_group{group_of(now)}};
  }
}

result<action> fetch(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    const std::string& connection) {
  auto asked = parse_fetch(
      group_of(now), request.body, "http-" + connection, environment.sessions.settings.groups);
  if (!asked) return std::unexpected{asked.error()};
  now.wait = std::chrono::milliseconds{asked->wait_ms};
  asked->poll = random_64();
  now.on_disconnect = actors::leave_group{asked->group, asked->member, {asked->poll}};
  return actors::control_body{std::move(*asked)};
}

result<action> presence_member(exchange& now, const http_request& request) {
  if (now.method == http_method::delete_) {
    return actors::control_body{
        actors::presence_leave{.topic = topic_of(now), .member = now.route->member}};
  }
  auto state = parse_presence_state(request.body);
  if (!state) return std::unexpected{state.error()};
  return actors::control_body{actors::presence_join{topic_of(now), now.route->member, *state}};
}

http_response readyz(const http_environment& environment) {
  auto why = environment.readiness();
  if (!why && environment.draining) why = error{errc::draining, "the node is shutting down", 1000};
  if (!why) return json_response(200, R"({"status":"ready"})");
  std::string body = R"({"status":"not_ready",)";
  append_error_members(body, *why);
  body += '}';
  auto response = json_response(503, std::move(body));
  response.headers.emplace_back("Retry-After", "1");
  return response;
}

http_response metrics_text(const http_environment& environment) {
  auto response = json_response(200, environment.sessions.counters.expose());
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return response;
}

http_response yaml(std::string_view document) {
  auto response = json_response(200, std::string{document});
  response.content_type = "application/yaml";
  return response;
}

result<action> backup(exchange& now, const http_request& request) {
  if (auto may = need_admin(now); !may) return std::unexpected{may.error()};
  auto body = json_members::parse(request.body);
  auto target = body.text("target");
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  if (!target || target->empty()) {
    return fail(errc::bad_request, "'target' must name a folder on the node");
  }
  return run_backup{std::move(*target)};
}

template <std::unsigned_integral Number>
result<Number>
parse_number(const request_target& target, const std::string& name, Number otherwise) {
  const auto* text = target.find(name);
  if (text == nullptr) return otherwise;
  Number value = 0;
  const auto* end = text->data() + text->size();
  const auto [stopped, failed] = std::from_chars(text->data(), end, value);
  if (failed != std::errc{} || stopped != end || value == 0) {
    return fail(errc::bad_request, fmt::format("'{}' must be a number of at least 1", name));
  }
  return value;
}

}  // namespace

result<std::uint32_t>
number_of(const request_target& target, const std::string& name, std::uint32_t otherwise) {
  return parse_number(target, name, otherwise);
}

result<std::uint64_t> numbered_of(const request_target& target, const std::string& name) {
  return parse_number(target, name, std::uint64_t{0});
}

result<bool> flag_of(const request_target& target, const std::string& name) {
  const auto* value = target.find(name);
  if (value == nullptr || *value == "false" || *value == "0") return false;
  if (value->empty() || *value == "true" || *value == "1") return true;
  return fail(errc::bad_request, fmt::format("'{}' must be true or false", name));
}

bool wants_event_stream(const http_request& request) {
  const auto* accept = request.find("accept");
  return accept != nullptr && accept->find("text/event-stream") != std::string::npos;
}

result<action> handle_request(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    byte_charge& charge,
    const std::string& connection) {
  const auto at = now.route->at;
  const bool reads_topic = (at >= endpoint::groups && at <= endpoint::group_member)
                           || at == endpoint::presence || at == endpoint::presence_member;
  if (reads_topic) {
    if (auto may = need_subscribe(now); !may) return std::unexpected{may.error()};
  }
  switch (at) {
  case endpoint::livez:
    return json_response(200, R"({"status":"live"})");
  case endpoint::readyz:
    return readyz(environment);
  case endpoint::metrics:
    return metrics_text(environment);
  case endpoint::openapi:
    return yaml(openapi_document());
  case endpoint::asyncapi:
    return yaml(asyncapi_document());
  case endpoint::cluster:
    return json_response(200, environment.node_status());
  case endpoint::backup:
    return backup(now, request);
  case endpoint::topics:
    return topics(now);
  case endpoint::topic:
    return topic(now, request);
  case endpoint::events:
    return events(environment, now, request, charge);
  case endpoint::groups:
    return actors::control_body{actors::list_groups{topic_of(now)}};
  case endpoint::group:
    return group(now, request);
  case endpoint::group_fetch:
    return fetch(environment, now, request, connection);
  case endpoint::group_ack:
    return control(parse_ack(group_of(now), request.body));
  case endpoint::group_nack:
    return control(parse_nack(group_of(now), request.body));
  case endpoint::group_member:
    return actors::control_body{actors::leave_group{group_of(now), now.route->member}};
  case endpoint::bindings:
  case endpoint::binding:
  case endpoint::binding_dead:
  case endpoint::binding_redrive:
  case endpoint::binding_abandon:
  case endpoint::binding_dead_letter:
    return handle_binding(environment, now, request);
  case endpoint::presence:
    return actors::control_body{actors::presence_list{topic_of(now)}};
  case endpoint::presence_member:
    return presence_member(now, request);
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
    return handle_workflow(environment, now, request);
  case endpoint::agent:
  case endpoint::agent_message:
    return handle_agent(environment, now, request);
  case endpoint::queues:
  case endpoint::queue:
  case endpoint::queue_tasks:
  case endpoint::queue_task:
  case endpoint::queue_audit:
  case endpoint::queue_purge:
  case endpoint::queue_lease:
  case endpoint::queue_dead:
  case endpoint::queue_dead_task:
  case endpoint::queue_redrive:
  case endpoint::queue_abandon:
  case endpoint::lease_complete:
  case endpoint::lease_fail:
  case endpoint::lease_extend:
    return handle_queue(environment, now, request, connection);
  case endpoint::websocket:
    return become_websocket{};
  }
  return fail(errc::not_found, "there is nothing at this path");
}

http_response answer_control(const exchange& now, actors::control_answer& answer) {
  if (std::holds_alternative<actors::done>(answer)) return json_response(204, {});
  unsigned status = 200;
  if (auto* list = std::get_if<actors::topic_list>(&answer)) {
    std::erase_if(list->topics, [&](const auto& each) { return !may_see(*now.who, each.topic); });
  } else if (auto* queues = std::get_if<actors::queue_list>(&answer)) {
    std::erase_if(queues->queues, [&](const auto& each) {
      return !now.who->admin && !now.who->may_work(each.queue);
    });
  } else if (const auto* queue = std::get_if<actors::queue_description>(&answer)) {
    if (queue->created) status = 201;
  } else if (const auto* task = std::get_if<runtime::enqueued_task>(&answer)) {
    if (!task->is_duplicate) status = 201;
  } else if (const auto* topic = std::get_if<actors::topic_description>(&answer)) {
    if (topic->created) status = 201;
  } else if (const auto* group = std::get_if<actors::group_description>(&answer)) {
    if (group->created) status = 201;
  } else if (const auto* workflow = std::get_if<actors::workflow_answer>(&answer)) {
    if (workflow->failed) return problem_response(agent_failure(*workflow));
    if (workflow->created) status = 201;
    if (workflow->pending) status = 202;
  }
  std::string body;
  append_answer_json(body, answer);
  return json_response(status, std::move(body));
}

}  // namespace callboard::gateway
