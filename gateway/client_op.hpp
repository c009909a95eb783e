// What a client asks over a WebSocket, whatever it is spelled in.
#pragma once

#include "base/durability.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "gateway/event_codec.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace callboard::gateway {

/// The client's own number for an operation, echoed as it came.
struct op_id {
  std::uint64_t number = 0;
  /// Quoted JSON text, if the client uses strings.
  std::string text;
  bool given = false;
};

namespace ops {

struct publish {
  std::string topic;
  std::vector<decoded_event> events;
  /// Came as `events`, and is answered event by event.
  bool together = false;
  std::optional<sequence> expected;
  durability level = durability::synced;
  bool ephemeral = false;
};

struct subscribe {
  std::string topic;
  std::string from;
  std::map<std::string, std::string> cursors;
  std::optional<std::uint64_t> credits;
  std::string slow;
};

struct unsubscribe {
  std::uint64_t sub = 0;
};

struct credit {
  std::uint64_t sub = 0;
  std::uint64_t credits = 0;
};

struct presence {
  std::string topic;
  std::string action;
  std::string member;
  std::string state;
};

struct auth {
  std::string token;
};

struct ping {};

struct fetch {
  std::string topic;
  std::string group;
  std::uint32_t max = 10;
  std::uint32_t wait_ms = 0;
};

/// Keeps up to `credits` deliveries of a group with this connection; 0 stops.
struct consume {
  std::string topic;
  std::string group;
  std::uint64_t credits = 0;
};

struct ack {
  std::string topic;
  std::string group;
  std::vector<std::string> deliveries;
  std::optional<sequence> up_to;
};

struct nack {
  std::string topic;
  std::string group;
  std::vector<std::string> deliveries;
  std::optional<std::uint32_t> delay_ms;
  std::string error;
};

/// Keeps up to `credits` tasks of a queue with this connection; 0 stops.
struct work {
  std::string queue;
  std::uint64_t credits = 0;
  /// Nothing: the queue's.
  std::optional<std::uint32_t> lease_ms;
  /// How tools call it; empty: by its connection.
  std::string worker;
};

struct complete {
  std::string lease;
  /// JSON, or empty.
  std::string result;
};

struct fail {
  std::string lease;
  std::string error;
  bool is_retryable = true;
  std::optional<std::uint64_t> retry_after_ms;
};

struct extend {
  std::string lease;
  /// Nothing: as long as before.
  std::optional<std::uint32_t> lease_ms;
};

}  // namespace ops

using client_op = std::variant<
    ops::publish,
    ops::subscribe,
    ops::unsubscribe,
    ops::credit,
    ops::presence,
    ops::auth,
    ops::ping,
    ops::fetch,
    ops::consume,
    ops::ack,
    ops::nack,
    ops::work,
    ops::complete,
    ops::fail,
    ops::extend>;

/// One operation as it was read, or what is wrong with it.
struct received_op {
  op_id id;
  result<client_op> op;
};

}  // namespace callboard::gateway
