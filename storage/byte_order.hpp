// Fixed-width integers in bytes: big-endian in keys, so that byte order is number order, and
// little-endian in values.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::storage {

static_assert(std::endian::native == std::endian::little);

template <class Integer>
void store_little(char* out, Integer value) {
  std::memcpy(out, &value, sizeof(value));
}

template <class Integer>
[[nodiscard]] Integer load_little(const char* in) {
  Integer value;
  std::memcpy(&value, in, sizeof(value));
  return value;
}

template <class Integer>
void store_big(char* out, Integer value) {
  value = std::byteswap(value);
  std::memcpy(out, &value, sizeof(value));
}

template <class Integer>
[[nodiscard]] Integer load_big(const char* in) {
  Integer value;
  std::memcpy(&value, in, sizeof(value));
  return std::byteswap(value);
}

template <class Integer>
void append_little(std::string& out, Integer value) {
  char bytes[sizeof(value)];
  store_little(bytes, value);
  out.append(bytes, sizeof(value));
}

/// Takes an integer off the front of `in`; nothing if `in` is too short.
template <class Integer>
[[nodiscard]] std::optional<Integer> take_little(std::string_view& in) {
  if (in.size() < sizeof(Integer)) return std::nullopt;
  const auto value = load_little<Integer>(in.data());
  in.remove_prefix(sizeof(Integer));
  return value;
}

/// Base-128 integer, low bits first, at most 10 bytes.
inline void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

[[nodiscard]] inline std::optional<std::uint64_t> take_varint(std::string_view& in) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

[[nodiscard]] inline bool is_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace callboard::storage
