// What each endpoint does, without sockets: a request becomes an answer or a message to the broker,
// and the broker's reply becomes an answer.
#pragma once

#include "actors/requests.hpp"
#include "gateway/connection.hpp"
#include "gateway/http_metrics.hpp"
#include "gateway/http_request.hpp"
#include "gateway/http_response.hpp"
#include "gateway/principal.hpp"
#include "gateway/routes.hpp"
#include "gateway/url.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace callboard::gateway {

/// What all HTTP sessions of the node share; outlives them.
struct http_environment {
  const session_environment& sessions;
  http_metrics& counters;
  std::function<std::optional<error>()> readiness;
  std::function<std::string()> node_status;
  std::function<void(std::string target, std::function<void(result<std::string>)> done)> backup;
  /// Set once, when the node begins to drain.
  const std::atomic<bool>& draining;
};

/// One request on its way to its answer.
struct exchange {
  std::optional<route_match> route;
  http_method method = http_method::get;
  request_target target;
  std::shared_ptr<const principal> who;
  /// Of the events being published, in order.
  std::vector<std::string> ids;
  bool is_batch = false;
  /// How much longer than usual the answer may take (long polls).
  std::chrono::milliseconds wait{0};
  /// A fetch or a lease: what to say if the client goes away before it has its answer.
  std::optional<actors::control_body> on_disconnect;
  /// Of a WebSocket: why not, told by the WebSocket itself.
  std::optional<error> refused;
};

struct become_websocket {};

struct become_event_stream {};

struct run_backup {
  std::string target;
};

using action = std::variant<
    http_response,
    actors::publish_batch,
    actors::control_body,
    become_websocket,
    become_event_stream,
    run_backup>;

/// Decides what a complete request leads to. `charge` is what the body has taken from the payload
/// budget; a publish takes it over. `connection` is the default member of a fetch. The correlation
/// of a publish is left for the caller to set.
[[nodiscard]] result<action> handle_request(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    byte_charge& charge,
    const std::string& connection);

[[nodiscard]] http_response
answer_publish(const exchange& now, const actors::publish_outcome& outcome);

/// May change `answer` (topics that the caller may not see are taken out).
[[nodiscard]] http_response answer_control(const exchange& now, actors::control_answer& answer);

/// A publish request from a body in whichever mode it is (publish_handler.cpp).
[[nodiscard]] result<action> handle_publish(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    byte_charge& charge);

/// Restart, fork, skip and resolve (workflow_repair_handler.cpp).
[[nodiscard]] result<action>
handle_workflow_repair(exchange& now, const http_request& request);

/// Starting, looking at and steering workflows (workflow_handler.cpp).
[[nodiscard]] result<action>
handle_workflow(const http_environment& environment, exchange& now, const http_request& request);

/// Calling and looking at agents (agent_handler.cpp).
[[nodiscard]] result<action>
handle_agent(const http_environment& environment, exchange& now, const http_request& request);

/// Why a handler failed, of an answer that says `failed`.
[[nodiscard]] error agent_failure(const actors::workflow_answer& answer);

/// What is bound to a topic (binding_handler.cpp).
[[nodiscard]] result<action>
handle_binding(const http_environment& environment, exchange& now, const http_request& request);

/// Task queues, their tasks and leases (queue_handler.cpp). `connection` is the default worker.
[[nodiscard]] result<action> handle_queue(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    const std::string& connection);

/// Idempotency-Key is a quoted string by its draft; many clients send it bare. Empty = none.
[[nodiscard]] result<std::string> idempotency_key(const http_request& request);

/// A query parameter that is a number of at least 1.
[[nodiscard]] result<std::uint32_t>
number_of(const request_target& target, const std::string& name, std::uint32_t otherwise);

/// A query parameter that is the number of a task or a change, at least 1; 0 if it is not there.
[[nodiscard]] result<std::uint64_t>
numbered_of(const request_target& target, const std::string& name);

/// A query parameter that is true or false; given without a value it is true.
[[nodiscard]] result<bool> flag_of(const request_target& target, const std::string& name);

/// True if the client asks for an event stream.
[[nodiscard]] bool wants_event_stream(const http_request& request);

}  // namespace callboard::gateway
