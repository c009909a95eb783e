// Agents over HTTP: hand one a message, look at one. An agent is known by the channel of its run.
#include "base/uuid.hpp"
#include "gateway/http_handlers.hpp"
#include "gateway/json_text.hpp"
#include "gateway/problem.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::uint32_t reply_wait_ms = 30'000;
constexpr std::uint32_t reply_wait_ms_max = 60'000;

/// RFC 7240 section 4.1.
bool prefers_async(const http_request& request) {
  const auto* prefer = request.find("prefer");
  return prefer != nullptr && prefer->contains("respond-async");
}

result<std::uint32_t> wait_of(exchange& now, const http_request& request) {
  if (prefers_async(request)) return 0;
  auto asked = number_of(now.target, "wait_ms", reply_wait_ms);
  if (!asked) return asked;
  *asked = std::min(*asked, reply_wait_ms_max);
  now.wait = std::chrono::milliseconds{*asked};
  return asked;
}

result<action>
call(const http_environment& environment, exchange& now, const http_request& request) {
  const auto& channel = now.route->topic;
  if (!now.who->may_publish(channel)) {
    return fail(
        errc::forbidden,
        fmt::format("the token does not allow to publish to '{}', so not to call it", channel));
  }
  auto id = idempotency_key(request);
  if (!id) return std::unexpected{id.error()};
  if (id->empty()) id = make_uuid(environment.sessions.time.wall());
  const auto payload = request.body.empty() ? result<boost::json::value>{nullptr}
                                            : parse_value("the payload of a message", request.body);
  if (!payload) return std::unexpected{payload.error()};
  auto wait = wait_of(now, request);
  if (!wait) return std::unexpected{wait.error()};
  actors::call_agent call;
  call.topic = {now.route->tenant, topic_name::trusted(channel)};
  call.type = "agent:" + now.route->agent_type;
  call.message = now.route->member;
  call.payload = boost::json::serialize(*payload);
  call.id = std::move(*id);
  call.wait_ms = *wait;
  return actors::control_body{std::move(call)};
}

}  // namespace

result<action>
handle_agent(const http_environment& environment, exchange& now, const http_request& request) {
  if (now.route->at == endpoint::agent_message) return call(environment, now, request);
  if (!now.who->may_subscribe(now.route->topic)) {
    return fail(errc::forbidden, "the token does not allow to read this agent's channel");
  }
  return actors::control_body{
      actors::get_workflow{{now.route->tenant, topic_name::trusted(now.route->topic)}}};
}

error agent_failure(const actors::workflow_answer& answer) {
  const auto body = read_json(answer.body).value_or(nullptr);
  const auto* told = body.if_object();
  const auto* found = told == nullptr ? nullptr : told->if_contains("error");
  if (found == nullptr) return {errc::agent_failed, "the agent's answer is unreadable", 0};
  const auto& why = *found;
  return {
      errc::agent_failed,
      fmt::format(
          "{}: {}",
          std::string_view{why.at("code").as_string()},
          std::string_view{why.at("message").as_string()}),
      0};
}

}  // namespace callboard::gateway
