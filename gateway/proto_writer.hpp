// Protobuf fields written by hand, for frames that are made of bytes which are Protobuf already.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::gateway::proto_wire {

inline void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(static_cast<unsigned char>(value | 0x80U));
    value >>= 7U;
  }
  out += static_cast<char>(static_cast<unsigned char>(value));
}

[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7U)
    ++size;
  return size;
}

inline void put_key(std::string& out, std::uint32_t field, std::uint32_t type) {
  put_varint(out, field << 3U | type);
}

/// Zero is the default and is left out, as in proto3.
inline void put_number(std::string& out, std::uint32_t field, std::uint64_t value) {
  if (value == 0) return;
  put_key(out, field, 0);
  put_varint(out, value);
}

/// Length-delimited, also when empty (a oneof member that is set).
inline void put_message(std::string& out, std::uint32_t field, std::string_view bytes) {
  put_key(out, field, 2);
  put_varint(out, bytes.size());
  out += bytes;
}

inline void put_text(std::string& out, std::uint32_t field, std::string_view text) {
  if (!text.empty()) put_message(out, field, text);
}

}  // namespace callboard::gateway::proto_wire
