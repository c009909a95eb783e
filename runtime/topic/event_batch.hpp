// Events on their way in (encoded once, hashed once) and out (committed, shared by all receivers).
#pragma once

#include "base/hash.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "base/shared_bytes.hpp"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::runtime {

/// Bytes before the Event in an event record: identity (16) and content hash (8), little-endian.
inline constexpr std::size_t event_prefix_size = 24;

/// Writes the prefix of a stored event to `out[0..24)`.
inline void write_event_prefix(char* out, const hash128& identity, std::uint64_t content) {
  std::memcpy(out, &identity.high, 8);
  std::memcpy(out + 8, &identity.low, 8);
  std::memcpy(out + 16, &content, 8);
}

/// An event that was checked and encoded by the gateway.
struct encoded_event {
  /// Prefix and callboard.v1.Event: exactly the payload of the journal record.
  shared_bytes stored;

  [[nodiscard]] hash128 identity() const {
    hash128 value;
    std::memcpy(&value.high, stored.view().data(), 8);
    std::memcpy(&value.low, stored.view().data() + 8, 8);
    return value;
  }

  /// Hash of the whole Event; differs when the same id comes with other content.
  [[nodiscard]] std::uint64_t content() const {
    std::uint64_t value = 0;
    std::memcpy(&value, stored.view().data() + 16, 8);
    return value;
  }
};

/// The bytes of the callboard.v1.Event inside a stored event.
[[nodiscard]] inline std::string_view event_proto(const shared_bytes& stored) {
  return stored.view().substr(event_prefix_size);
}

/// A committed event. `seq` 0: ephemeral, never stored.
struct delivered_event {
  sequence seq{};
  time_ms time{};
  shared_bytes stored;
};

/// What ephemeral events are to somebody who missed those before them.
enum class frame_role : std::uint8_t {
  /// They stand for themselves.
  event,
  /// They go on from what was told before: worth nothing without it.
  stream,
  /// They tell all of that again, for those who lack it.
  snapshot,
};

/// Consecutive committed events of one topic (or ephemeral ones), shared by everyone they go to.
/// Immutable once made.
struct event_batch {
  topic_ref topic;
  /// First part of every cursor of these events.
  std::string epoch;
  bool ephemeral = false;
  frame_role role = frame_role::event;
  /// Of ephemeral events: the last stored event that went out before them.
  sequence after{};
  std::vector<delivered_event> events;
};

using event_batch_ptr = std::shared_ptr<const event_batch>;

/// The epoch of a topic: entity id and shard incarnation, in hexadecimal.
[[nodiscard]] std::string format_epoch(entity_id entity, incarnation_id incarnation);

/// A position in a topic: its incarnation and the last seq that was seen.
struct cursor {
  std::string epoch;
  sequence seq{};

  [[nodiscard]] std::string str() const { return epoch + ':' + std::to_string(seq.raw()); }
};

}  // namespace callboard::runtime
