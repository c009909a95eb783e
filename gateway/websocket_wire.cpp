#include "gateway/websocket_wire.hpp"

#include "base/utf8.hpp"
#include "gateway/json_text.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <zlib.h>

namespace callboard::gateway {

namespace {

constexpr std::size_t control_payload_max = 125;
/// A buffer that one large message needed is not kept.
constexpr std::size_t kept_bytes_max = 4096;

void unmask(std::span<char> bytes, const std::array<unsigned char, 4>& mask, std::uint64_t offset) {
  std::array<char, 8> keys{};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i] = static_cast<char>(mask[(offset + i) & 3U]);
  }
  std::uint64_t key = 0;
  std::memcpy(&key, keys.data(), sizeof key);
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    word ^= key;
    std::memcpy(bytes.data() + i, &word, sizeof word);
  }
  for (; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(bytes[i] ^ keys[i & 7U]);
}

/// Most text is ASCII: eight bytes at a time before the careful look.
bool is_valid_text(std::string_view text) {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof word);
    if ((word & 0x8080808080808080ULL) != 0) break;
  }
  return is_utf8(text.substr(i));
}

bool is_control(ws_opcode opcode) {
  return (static_cast<unsigned>(opcode) & 8U) != 0;
}

bool may_be_received(std::uint16_t code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

/// One raw-deflate decompressor per thread, reset for each message: no context is taken over.
class inflater {
public:
  inflater() { ready_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK; }

  ~inflater() { inflateEnd(&stream_); }

  inflater(const inflater&) = delete;
  inflater& operator=(const inflater&) = delete;

  enum class outcome : std::uint8_t { ok, broken, too_big };

  outcome run(std::string_view compressed, std::string& out, std::uint64_t out_max) {
    static constexpr std::string_view tail{"\x00\x00\xff\xff", 4};
    if (!ready_ || inflateReset(&stream_) != Z_OK) return outcome::broken;
    out.clear();
    for (const auto part : {compressed, tail}) {
      const auto done = feed(part, out, out_max);
      if (done != outcome::ok) return done;
    }
    return outcome::ok;
  }

private:
  outcome feed(std::string_view part, std::string& out, std::uint64_t out_max) {
    std::array<char, 16384> piece;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
    stream_.avail_in = static_cast<uInt>(part.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
      stream_.avail_out = static_cast<uInt>(piece.size());
      const int done = inflate(&stream_, Z_SYNC_FLUSH);
      if (done != Z_OK && done != Z_BUF_ERROR && done != Z_STREAM_END) return outcome::broken;
      const auto made = piece.size() - stream_.avail_out;
      if (out.size() + made > out_max) return outcome::too_big;
      out.append(piece.data(), made);
      if (done == Z_STREAM_END) break;
    } while (stream_.avail_out == 0);
    return outcome::ok;
  }

  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

void append_ws_header(std::string& out, ws_opcode opcode, std::size_t payload_size) {
  out += static_cast<char>(0x80U | static_cast<unsigned>(opcode));
  if (payload_size < 126) {
    out += static_cast<char>(payload_size);
    return;
  }
  const unsigned bytes = payload_size < 65536 ? 2 : 8;
  out += static_cast<char>(bytes == 2 ? 126 : 127);
  for (unsigned i = bytes; i-- > 0;) {
    out += static_cast<char>(static_cast<unsigned char>(payload_size >> (8 * i)));
  }
}

void append_ws_frame(std::string& out, ws_opcode opcode, std::string_view payload) {
  append_ws_header(out, opcode, payload.size());
  out += payload;
}

void append_ws_close(std::string& out, std::uint16_t code, std::string_view reason) {
  reason = front_of(reason, control_payload_max - 2);
  append_ws_header(out, ws_opcode::close, reason.size() + 2);
  out += static_cast<char>(static_cast<unsigned char>(code >> 8U));
  out += static_cast<char>(static_cast<unsigned char>(code));
  out += reason;
}

std::optional<ws_message> ws_reader::next(std::span<char>& input) {
  let_go();
  while (!violation_) {
    if (!in_payload_ && !take_header(input)) return std::nullopt;
    if (violation_) break;
    const bool needs_more = input.empty() && taken_ < frame_.size;
    if (needs_more) return std::nullopt;
    if (auto message = take_payload(input)) return message;
  }
  return std::nullopt;
}

/// Frees what the last message needed, once its view has been used.
void ws_reader::let_go() {
  if (!fragmented_ && !in_payload_ && message_.capacity() > kept_bytes_max) message_ = {};
  if (inflated_.capacity() > kept_bytes_max) inflated_ = {};
}

bool ws_reader::take_header(std::span<char>& input) {
  const auto need = [this]() -> std::size_t {
    if (header_size_ < 2) return 2;
    const unsigned length = header_bytes_[1] & 0x7FU;
    return 2U + (length == 126 ? 2U : length == 127 ? 8U : 0U) + 4U;
  };
  while (header_size_ < need()) {
    if (input.empty()) return false;
    header_bytes_[header_size_++] = static_cast<unsigned char>(input.front());
    input = input.subspan(1);
    if (header_size_ == 2 && (header_bytes_[1] & 0x80U) == 0) {
      fail(close_code::protocol_error, "client frames must be masked");
      return true;
    }
  }
  const unsigned length = header_bytes_[1] & 0x7FU;
  std::uint64_t size = length;
  const std::size_t extra = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (extra != 0) {
    size = 0;
    for (std::size_t i = 0; i < extra; ++i)
      size = size << 8U | header_bytes_[2 + i];
  }
  std::copy_n(header_bytes_.begin() + 2 + extra, 4, frame_.mask.begin());
  header_size_ = 0;
  if ((extra == 2 && size < 126) || (extra == 8 && (size < 65536 || size >> 63U != 0))) {
    fail(close_code::protocol_error, "frame length is not in its shortest form");
    return true;
  }
  if (check_header(header_bytes_[0], size)) {
    in_payload_ = true;
    taken_ = 0;
  }
  return true;
}

bool ws_reader::check_header(unsigned char first, std::uint64_t size) {
  frame_.fin = (first & 0x80U) != 0;
  frame_.compressed = (first & 0x40U) != 0;
  frame_.opcode = static_cast<ws_opcode>(first & 0x0FU);
  frame_.size = size;
  const auto refuse = [this](std::uint16_t code, std::string_view reason) {
    fail(code, reason);
    return false;
  };
  if ((first & 0x30U) != 0) return refuse(close_code::protocol_error, "reserved bits are set");
  switch (frame_.opcode) {
  case ws_opcode::close:
  case ws_opcode::ping:
  case ws_opcode::pong:
    if (!frame_.fin || size > control_payload_max || frame_.compressed) {
      return refuse(
          close_code::protocol_error,
          "control frames are whole, uncompressed and at most 125 bytes");
    }
    return true;
  case ws_opcode::continuation:
    if (!fragmented_) return refuse(close_code::protocol_error, "nothing to continue");
    if (frame_.compressed) return refuse(close_code::protocol_error, "reserved bits are set");
    break;
  case ws_opcode::text:
  case ws_opcode::binary:
    if (fragmented_) {
      return refuse(close_code::protocol_error, "a new message inside a fragmented one");
    }
    if (frame_.compressed && !limits_.deflate) {
      return refuse(close_code::protocol_error, "compression was not negotiated");
    }
    break;
  default:
    return refuse(close_code::protocol_error, "unknown opcode");
  }
  const auto before = fragmented_ ? message_.size() : 0;
  if (size > limits_.message_bytes_max || before + size > limits_.message_bytes_max) {
    return refuse(close_code::too_big, "message is larger than limits.frame_bytes_max");
  }
  return true;
}

std::optional<ws_message> ws_reader::take_payload(std::span<char>& input) {
  const auto count =
      static_cast<std::size_t>(std::min<std::uint64_t>(frame_.size - taken_, input.size()));
  const auto piece = input.first(count);
  input = input.subspan(count);
  unmask(piece, frame_.mask, taken_);
  const bool whole = taken_ == 0 && count == frame_.size;
  taken_ += count;
  if (!whole) {
    if (is_control(frame_.opcode)) {
      std::copy(
          piece.begin(),
          piece.end(),
          control_.begin() + static_cast<std::ptrdiff_t>(taken_ - count));
    } else {
      if (taken_ == count && !fragmented_) message_.clear();
      message_.append(piece.data(), piece.size());
    }
    if (taken_ < frame_.size) return std::nullopt;
  }
  in_payload_ = false;
  return finish_frame(whole ? piece : std::span<char>{});
}

/// `whole`: the payload if it came in one piece and was not put away.
std::optional<ws_message> ws_reader::finish_frame(std::span<char> whole) {
  const std::string_view piece{whole.data(), whole.size()};
  const bool put_away = taken_ != whole.size();
  if (is_control(frame_.opcode)) {
    return finish_control(
        put_away ? std::string_view{control_.data(), static_cast<std::size_t>(taken_)} : piece);
  }
  if (frame_.opcode != ws_opcode::continuation) {
    message_opcode_ = frame_.opcode;
    compressed_ = frame_.compressed;
    if (frame_.fin) return finish_message(put_away ? std::string_view{message_} : piece);
    if (!put_away) message_.assign(piece);
    fragmented_ = true;
    return std::nullopt;
  }
  if (!put_away) message_.append(piece);
  if (!frame_.fin) return std::nullopt;
  fragmented_ = false;
  return finish_message(message_);
}

std::optional<ws_message> ws_reader::finish_message(std::string_view payload) {
  if (compressed_) {
    if (!inflate_message(payload)) return std::nullopt;
    payload = inflated_;
  }
  if (message_opcode_ == ws_opcode::text && !is_valid_text(payload)) {
    fail(close_code::invalid_text, "text is not UTF-8");
    return std::nullopt;
  }
  return ws_message{message_opcode_, payload, 0};
}

bool ws_reader::inflate_message(std::string_view compressed) {
  thread_local inflater shared;
  switch (shared.run(compressed, inflated_, limits_.inflated_bytes_max)) {
  case inflater::outcome::ok:
    return true;
  case inflater::outcome::too_big:
    fail(close_code::too_big, "message is larger than limits.inflated_bytes_max");
    return false;
  case inflater::outcome::broken:
    break;
  }
  fail(close_code::invalid_text, "compressed data is damaged");
  return false;
}

std::optional<ws_message> ws_reader::finish_control(std::string_view payload) {
  ws_message message{frame_.opcode, payload, 0};
  if (frame_.opcode != ws_opcode::close) return message;
  if (payload.empty()) {
    message.close = 1005;
    return message;
  }
  if (payload.size() == 1) {
    fail(close_code::protocol_error, "close code is cut short");
    return std::nullopt;
  }
  message.close = static_cast<std::uint16_t>(
      static_cast<unsigned char>(payload[0]) << 8U | static_cast<unsigned char>(payload[1]));
  message.payload.remove_prefix(2);
  if (!may_be_received(message.close)) {
    fail(close_code::protocol_error, "close code may not be sent");
    return std::nullopt;
  }
  if (!is_valid_text(message.payload)) {
    fail(close_code::invalid_text, "close reason is not UTF-8");
    return std::nullopt;
  }
  return message;
}

}  // namespace callboard::gateway
