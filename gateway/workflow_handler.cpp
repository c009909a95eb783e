// Workflows over HTTP: start, look at, signal, cancel. A workflow is known by its channel.
#include "base/uuid.hpp"
#include "gateway/http_handlers.hpp"
#include "gateway/json_members.hpp"
#include "gateway/json_text.hpp"
#include "gateway/problem.hpp"
#include "gateway/workflow_rights.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_event.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::uint32_t workflows_per_page_max = 1000;
constexpr std::uint32_t result_wait_ms_max = 60'000;

topic_ref channel_of(const exchange& now) {
  return {now.route->tenant, topic_name::trusted(now.route->topic)};
}

/// `topic`: where the run's updates go as well; empty: nowhere.
result<void> may_mirror(const exchange& now, const std::string& topic) {
  if (topic.empty()) return {};
  if (auto parsed = topic_name::parse(topic); !parsed) {
    return fail(errc::invalid_name, "'mirror': " + parsed.error().detail);
  }
  if (topic.starts_with(runtime::channel_prefix)) {
    return fail(errc::bad_request, "'mirror' must not be the channel of a workflow");
  }
  if (now.who->may_publish(topic)) return {};
  return fail(
      errc::forbidden,
      fmt::format("the token does not allow to publish to '{}', so not to mirror to it", topic));
}

result<void> may_watch(const exchange& now) {
  if (now.who->may_subscribe(now.route->topic)) return {};
  return fail(errc::forbidden, "the token does not allow to read this workflow's channel");
}

/// How long the answer may wait for the run's end.
result<std::uint32_t> wait_of(exchange& now) {
  auto asked = number_of(now.target, "wait_ms", 1);
  if (!asked) return asked;
  *asked = std::min(*asked, result_wait_ms_max);
  now.wait = std::chrono::milliseconds{*asked};
  return asked;
}

result<action>
start(const http_environment& environment, exchange& now, const http_request& request) {
  auto body = json_members::parse(request.body);
  auto type = body.text("type");
  auto id = body.text("id");
  auto input = body.value("input");
  auto correlation = body.text("correlation_id");
  auto mirror = body.text("mirror");
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  if (!type || type->empty()) return fail(errc::bad_request, "'type' must name a workflow type");
  const bool is_new = !id;
  if (is_new) id = make_uuid(environment.sessions.time.wall());
  auto channel = runtime::workflow_channel(*id);
  if (!channel) return std::unexpected{channel.error()};
  if (auto may = may_steer(now, channel->str()); !may) return std::unexpected{may.error()};
  if (auto may = may_mirror(now, mirror.value_or("")); !may) return std::unexpected{may.error()};
  actors::start_workflow start;
  start.topic = {now.route->tenant, std::move(*channel)};
  start.type = std::move(*type);
  start.input = input.value_or("null");
  start.correlation_id = correlation.value_or("");
  start.mirror = mirror.value_or("");
  start.is_new = is_new;
  if (now.target.find("wait_ms") != nullptr) {
    auto wait = wait_of(now);
    if (!wait) return std::unexpected{wait.error()};
    start.wait_ms = *wait;
  }
  return actors::control_body{std::move(start)};
}

result<action> list(exchange& now) {
  if (!now.who->may_subscribe("workflow.>") && !now.who->admin) {
    return fail(errc::forbidden, "the token does not allow to read the channels of workflows");
  }
  actors::list_workflows list;
  list.tenant = now.route->tenant;
  auto limit = number_of(now.target, "limit", list.limit);
  if (!limit) return std::unexpected{limit.error()};
  list.limit = std::min(*limit, workflows_per_page_max);
  if (const auto* type = now.target.find("type")) list.type = *type;
  if (const auto* status = now.target.find("status")) {
    const auto known = runtime::run_status_named(*status);
    if (!known || *known == runtime::run_status::continued) {
      return fail(
          errc::bad_request, "'status' is running, completed, failed, cancelled or blocked");
    }
    list.status = *status;
  }
  if (const auto* stuck = now.target.find("stuck")) {
    if (*stuck != "true" && *stuck != "false") {
      return fail(errc::bad_request, "'stuck' is true or false");
    }
    list.stuck = *stuck == "true";
  }
  if (const auto* after = now.target.find("cursor")) list.after = *after;
  return actors::control_body{std::move(list)};
}

result<action> await_result(exchange& now) {
  actors::await_workflow wait{channel_of(now), 0};
  if (now.target.find("wait_ms") != nullptr) {
    auto asked = wait_of(now);
    if (!asked) return std::unexpected{asked.error()};
    wait.wait_ms = *asked;
  }
  return actors::control_body{std::move(wait)};
}

result<action> history(const http_environment& environment, exchange& now) {
  actors::read_events read;
  read.topic = channel_of(now);
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

/// The body is the payload: any JSON, nothing counts as null.
result<action> signal(exchange& now, const http_request& request) {
  if (auto may = may_steer(now, now.route->topic); !may) return std::unexpected{may.error()};
  auto id = idempotency_key(request);
  if (!id) return std::unexpected{id.error()};
  actors::signal_workflow signal;
  signal.topic = channel_of(now);
  signal.signal = now.route->member;
  signal.id = std::move(*id);
  const auto payload = request.body.empty() ? result<boost::json::value>{nullptr}
                                            : parse_value("the payload of a signal", request.body);
  if (!payload) return std::unexpected{payload.error()};
  signal.payload = boost::json::serialize(*payload);
  return actors::control_body{std::move(signal)};
}

/// `cancel` and `terminate`.
template <class Ask>
result<action> end(exchange& now, const http_request& request) {
  const bool is_repair = std::is_same_v<Ask, actors::terminate_workflow>;
  const auto may = is_repair ? may_repair(now, now.route->topic) : may_steer(now, now.route->topic);
  if (!may) return std::unexpected{may.error()};
  auto body = json_members::parse(request.body);
  auto reason = body.text("reason");
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  Ask ask{channel_of(now), reason.value_or("")};
  ask.who = who_of(now);
  return actors::control_body{std::move(ask)};
}

}  // namespace

result<action>
handle_workflow(const http_environment& environment, exchange& now, const http_request& request) {
  switch (now.route->at) {
  case endpoint::workflows:
    return now.method == http_method::post ? start(environment, now, request) : list(now);
  case endpoint::workflow_signal:
    return signal(now, request);
  case endpoint::workflow_cancel:
    return end<actors::cancel_workflow>(now, request);
  case endpoint::workflow_terminate:
    return end<actors::terminate_workflow>(now, request);
  case endpoint::workflow_restart:
  case endpoint::workflow_fork:
  case endpoint::workflow_skip:
  case endpoint::workflow_resolve:
    return handle_workflow_repair(now, request);
  default:
    break;
  }
  if (auto may = may_watch(now); !may) return std::unexpected{may.error()};
  switch (now.route->at) {
  case endpoint::workflow_history:
    return history(environment, now);
  case endpoint::workflow_result:
    return await_result(now);
  case endpoint::workflow_explain:
    return actors::control_body{actors::explain_workflow{channel_of(now)}};
  default:
    return actors::control_body{actors::get_workflow{channel_of(now)}};
  }
}

}  // namespace callboard::gateway
