#include "cli/client/ws_frame.hpp"

#include <array>
#include <cstring>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

namespace callboard::client {

namespace {

std::string base64(const unsigned char* bytes, std::size_t size) {
  std::string out((size + 2) / 3 * 4 + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes, static_cast<int>(size));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

constexpr bool is_known(unsigned opcode) {
  return opcode <= 2 || (opcode >= 8 && opcode <= 10);
}

}  // namespace

void append_client_frame(
    std::string& out,
    ws_opcode opcode,
    std::string_view payload,
    std::uint32_t mask,
    bool is_final) {
  const auto size = payload.size();
  out.push_back(static_cast<char>((is_final ? 0x80 : 0) | static_cast<int>(opcode)));
  int length_bytes = 0;
  if (size < 126) {
    out.push_back(static_cast<char>(0x80 | size));
  } else if (size < 65536) {
    out.push_back(static_cast<char>(0x80 | 126));
    length_bytes = 2;
  } else {
    out.push_back(static_cast<char>(0x80 | 127));
    length_bytes = 8;
  }
  for (int i = length_bytes - 1; i >= 0; --i)
    out.push_back(static_cast<char>(size >> (8 * i)));
  std::array<char, 4> key{};
  std::memcpy(key.data(), &mask, 4);
  out.append(key.data(), 4);
  const auto begin = out.size();
  out.append(payload);
  if (mask == 0) return;
  for (std::size_t i = 0; i < size; ++i) {
    out[begin + i] = static_cast<char>(out[begin + i] ^ key[i & 3]);
  }
}

result<std::optional<ws_frame>>
parse_server_frame(std::string_view bytes, std::uint64_t payload_bytes_max) {
  if (bytes.size() < 2) return std::nullopt;
  const auto first = static_cast<unsigned char>(bytes[0]);
  const auto second = static_cast<unsigned char>(bytes[1]);
  if ((first & 0x70) != 0) return fail(errc::bad_request, "reserved bits of a frame are set");
  if ((second & 0x80) != 0) return fail(errc::bad_request, "the server masked a frame");
  if (!is_known(first & 0x0f)) return fail(errc::bad_request, "unknown WebSocket opcode");
  std::uint64_t length = second & 0x7f;
  std::size_t head = 2;
  if (length >= 126) {
    const std::size_t width = length == 126 ? 2 : 8;
    if (bytes.size() < head + width) return std::nullopt;
    length = 0;
    for (std::size_t i = 0; i < width; ++i) {
      length = length << 8 | static_cast<unsigned char>(bytes[head + i]);
    }
    head += width;
  }
  const auto opcode = static_cast<ws_opcode>(first & 0x0f);
  const bool is_final = (first & 0x80) != 0;
  if (opcode >= ws_opcode::close && (length > 125 || !is_final)) {
    return fail(errc::bad_request, "malformed control frame");
  }
  if (length > payload_bytes_max) return fail(errc::too_large, "the server's frame is too long");
  if (bytes.size() - head < length) return std::nullopt;
  return ws_frame{
      .opcode = opcode,
      .is_final = is_final,
      .payload = bytes.substr(head, static_cast<std::size_t>(length)),
      .size = head + static_cast<std::size_t>(length)};
}

std::string make_websocket_key() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  return base64(bytes.data(), bytes.size());
}

std::string websocket_accept(std::string_view key) {
  std::string text{key};
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return base64(digest.data(), digest.size());
}

}  // namespace callboard::client
