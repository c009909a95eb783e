// A blocking WebSocket client for tests, by hand, so that it can also break the rules.
#pragma once

#include "tests/support/http_client.hpp"
#include "tests/support/socket.hpp"

#include <boost/json/object.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::testing {

enum class opcode : std::uint8_t { text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

struct websocket_message {
  opcode kind = opcode::text;
  std::string payload;
};

struct websocket_options {
  std::string target = "/v1/tenants/default/ws";
  std::string subprotocol = "callboard.v1.json";
  header_list headers;
};

/// Answers pings by itself. Frames from the server are queued until somebody asks for them.
class websocket_client {
public:
  /// Throws std::runtime_error with status and body if the upgrade is refused.
  explicit websocket_client(const endpoint& where, const websocket_options& options = {});

  void send(opcode kind, std::string_view payload, bool masked = true);
  void send_json(const boost::json::object& frame);

  /// Bytes as they are, for frames that break the rules.
  void send_raw(std::string_view bytes) { connection_.write(bytes); }

  void send_text(std::string_view text) { send(opcode::text, text); }

  /// Sends with a new `id` and returns the `ok` or `error` frame that answers it.
  boost::json::object ask(boost::json::object frame, milliseconds limit = std::chrono::seconds{10});

  /// The next frame that nothing asked for; events of an `events` frame come one by one as `event`
  /// frames. Throws `timed_out`; throws `disconnected` once the connection is closed.
  boost::json::object next(milliseconds limit = std::chrono::seconds{10});

  /// The next frame with this `op`, passing over others (which are lost).
  boost::json::object next_op(std::string_view op, milliseconds limit = std::chrono::seconds{10});

  /// Reads until the close frame and returns its code; nothing if the stream just ends.
  std::optional<int> wait_closed(milliseconds limit = std::chrono::seconds{10});

  /// Says goodbye with code 1000.
  void close();

  void cut() { connection_.cut(); }

  [[nodiscard]] const boost::json::object& welcome() const { return welcome_; }

  [[nodiscard]] const http_response& handshake() const { return handshake_; }

  [[nodiscard]] std::optional<int> close_code() const { return close_code_; }

  /// One whole message without interpretation; pings are answered.
  websocket_message receive(milliseconds limit);

private:
  boost::json::object receive_json(milliseconds limit);
  void need(std::size_t bytes, milliseconds limit);

  socket connection_;
  http_response handshake_;
  std::string buffer_;
  std::deque<boost::json::object> queued_;
  boost::json::object welcome_;
  std::optional<int> close_code_;
  std::uint64_t next_id_ = 0;
};

}  // namespace callboard::testing
