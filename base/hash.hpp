// Stable hashes. Values reach the disk and other nodes, so the functions never change meaning.
#pragma once

#include "base/names.hpp"

#include <compare>
#include <cstdint>
#include <string_view>

namespace callboard {

/// 128 bits that stand for a byte string (XXH3-128).
struct hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  friend auto operator<=>(const hash128&, const hash128&) = default;
};

/// XXH3 with seed 0, 64 and 128 bits wide.
[[nodiscard]] std::uint64_t hash_64(std::string_view bytes);
[[nodiscard]] hash128 hash_128(std::string_view bytes);

/// Identity of an event for deduplication: XXH3-128 of source, a zero byte, id.
[[nodiscard]] hash128 event_identity(std::string_view source, std::string_view id);

/// Name of the function below, stored in a data directory and compared when it is opened.
inline constexpr std::string_view shard_hash_name = "xxh3-64(tenant,0,topic)";

/// The shard that owns a topic and its groups: `shard_hash_name` modulo `shard_count`.
/// Precondition: `shard_count > 0`.
[[nodiscard]] std::uint32_t shard_index(const topic_ref& topic, std::uint32_t shard_count);

} // namespace callboard

template <>
struct std::hash<callboard::hash128> {
  std::size_t operator()(const callboard::hash128& value) const noexcept { return value.low; }
};
