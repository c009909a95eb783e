// Bindings over HTTP: rules on a topic that start, signal, call or enqueue for each matching event.
#include "gateway/control_json.hpp"
#include "gateway/http_handlers.hpp"
#include "gateway/json_members.hpp"
#include "gateway/problem.hpp"
#include "runtime/topic/position.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace callboard::gateway {

namespace {

topic_ref topic_of(const exchange& now) {
  return {now.route->tenant, topic_name::trusted(now.route->topic)};
}

actors::group_ref binding_of(const exchange& now) {
  return {topic_of(now), now.route->group};
}

/// What somebody must be allowed to do themselves to have a binding do it for each event.
struct target_rights {
  const principal& who;

  result<void> publish(const std::string& pattern) const {
    if (who.may_publish_all(pattern)) return {};
    return fail(
        errc::forbidden,
        fmt::format(
            "a binding to this target needs the admin claim, or the right to publish to '{}'",
            pattern));
  }

  // An id may come from events, so that it can be any.
  result<void> operator()(const runtime::workflow_target& /*to*/) const {
    return publish("workflow.>");
  }

  result<void> operator()(const runtime::signal_target& /*to*/) const {
    return publish("workflow.>");
  }

  result<void> operator()(const runtime::agent_target& to) const {
    return publish(fmt::format("workflow.agent.{}.>", to.type));
  }

  result<void> operator()(const runtime::queue_target& to) const {
    if (who.may_work(to.queue.str())) return {};
    return fail(
        errc::forbidden,
        fmt::format(
            "a binding to this target needs the admin claim, or the right to work on queue '{}'",
            to.queue.str()));
  }
};

result<action> put(exchange& now, const http_request& request) {
  auto parsed = parse_put_binding(binding_of(now), request.body);
  if (!parsed) return std::unexpected{parsed.error()};
  if (!now.who->admin) {
    if (auto may = std::visit(target_rights{*now.who}, parsed->rule.target); !may) {
      return std::unexpected{may.error()};
    }
  }
  return actors::control_body{std::move(parsed->put)};
}

result<action> dead(const http_environment& environment, exchange& now) {
  actors::list_binding_dead list;
  list.group = binding_of(now);
  if (const auto* from = now.target.find("from")) {
    auto position = runtime::parse_position(*from);
    if (!position) return std::unexpected{position.error()};
    if (!std::holds_alternative<runtime::from_seq>(*position)
        && !std::holds_alternative<runtime::from_first>(*position)) {
      return fail(errc::bad_request, "'from' must be a seq of the topic of dead letters");
    }
    list.from = std::move(*position);
  }
  auto limit = number_of(now.target, "limit", list.events_max);
  if (!limit) return std::unexpected{limit.error()};
  list.events_max = std::min(*limit, environment.sessions.settings.limits.page_events_max);
  return actors::control_body{std::move(list)};
}

constexpr std::size_t seqs_max = 1000;

/// A redrive without a body is one of all; what is given up must be named.
template <class Ask>
result<action> change_dead(exchange& now, const http_request& request) {
  const bool is_redrive = std::is_same_v<Ask, actors::redrive_binding>;
  Ask ask{binding_of(now)};
  ask.who = now.who->subject;
  auto body = json_members::parse(request.body.empty() ? "{}" : request.body);
  const bool says_nothing = body.is_empty();
  for (const auto seq : body.numbers("seqs", seqs_max))
    ask.filter.seqs.emplace_back(seq);
  const bool says_all = body.flag("all").value_or(is_redrive && says_nothing);
  ask.filter.error_contains = body.text("error_contains").value_or("");
  ask.filter.type = body.text("type").value_or("");
  ask.filter.subject = body.text("subject").value_or("");
  if (ask.filter.is_all() != says_all) {
    body.refuse(
        "give 'seqs', 'error_contains', 'type' or 'subject' of the dead letters, or 'all'; not "
        "both");
  }
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return actors::control_body{std::move(ask)};
}

/// The data is whatever JSON the event shall have.
result<action>
edit_dead(const http_environment& environment, exchange& now, const http_request& request) {
  // What the binding does with other data, whoever may publish could have it do.
  if (!now.who->admin && !now.who->may_publish(now.route->topic)) {
    return fail(
        errc::forbidden,
        "to give a dead letter other data needs the admin claim, or the right to publish to the "
        "topic");
  }
  actors::edit_binding_dead ask{binding_of(now), sequence{now.route->seq}, {}, now.who->subject};
  auto body = json_members::parse(request.body);
  if (!body.has("data")) body.refuse("'data' must say what the event shall have as its data");
  ask.data = body.value("data").value_or("null");
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  const auto most = environment.sessions.settings.limits.event_bytes_max;
  if (ask.data.size() > most) {
    return fail(
        errc::too_large, fmt::format("'data' may have limits.event_bytes_max = {} bytes", most));
  }
  return actors::control_body{std::move(ask)};
}

}  // namespace

result<action>
handle_binding(const http_environment& environment, exchange& now, const http_request& request) {
  if (!now.who->admin && !now.who->may_subscribe(now.route->topic)) {
    return fail(errc::forbidden, "the token does not allow to read this topic");
  }
  switch (now.route->at) {
  case endpoint::bindings:
    return actors::control_body{actors::list_bindings{topic_of(now)}};
  case endpoint::binding_dead:
    return dead(environment, now);
  case endpoint::binding_redrive:
    return change_dead<actors::redrive_binding>(now, request);
  case endpoint::binding_abandon:
    return change_dead<actors::abandon_binding_dead>(now, request);
  case endpoint::binding_dead_letter:
    return edit_dead(environment, now, request);
  default:
    break;
  }
  if (now.method == http_method::put) return put(now, request);
  if (now.method == http_method::delete_) {
    return actors::control_body{actors::delete_binding{binding_of(now)}};
  }
  return actors::control_body{actors::get_binding{binding_of(now)}};
}

}  // namespace callboard::gateway
