// The calls of include/callboard/client.hpp.
#include "base/uuid.hpp"
#include "cli/backoff.hpp"
#include "cli/client/api.hpp"
#include "cli/client/byte_stream.hpp"
#include "cli/client/public_answers.hpp"
#include "cli/client/public_subscription.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <callboard/client.hpp>
#include <chrono>
#include <thread>
#include <utility>

namespace callboard {

namespace {

using client::flag_of;
using client::number_of;
using client::text_of;
using std::chrono::milliseconds;
/// What one question for a result or a reply waits on the node: 0 is not taken.
constexpr milliseconds poll_min{1};
constexpr milliseconds poll_max{20'000};
/// What a call takes at most.
constexpr milliseconds call_timeout{30'000};
/// On top of what the node waits, for the answer to arrive.
constexpr milliseconds answer_margin{5'000};
/// Between two questions while the node is away.
constexpr milliseconds reconnect_pause{200};

std::string new_id() {
  return make_uuid(std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now()));
}

/// A request that may be sent again: it has an id or a key of its own, or changes nothing.
enum class repetition : std::uint8_t { harmless, counts_twice };

/// The node has answered that it does not know what came of the request.
bool is_unknown(errc code) {
  return code == errc::outcome_unknown || code == errc::timeout;
}

/// What makes a call one that counts once, in the details of its failure: who makes the same call
/// again with it does nothing twice.
failure with(failure why, std::string_view name, std::string_view value) {
  why.details = boost::json::serialize(boost::json::object{{name, value}});
  return why;
}

}  // namespace

struct tenant_client::state {
  client::api api;

  struct answer {
    unsigned status = 0;
    boost::json::object body;
  };

  /// All attempts together take no longer than the request's timeout. What may be repeated is sent
  /// once more at once if the connection broke, and again and again while the node does not know
  /// what came of it.
  outcome<answer> send(client::http_request request, repetition again) {
    const auto until = client::deadline::after(request.timeout);
    auto response = api.call(request);
    cli::backoff pause;
    bool was_broken = false;
    while (!response && again == repetition::harmless) {
      const auto& why = response.error();
      milliseconds wait{0};
      if (why.code == errc::unreachable && !std::exchange(was_broken, true)) {
        // At once: most often the node had closed a connection that was idle.
      } else if (is_unknown(why.code)) {
        wait = std::max(pause.next(), milliseconds{why.retry_after_ms});
      } else {
        break;
      }
      if (until.remaining_ms() <= wait.count()) break;
      std::this_thread::sleep_for(wait);
      request.timeout = milliseconds{until.remaining_ms()};
      response = api.call(request);
    }
    if (!response) return std::unexpected{client::failure_of(response.error())};
    auto body = client::object_in(response->body);
    if (!body) return std::unexpected{std::move(body.error())};
    return answer{response->status, std::move(*body)};
  }

  outcome<answer> get(const std::string& path, milliseconds timeout = call_timeout) {
    client::http_request request;
    request.target = api.tenant_path(path);
    request.timeout = timeout;
    return send(std::move(request), repetition::harmless);
  }

  outcome<answer> post(
      const std::string& path,
      const json& body,
      repetition again,
      const std::string& key = {},
      milliseconds timeout = call_timeout) {
    client::http_request request;
    request.method = "POST";
    request.target = api.tenant_path(path);
    request.headers.emplace_back("Content-Type", "application/json");
    if (!key.empty()) request.headers.emplace_back("Idempotency-Key", key);
    request.body = boost::json::serialize(body);
    request.timeout = timeout;
    return send(std::move(request), again);
  }
};

tenant_client::tenant_client(std::unique_ptr<state> made) : state_{std::move(made)} {}

tenant_client::tenant_client(tenant_client&& other) noexcept = default;
tenant_client& tenant_client::operator=(tenant_client&& other) noexcept = default;
tenant_client::~tenant_client() = default;

outcome<tenant_client> tenant_client::open(const client_options& options) {
  auto server = client::endpoint::parse(options.server);
  if (!server) return std::unexpected{client::failure_of(server.error())};
  server->tls_ca_file = options.tls_ca_file;
  server->tls_insecure = options.tls_insecure;
  client::account who{
      .server = std::move(*server), .tenant = options.tenant, .token = options.token};
  return tenant_client{std::make_unique<state>(client::api{std::move(who)})};
}

// -- topics ---

outcome<published> tenant_client::publish(const std::string& topic, event what) {
  if (what.id.empty()) what.id = new_id();
  if (what.source.empty()) what.source = "/client";
  client::http_request request;
  request.method = "POST";
  request.target = state_->api.topic_path(topic, "/events");
  request.headers.emplace_back("Content-Type", "application/cloudevents+json");
  request.body = boost::json::serialize(to_cloud_event(what));
  request.timeout = call_timeout;
  auto answer = state_->send(std::move(request), repetition::harmless);
  if (!answer) return std::unexpected{with(std::move(answer.error()), "id", what.id)};
  return published{
      .seq = number_of(answer->body, "seq"),
      .cursor = text_of(answer->body, "cursor"),
      .id = std::move(what.id),
      .duplicate = flag_of(answer->body, "duplicate")};
}

outcome<event_page>
tenant_client::read(const std::string& topic, const std::string& from, std::uint32_t limit) {
  auto answer = state_->get(
      "/topics/" + client::percent_encoded(topic) + "/events?from=" + client::percent_encoded(from)
      + "&limit=" + std::to_string(limit));
  if (!answer) return std::unexpected{std::move(answer.error())};
  event_page page;
  if (const auto* events = answer->body.if_contains("events"); events && events->is_array()) {
    for (const auto& one : events->as_array()) {
      if (one.is_object()) page.events.push_back(client::received_from(one.as_object(), topic));
    }
  }
  page.first_seq = number_of(answer->body, "first_seq");
  page.last_seq = number_of(answer->body, "last_seq");
  page.next_from = number_of(answer->body, "next_from");
  return page;
}

outcome<subscription>
tenant_client::subscribe(const std::string& topic, subscribe_options options) {
  auto made = std::make_unique<subscription::state>(state_->api.who(), topic, std::move(options));
  if (auto opened = made->open(client::deadline::after(call_timeout)); !opened) {
    return std::unexpected{client::failure_of(opened.error())};
  }
  return subscription{std::move(made)};
}

// -- workflows ---

outcome<workflow_start>
tenant_client::start(const std::string& type, const json& input, start_options options) {
  if (options.id.empty()) options.id = new_id();
  boost::json::object body{{"type", type}, {"id", options.id}, {"input", input}};
  if (!options.correlation_id.empty()) body["correlation_id"] = options.correlation_id;
  auto answer = state_->post("/workflows", json(std::move(body)), repetition::harmless);
  if (!answer) return std::unexpected{with(std::move(answer.error()), "id", options.id)};
  return workflow_start{.id = text_of(answer->body, "id"), .is_new = answer->status == 201};
}

outcome<workflow_end> tenant_client::result(const std::string& id, time_span wait) {
  const auto until = client::deadline::after(wait);
  for (;;) {
    const auto poll = std::clamp(milliseconds{until.remaining_ms()}, poll_min, poll_max);
    auto answer = state_->get(
        "/workflows/" + client::percent_encoded(id)
            + "/result?wait_ms=" + std::to_string(poll.count()),
        poll + answer_margin);
    if (!answer && answer.error().kind == failure_class::permanent) {
      return std::unexpected{std::move(answer.error())};
    }
    if (answer && answer->status == 200) {
      workflow_end ended{.status = text_of(answer->body, "status"), .result = {}, .error = {}};
      if (const auto* value = answer->body.if_contains("result")) ended.result = *value;
      if (const auto* why = answer->body.if_contains("error"); why && why->is_object()) {
        ended.error = client::failure_in(why->as_object());
      }
      return ended;
    }
    if (until.passed()) {
      if (!answer) return std::unexpected{std::move(answer.error())};
      return std::unexpected{failure{
          .kind = failure_class::retryable,
          .code = "timeout",
          .message = "workflow " + id + " has not ended in time"}};
    }
    if (!answer) {
      std::this_thread::sleep_for(std::min(reconnect_pause, milliseconds{until.remaining_ms()}));
    }
  }
}

outcome<bool> tenant_client::signal(
    const std::string& id, const std::string& name, const json& payload, std::string key) {
  if (key.empty()) key = new_id();
  auto answer = state_->post(
      "/workflows/" + client::percent_encoded(id) + "/signals/" + client::percent_encoded(name),
      payload,
      repetition::harmless,
      key);
  if (!answer) return std::unexpected{with(std::move(answer.error()), "key", key)};
  return flag_of(answer->body, "duplicate");
}

outcome<std::string> tenant_client::cancel(const std::string& id, const std::string& reason) {
  boost::json::object body;
  if (!reason.empty()) body["reason"] = reason;
  auto answer = state_->post(
      "/workflows/" + client::percent_encoded(id) + "/cancel",
      json(std::move(body)),
      repetition::harmless);
  if (!answer) return std::unexpected{std::move(answer.error())};
  return text_of(answer->body, "outcome");
}

// -- agents ---

outcome<json> tenant_client::call(
    const std::string& type,
    const std::string& key,
    const std::string& message,
    const json& payload,
    agent_call_options options) {
  if (options.key.empty()) options.key = new_id();
  const auto path = "/agents/" + client::percent_encoded(type) + "/" + client::percent_encoded(key)
                    + "/" + client::percent_encoded(message);
  const auto until = client::deadline::after(options.timeout);
  for (;;) {
    const auto poll = std::clamp(milliseconds{until.remaining_ms()}, poll_min, poll_max);
    auto answer = state_->post(
        path + "?wait_ms=" + std::to_string(poll.count()),
        payload,
        repetition::harmless,
        options.key,
        poll + answer_margin);
    if (!answer) return std::unexpected{with(std::move(answer.error()), "key", options.key)};
    // 202: it is on disk and has not been handled yet.
    if (answer->status != 202) {
      const auto* reply = answer->body.if_contains("result");
      return reply == nullptr ? json{} : *reply;
    }
    if (until.passed()) {
      return std::unexpected{with(
          {.kind = failure_class::retryable,
           .code = "timeout",
           .message = "the agent has not replied to message " + options.key + " in time"},
          "key",
          options.key)};
    }
  }
}

// -- task queues ---

outcome<enqueued>
tenant_client::enqueue(const std::string& queue, const json& payload, enqueue_options options) {
  boost::json::object body{{"payload", payload}, {"priority", options.priority}};
  if (options.delay.count() != 0) body["delay_ms"] = options.delay.count();
  if (!options.dedupe_key.empty()) body["dedupe_key"] = options.dedupe_key;
  if (!options.fairness_key.empty()) body["fairness_key"] = options.fairness_key;
  if (options.attempts_max != 0) body["max_attempts"] = options.attempts_max;
  auto answer = state_->post(
      "/queues/" + client::percent_encoded(queue) + "/tasks",
      json(std::move(body)),
      options.dedupe_key.empty() ? repetition::counts_twice : repetition::harmless);
  if (!answer) return std::unexpected{std::move(answer.error())};
  return enqueued{
      .task = number_of(answer->body, "task"), .duplicate = flag_of(answer->body, "duplicate")};
}

outcome<std::vector<leased_task>>
tenant_client::lease(const std::string& queue, lease_options options) {
  // The node waits for no longer than 15 s.
  const auto wait = std::min<milliseconds>(options.wait, poll_max);
  boost::json::object body{{"max", options.tasks_max}, {"wait_ms", wait.count()}};
  if (!options.worker.empty()) body["worker"] = options.worker;
  if (options.lease.count() != 0) body["lease_ms"] = options.lease.count();
  client::http_request request;
  request.method = "POST";
  request.target = state_->api.tenant_path("/queues/" + client::percent_encoded(queue) + "/lease");
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = boost::json::serialize(body);
  request.timeout = wait + answer_margin;
  // What a broken connection would have been given is released by the node.
  auto answer = state_->send(std::move(request), repetition::harmless);
  if (!answer) return std::unexpected{std::move(answer.error())};
  std::vector<leased_task> tasks;
  const auto* listed = answer->body.if_contains("tasks");
  if (listed == nullptr || !listed->is_array()) return tasks;
  for (const auto& one : listed->as_array()) {
    if (!one.is_object()) continue;
    const auto& told = one.as_object();
    leased_task task{
        .task = number_of(told, "task"),
        .lease = text_of(told, "lease"),
        .fencing = number_of(told, "fencing"),
        .attempt = static_cast<std::uint32_t>(number_of(told, "attempt")),
        .lease_length = milliseconds{number_of(told, "lease_ms")},
        .payload = {}};
    if (const auto* payload = told.if_contains("payload")) task.payload = *payload;
    tasks.push_back(std::move(task));
  }
  return tasks;
}

outcome<void> tenant_client::complete(const std::string& lease, const json& result) {
  auto answer = state_->post(
      "/leases/" + client::percent_encoded(lease) + "/complete",
      json(boost::json::object{{"result", result}}),
      repetition::counts_twice);
  if (!answer) return std::unexpected{std::move(answer.error())};
  return {};
}

outcome<void> tenant_client::fail(const std::string& lease, const task_failure& why) {
  boost::json::object body{{"error", why.error}, {"retryable", why.retryable}};
  if (why.retry_after.count() != 0) body["retry_after_ms"] = why.retry_after.count();
  auto answer = state_->post(
      "/leases/" + client::percent_encoded(lease) + "/fail",
      json(std::move(body)),
      repetition::counts_twice);
  if (!answer) return std::unexpected{std::move(answer.error())};
  return {};
}

outcome<void> tenant_client::extend(const std::string& lease, time_span by) {
  auto answer = state_->post(
      "/leases/" + client::percent_encoded(lease) + "/extend",
      json(boost::json::object{{"lease_ms", by.count()}}),
      repetition::harmless);
  if (!answer) return std::unexpected{std::move(answer.error())};
  return {};
}

}  // namespace callboard
