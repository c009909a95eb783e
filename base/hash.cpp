#include "base/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string>

namespace callboard {

std::uint64_t hash_64(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

hash128 hash_128(std::string_view bytes) {
  const auto value = XXH3_128bits(bytes.data(), bytes.size());
  return {.high = value.high64, .low = value.low64};
}

hash128 event_identity(std::string_view source, std::string_view id) {
  // Joined in a stack buffer where it fits: this runs once per published event.
  char buffer[512];
  const auto size = source.size() + 1 + id.size();
  if (size <= sizeof buffer) {
    source.copy(buffer, source.size());
    buffer[source.size()] = '\0';
    id.copy(buffer + source.size() + 1, id.size());
    return hash_128({buffer, size});
  }
  std::string joined;
  joined.reserve(size);
  joined.append(source).append(1, '\0').append(id);
  return hash_128(joined);
}

std::uint32_t shard_index(const topic_ref& topic, std::uint32_t shard_count) {
  std::string joined;
  joined.reserve(topic.tenant.str().size() + 1 + topic.topic.str().size());
  joined.append(topic.tenant.str()).append(1, '\0').append(topic.topic.str());
  return static_cast<std::uint32_t>(hash_64(joined) % shard_count);
}

} // namespace callboard
