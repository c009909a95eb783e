// A WebSocket subprotocol: how operations are read and answers are written. Stateless apart from
// its settings; one object per connection's choice of protocol, shared by all connections.
#pragma once

#include "actors/requests.hpp"
#include "gateway/client_op.hpp"
#include "gateway/frame_cache.hpp"
#include "gateway/websocket_handshake.hpp"
#include "gateway/websocket_wire.hpp"
#include "runtime/subscription/subscription_core.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::gateway {

struct read_limits {
  std::uint32_t event_bytes_max = 1 << 20;
  std::uint32_t batch_events_max = 1000;
  /// The topic of `cloudevents.json` connections.
  std::string_view topic;
};

struct welcome_facts {
  std::string_view connection;
  std::string_view node;
  std::uint64_t frame_bytes_max = 0;
  std::uint32_t batch_events_max = 0;
  std::uint32_t subscriptions_max = 0;
  std::uint32_t requests_in_flight_max = 0;
  std::uint32_t ping_interval_ms = 0;
};

struct subscribed_facts {
  std::uint64_t sub = 0;
  std::string_view topic;
  std::string_view epoch;
  /// The client stands after this seq.
  sequence after{};
  runtime::loss reason = runtime::loss::none;
  sequence first_available{};
};

struct gap_facts {
  std::uint64_t sub = 0;
  std::string_view topic;
  std::string_view epoch;
  runtime::loss reason = runtime::loss::none;
  std::optional<runtime::seq_gap> gone;
  sequence first_available{};
};

/// Each write function appends one answer to `out`: the payload of one frame, or, where
/// `joins_answers`, a part of a frame that may hold several.
class ws_protocol {
public:
  virtual ~ws_protocol() = default;

  /// The shared object of a subprotocol; lives as long as the program.
  [[nodiscard]] static const ws_protocol& of(ws_protocol_id id);

  [[nodiscard]] virtual ws_opcode opcode() const = 0;
  [[nodiscard]] virtual bool joins_answers() const = 0;
  [[nodiscard]] virtual wire_format live_format() const = 0;
  [[nodiscard]] virtual wire_format history_format() const = 0;

  /// Hands every operation of a message to `each`, in order.
  virtual void read(
      std::string_view message,
      const read_limits& limits,
      const std::function<void(received_op)>& each) const = 0;

  virtual void welcome(std::string& out, const welcome_facts& facts) const = 0;
  virtual void failed(std::string& out, const op_id& id, const error& why) const = 0;
  virtual void done(std::string& out, const op_id& id) const = 0;
  virtual void pong(std::string& out, const op_id& id) const = 0;
  virtual void published(
      std::string& out,
      const op_id& id,
      std::string_view topic,
      const actors::publish_outcome& outcome,
      const std::vector<std::string>& event_ids,
      bool together) const = 0;
  virtual void
  subscribed(std::string& out, const op_id& id, const subscribed_facts& facts) const = 0;
  /// `since`: where topics begin that `cursors` does not name; empty: at their first event.
  virtual void pattern_subscribed(
      std::string& out,
      const op_id& id,
      std::uint64_t sub,
      const std::map<std::string, runtime::cursor>& cursors,
      std::string_view since) const = 0;

  /// Everything before `since` was sent, of all topics.
  virtual void mark(std::string& /*out*/, std::uint64_t /*sub*/, std::string_view /*since*/) const {
  }

  /// An answer of the broker to a control request; `op` is the operation's name.
  virtual void
  answered(std::string& out, const op_id& id, const actors::control_answer& answer) const = 0;
  /// Deliveries of a group that is consumed here.
  virtual void deliveries(
      std::string& out,
      std::string_view topic,
      std::string_view group,
      const actors::delivery_list& list) const = 0;

  /// A task of a queue that is worked on here. Protocols that do not know `work` say nothing.
  virtual void task(
      std::string& /*out*/, const actors::leased_task& /*task*/, std::string_view /*queue*/) const {
  }

  virtual void lagging(
      std::string& out,
      std::uint64_t sub,
      std::string_view topic,
      std::uint64_t behind,
      std::uint64_t dropped) const = 0;
  virtual void caught_up(std::string& out, std::uint64_t sub, std::string_view topic) const = 0;
  virtual void gap(std::string& out, const gap_facts& facts) const = 0;
  /// A subscription ended, or a pattern goes on without a topic.
  virtual void sub_failed(
      std::string& out, std::uint64_t sub, std::string_view topic, const error& why) const = 0;
  virtual void goaway(std::string& out, std::uint32_t reconnect_after_ms) const = 0;
};

}  // namespace callboard::gateway
