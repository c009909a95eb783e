// WebSocket framing (RFC 6455 section 5) as a client needs it: masked out, unmasked in. Pure.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::client {

enum class ws_opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

/// One frame as it lies in a receive buffer.
struct ws_frame {
  ws_opcode opcode{};
  bool is_final = true;
  std::string_view payload;
  /// Bytes of head and payload together.
  std::size_t size = 0;
};

/// Appends one frame, masked with `mask`. A mask of 0 leaves the payload as it is, which is
/// allowed and cheap, but protects no proxy: only for load generators.
void append_client_frame(
    std::string& out,
    ws_opcode opcode,
    std::string_view payload,
    std::uint32_t mask,
    bool is_final = true);

/// The first frame in `bytes`; nothing if it is not complete yet. Reserved bits, masked frames
/// and oversized or fragmented control frames are errors (bad_request), too long ones too_large.
[[nodiscard]] result<std::optional<ws_frame>>
parse_server_frame(std::string_view bytes, std::uint64_t payload_bytes_max);

/// A new Sec-WebSocket-Key.
[[nodiscard]] std::string make_websocket_key();

/// The Sec-WebSocket-Accept that belongs to a key.
[[nodiscard]] std::string websocket_accept(std::string_view key);

}  // namespace callboard::client
