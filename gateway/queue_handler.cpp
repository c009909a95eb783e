// Task queues over HTTP: enqueue, lease and end tasks, look at queues and dead letters.
#include "base/random.hpp"
#include "base/uuid.hpp"
#include "gateway/http_handlers.hpp"
#include "gateway/queue_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::uint32_t page_max = 1000;
/// A million tasks may take a minute; the client is waited for, and may go.
constexpr std::chrono::minutes purge_wait{10};

queue_ref queue_of(const exchange& now) {
  return {now.route->tenant, now.route->queue};
}

template <class T>
result<action> control(result<T> body) {
  if (!body) return std::unexpected{body.error()};
  return actors::control_body{*std::move(body)};
}

result<void> may_work(const exchange& now) {
  if (now.who->may_work(now.route->queue.str())) return {};
  return fail(errc::forbidden, "the token does not allow to work on this queue");
}

/// A lease is worth nothing without its random part, so that whoever has it was given it.
result<void> may_work_at_all(const exchange& now) {
  if (!now.who->work.empty()) return {};
  return fail(errc::forbidden, "the token does not allow to work on any queue");
}

result<action> list(exchange& now) {
  actors::list_queues list;
  list.tenant = now.route->tenant;
  auto limit = number_of(now.target, "limit", list.limit);
  if (!limit) return std::unexpected{limit.error()};
  list.limit = std::min(*limit, page_max);
  if (const auto* after = now.target.find("after")) list.after = *after;
  return actors::control_body{std::move(list)};
}

result<action> queue(exchange& now, const http_request& request) {
  if (now.method == http_method::get || now.method == http_method::head) {
    if (!now.who->admin) {
      if (auto may = may_work(now); !may) return std::unexpected{may.error()};
    }
    return actors::control_body{actors::get_queue{queue_of(now)}};
  }
  if (!now.who->admin) return fail(errc::forbidden, "this needs a token with the admin claim");
  if (now.method == http_method::delete_) {
    return actors::control_body{actors::delete_queue{queue_of(now)}};
  }
  return control(parse_put_queue(queue_of(now), request.body));
}

/// Each request is a worker of its own, by whatever name: if its client goes away, exactly what it
/// was going to be given is released.
result<action> lease(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    const std::string& connection) {
  auto asked = parse_lease(queue_of(now), request.body, "http-" + connection);
  if (!asked) return std::unexpected{asked.error()};
  auto& worker = asked->lease.worker;
  worker += '~' + make_uuid(environment.sessions.time.wall());
  now.wait = std::chrono::milliseconds{asked->lease.wait_ms};
  asked->lease.poll = random_64();
  now.on_disconnect =
      actors::leave_queue{asked->queue, worker, actors::left_leases::released, {asked->lease.poll}};
  return actors::control_body{*std::move(asked)};
}

/// Reads `limit` into the list of a queue's things; gives `after`.
template <class List>
result<std::uint64_t> begin_page(exchange& now, List& list) {
  list.queue = queue_of(now);
  auto limit = number_of(now.target, "limit", list.limit);
  if (!limit) return std::unexpected{limit.error()};
  list.limit = std::min(*limit, page_max);
  return numbered_of(now.target, "after");
}

result<action> dead(exchange& now) {
  actors::list_dead list;
  auto after = begin_page(now, list);
  if (!after) return std::unexpected{after.error()};
  list.after = runtime::task_id{*after};
  if (const auto* key = now.target.find("fairness_key")) list.filter.fairness_key = *key;
  if (const auto* text = now.target.find("error_contains")) list.filter.error_contains = *text;
  return actors::control_body{std::move(list)};
}

result<action> audit(exchange& now) {
  actors::list_queue_audit list;
  auto after = begin_page(now, list);
  if (!after) return std::unexpected{after.error()};
  list.after = *after;
  return actors::control_body{std::move(list)};
}

result<action> with_lease(exchange& now, const http_request& request) {
  if (auto may = may_work_at_all(now); !may) return std::unexpected{may.error()};
  const auto& tenant = now.route->tenant;
  const auto& lease = now.route->member;
  switch (now.route->at) {
  case endpoint::lease_complete:
    return control(parse_complete(tenant, lease, request.body));
  case endpoint::lease_fail:
    return control(parse_fail(tenant, lease, request.body));
  default:
    return control(parse_extend(tenant, lease, request.body));
  }
}

}  // namespace

result<action> handle_queue(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    const std::string& connection) {
  using runtime::dead_command;
  const auto at = now.route->at;
  if (at == endpoint::queues) return list(now);
  if (at == endpoint::queue) return queue(now, request);
  if (at == endpoint::lease_complete || at == endpoint::lease_fail
      || at == endpoint::lease_extend) {
    return with_lease(now, request);
  }
  if (auto may = may_work(now); !may) return std::unexpected{may.error()};
  const runtime::task_id task{now.route->task};
  const auto& who = now.who->subject;
  const auto payload_max = environment.sessions.settings.limits.event_bytes_max;
  switch (at) {
  case endpoint::queue_tasks:
    return control(parse_enqueue(queue_of(now), request.body, payload_max));
  case endpoint::queue_task:
    if (now.method == http_method::delete_) {
      return actors::control_body{actors::cancel_task{queue_of(now), task, who}};
    }
    return actors::control_body{actors::get_task{queue_of(now), task}};
  case endpoint::queue_lease:
    return lease(environment, now, request, connection);
  case endpoint::queue_dead:
    return dead(now);
  case endpoint::queue_audit:
    return audit(now);
  case endpoint::queue_purge:
    now.wait = purge_wait;
    return control(parse_purge(queue_of(now), who, request.body));
  case endpoint::queue_dead_task: {
    auto edit = parse_dead_edit(queue_of(now), task, request.body, payload_max);
    if (edit) edit->change.who = who;
    return control(std::move(edit));
  }
  case endpoint::queue_redrive:
    return control(
        parse_dead_change(queue_of(now), dead_command::action::redrive, who, request.body));
  case endpoint::queue_abandon:
    return control(
        parse_dead_change(queue_of(now), dead_command::action::abandon, who, request.body));
  default:
    return fail(errc::not_found, "there is nothing at this path");
  }
}

}  // namespace callboard::gateway
