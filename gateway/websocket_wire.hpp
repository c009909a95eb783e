// WebSocket framing (RFC 6455) and the receiving half of permessage-deflate (RFC 7692), server
// side. Our own rather than Beast's stream: everything that one read brought is handled together,
// outgoing frames are shared between connections, and an idle connection keeps no buffers. Pure.
#pragma once

#include "base/error.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace callboard::gateway {

enum class ws_opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

/// Close codes that are sent here.
namespace close_code {
inline constexpr std::uint16_t normal = 1000;
inline constexpr std::uint16_t going_away = 1001;
inline constexpr std::uint16_t protocol_error = 1002;
inline constexpr std::uint16_t unsupported_data = 1003;
inline constexpr std::uint16_t invalid_text = 1007;
inline constexpr std::uint16_t policy = 1008;
inline constexpr std::uint16_t too_big = 1009;
inline constexpr std::uint16_t internal_error = 1011;
inline constexpr std::uint16_t token_expired = 4401;
inline constexpr std::uint16_t not_allowed = 4403;
inline constexpr std::uint16_t too_many_connections = 4429;
}  // namespace close_code

/// Appends the header of an unmasked, unfragmented frame: 2, 4 or 10 bytes.
void append_ws_header(std::string& out, ws_opcode opcode, std::size_t payload_size);

/// Appends a whole frame.
void append_ws_frame(std::string& out, ws_opcode opcode, std::string_view payload);

/// Appends a close frame; the reason is cut to what fits (123 bytes, whole code points).
void append_ws_close(std::string& out, std::uint16_t code, std::string_view reason);

struct ws_message {
  ws_opcode opcode = ws_opcode::text;
  /// Valid until the next call of the reader.
  std::string_view payload;
  /// Close frames: the code (1005 if there was none) and the payload is the reason.
  std::uint16_t close = 0;
};

/// The connection must be closed with this code.
struct ws_violation {
  std::uint16_t code = 0;
  std::string_view reason;
};

struct ws_limits {
  std::uint64_t message_bytes_max = 1 << 20;
  std::uint64_t inflated_bytes_max = 4 << 20;
  bool deflate = false;
};

/// Cuts a client's bytes into messages. Messages that lie wholly in the input are unmasked in place
/// and not copied. Bounds: one message of at most `message_bytes_max`, checked before it is taken.
class ws_reader {
public:
  explicit ws_reader(const ws_limits& limits) : limits_{limits} {}

  /// Takes bytes off the front of `input` up to the end of the next message. Nothing: all input was
  /// taken and more is needed, or `violation` says what is wrong.
  [[nodiscard]] std::optional<ws_message> next(std::span<char>& input);

  [[nodiscard]] const std::optional<ws_violation>& violation() const { return violation_; }

  /// True in the middle of a message.
  [[nodiscard]] bool is_partial() const { return header_size_ != 0 || in_payload_ || fragmented_; }

private:
  struct header {
    bool fin = false;
    bool compressed = false;
    ws_opcode opcode = ws_opcode::text;
    std::uint64_t size = 0;
    std::array<unsigned char, 4> mask{};
  };

  bool take_header(std::span<char>& input);
  bool check_header(unsigned char first, std::uint64_t size);
  std::optional<ws_message> take_payload(std::span<char>& input);
  std::optional<ws_message> finish_frame(std::span<char> whole);
  std::optional<ws_message> finish_message(std::string_view payload);
  std::optional<ws_message> finish_control(std::string_view payload);
  bool inflate_message(std::string_view compressed);

  void fail(std::uint16_t code, std::string_view reason) { violation_ = {code, reason}; }

  void let_go();

  ws_limits limits_;
  std::optional<ws_violation> violation_;
  std::array<unsigned char, 14> header_bytes_{};
  std::uint8_t header_size_ = 0;
  header frame_;
  bool in_payload_ = false;
  std::uint64_t taken_ = 0;
  std::array<char, 125> control_{};
  /// A message that came in pieces.
  std::string message_;
  std::string inflated_;
  bool fragmented_ = false;
  bool compressed_ = false;
  ws_opcode message_opcode_ = ws_opcode::text;
};

}  // namespace callboard::gateway
