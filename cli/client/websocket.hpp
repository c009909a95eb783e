// A blocking WebSocket client connection.
#pragma once

#include "cli/client/byte_stream.hpp"
#include "cli/client/http.hpp"
#include "cli/client/ws_frame.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::client {

struct websocket_options {
  /// For example "/v1/tenants/default/ws".
  std::string target = "/";
  /// Empty: none is asked for.
  std::string subprotocol = "callboard.v1.json";
  /// Sent as `Authorization: Bearer`; empty: none.
  std::string token;
  header_list headers;
  std::chrono::milliseconds timeout{10'000};
  std::uint64_t message_bytes_max = 64ULL << 20;
};

struct websocket_message {
  bool is_binary = false;
  std::string data;
};

/// How the other side ended the connection; 1006 if it vanished without saying so.
struct websocket_close {
  std::uint16_t code = 1006;
  std::string reason;
};

/// Owned by one thread. Answers pings while it receives. Destroying it drops the connection;
/// `close` ends it properly.
class websocket {
public:
  /// Errors: unreachable (also for a server that fails); what the problem document says if the
  /// upgrade is refused.
  [[nodiscard]] static result<websocket>
  connect(const endpoint& server, const websocket_options& options);

  /// Errors: unreachable, also when the peer took no bytes for 30 s.
  [[nodiscard]] result<void> send_text(std::string_view text);
  [[nodiscard]] result<void> send_binary(std::string_view bytes);

  /// Sends bytes as they are, for tests of malformed frames.
  [[nodiscard]] result<void> send_raw(std::string_view bytes);

  /// The next message; nothing when `wait` has passed.
  /// Errors: when the connection has ended (see `closed`) unauthorized, forbidden or
  /// too_many_connections if the server said so, else unreachable; bad_request, too_large. A server
  /// that is silent for 2.5 times the interval of its pings, as its `welcome` tells it, is gone.
  [[nodiscard]] result<std::optional<websocket_message>> receive(std::chrono::milliseconds wait);

  /// Sends a close frame and waits for the other side's, at most `wait`. What arrives in between
  /// is dropped.
  void close(
      std::uint16_t code = 1000,
      std::string_view reason = {},
      std::chrono::milliseconds wait = std::chrono::milliseconds{2000});

  /// Set once the connection has ended.
  [[nodiscard]] const std::optional<websocket_close>& closed() const { return closed_; }

  /// The subprotocol that the server chose; empty if none.
  [[nodiscard]] const std::string& subprotocol() const { return subprotocol_; }

  [[nodiscard]] std::uint64_t pings() const { return pings_; }

  /// Gives away the socket and what was already read from it, for non-blocking load generators.
  /// Precondition: plaintext.
  struct released {
    int fd = -1;
    std::string leftover;
  };

  [[nodiscard]] released release() &&;

private:
  websocket(byte_stream stream, std::string buffered, const websocket_options& options);

  [[nodiscard]] result<void> send_frame(ws_opcode opcode, std::string_view payload);
  /// Handles one buffered frame; a message if it completed one.
  [[nodiscard]] result<std::optional<websocket_message>> take_frame(const ws_frame& frame);
  [[nodiscard]] result<std::optional<websocket_message>> take_buffered(bool& progressed);
  /// What the first message says of pings.
  void note_welcome(std::string_view message);

  byte_stream stream_;
  std::string buffered_;
  /// Bytes at the front of `buffered_` that have been handled.
  std::size_t consumed_ = 0;
  std::uint64_t message_bytes_max_;
  std::optional<websocket_message> partial_;
  std::optional<websocket_close> closed_;
  bool close_sent_ = false;
  std::string subprotocol_;
  std::uint64_t pings_ = 0;
  bool was_welcomed_ = false;
  /// How long the server may be silent: 2.5 times the interval of its pings, at first the default.
  std::chrono::milliseconds silence_max_{62'500};
  deadline silent_until_ = deadline::after(silence_max_);
};

}  // namespace callboard::client
