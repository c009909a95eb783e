// Workflows that went wrong, over HTTP: begun anew, forked, their commands ended by hand.
#include "base/config.hpp"
#include "gateway/http_handlers.hpp"
#include "gateway/json_members.hpp"
#include "gateway/workflow_rights.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <callboard/failure.hpp>
#include <utility>

namespace callboard::gateway {

namespace {

/// For the record; kept short, as it is there for good.
constexpr std::size_t reason_bytes_max = 1024;

topic_ref channel_of(const exchange& now) {
  return {now.route->tenant, topic_name::trusted(now.route->topic)};
}

std::string reason_in(json_members& body) {
  auto reason = body.text("reason").value_or("");
  if (reason.size() > reason_bytes_max) {
    body.refuse(fmt::format("'reason' may have {} bytes", reason_bytes_max));
  }
  return reason;
}

actors::rerun_order order_in(json_members& body, const exchange& now) {
  actors::rerun_order order;
  order.from = body.text_or_number("from").value_or("");
  order.reason = reason_in(body);
  order.who = who_of(now);
  order.version = static_cast<std::uint32_t>(body.number("version", 1, 0xffff'ffff).value_or(0));
  order.without_signals = body.flag("without_signals").value_or(false);
  return order;
}

result<action> restart(const exchange& now, const http_request& request) {
  auto body = json_members::parse(request.body);
  actors::restart_workflow restart{channel_of(now), order_in(body, now)};
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  if (restart.order.from.empty()) {
    return fail(
        errc::bad_request,
        "'from' must name the command to begin anew from: its index, or its name for the last one "
        "of that name");
  }
  return actors::control_body{std::move(restart)};
}

result<action> fork(const exchange& now, const http_request& request) {
  auto body = json_members::parse(request.body);
  auto order = order_in(body, now);
  const auto id = body.text("id");
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  if (!id || id->empty()) return fail(errc::bad_request, "'id' must name the new workflow");
  auto target = runtime::workflow_channel(*id);
  if (!target) return std::unexpected{target.error()};
  if (auto may = may_steer(now, target->str()); !may) return std::unexpected{may.error()};
  // The new one has what the old one has recorded.
  if (!now.who->may_subscribe(now.route->topic)) {
    return fail(errc::forbidden, "the token does not allow to read this workflow's channel");
  }
  return actors::control_body{actors::fork_workflow{
      channel_of(now), {now.route->tenant, std::move(*target)}, std::move(order)}};
}

actors::resolve_command resolve_of(const exchange& now, std::string how) {
  actors::resolve_command ask;
  ask.topic = channel_of(now);
  ask.command = now.route->command;
  ask.how = std::move(how);
  ask.who = who_of(now);
  ask.with = "null";
  return ask;
}

result<action> skip(const exchange& now, const http_request& request) {
  auto body = json_members::parse(request.body);
  auto ask = resolve_of(now, "skipped");
  ask.reason = reason_in(body);
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return actors::control_body{std::move(ask)};
}

result<action> resolve(const exchange& now, const http_request& request) {
  auto body = json_members::parse(request.body);
  auto ask = resolve_of(now, "resolved");
  ask.reason = reason_in(body);
  const auto value = body.value("result");
  const bool has_error = body.value("error").has_value();
  failure why{failure_class::permanent, "resolved", ""};
  if (has_error) {
    auto members = body.object("error");
    if (const auto kind = members.text("class")) {
      const auto known = failure_class_named(*kind);
      if (!known) members.refuse("'class' is retryable, rate, quota, permanent or bug");
      why.kind = known.value_or(why.kind);
    }
    why.code = members.text("code").value_or(why.code);
    why.message = members.text("message").value_or("");
    body.join(members);
  }
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  if (value.has_value() == has_error) {
    return fail(
        errc::bad_request,
        "either 'result' or 'error' says how the command ends; skip ends it with null");
  }
  ask.failed = has_error;
  ask.with = has_error ? boost::json::serialize(runtime::describe_failure(why)) : *value;
  return actors::control_body{std::move(ask)};
}

}  // namespace

result<action> handle_workflow_repair(exchange& now, const http_request& request) {
  if (auto may = may_repair(now, now.route->topic); !may) return std::unexpected{may.error()};
  switch (now.route->at) {
  case endpoint::workflow_restart:
    return restart(now, request);
  case endpoint::workflow_fork:
    return fork(now, request);
  case endpoint::workflow_skip:
    return skip(now, request);
  default:
    return resolve(now, request);
  }
}

}  // namespace callboard::gateway
