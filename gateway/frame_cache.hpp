// A batch of events as frames: rendered once per I/O thread, wire format and subscription id, and
// shared by all connections that get it.
#pragma once

#include "actors/offered_batch.hpp"
#include "base/shared_bytes.hpp"
#include "runtime/subscription/subscription_core.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace callboard::gateway {

enum class wire_format : std::uint8_t {
  /// `event` frames of callboard.v1.json.
  json,
  /// `events` frames of callboard.v1.json, several events in each.
  json_together,
  /// ServerFrame with one Delivery.
  proto,
  /// Bare CloudEvents in text frames.
  cloudevents,
  /// Records of an event stream, `id:` is the cursor.
  sse,
  /// The same without `id:`, which for patterns says more than a batch knows and ephemeral events
  /// do not have there: these say their topic themselves.
  sse_pattern,
};

/// Attached to each batch. Bounds: `runs_max` renderings, the oldest goes first.
class frame_cache final : public actors::batch_attachment {
public:
  /// The cache of a batch, made when first asked for.
  [[nodiscard]] static frame_cache& of(actors::offered_batch& batch);

  struct frames {
    shared_bytes bytes;
    std::uint32_t events = 0;
    std::uint32_t frame_count = 0;
  };

  /// Frames for as many events of `planned` as fit into `room_bytes` and `room_frames`; at least
  /// one event if `must_send`. `sub` is the subscription id that the frames name.
  [[nodiscard]] frames take(
      wire_format format,
      std::uint64_t sub,
      runtime::portion planned,
      std::uint64_t room_bytes,
      std::uint64_t room_frames,
      bool must_send);

private:
  explicit frame_cache(actors::offered_batch& batch) : batch_{&batch} {}

  /// Consecutive frames, one per event.
  struct run {
    wire_format format{};
    std::uint64_t sub = 0;
    /// For formats with several events in a frame.
    runtime::portion part;
    std::shared_ptr<const std::string> bytes;
    std::vector<std::uint32_t> ends;
  };

  struct span {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };

  frames take_singles(
      wire_format format,
      std::uint64_t sub,
      runtime::portion planned,
      std::uint64_t room_bytes,
      std::uint64_t room_frames,
      bool must_send);
  frames take_together(
      wire_format format,
      std::uint64_t sub,
      runtime::portion planned,
      std::uint64_t room_bytes,
      bool must_send);
  const run& singles(wire_format format, std::uint64_t sub);
  void keep(run made);
  void append_event(std::string& out, std::size_t index);
  void render_single(std::string& out, wire_format format, std::uint64_t sub, std::size_t index);
  [[nodiscard]] std::string render_json_together(std::uint64_t sub, runtime::portion part);
  [[nodiscard]] std::string render_proto(std::uint64_t sub, runtime::portion part) const;

  actors::offered_batch* batch_;
  std::vector<run> runs_;
  /// Each event's CloudEvent in JSON, once rendered: slices of `json_owner_`.
  std::vector<span> json_;
  std::string json_text_;
};

}  // namespace callboard::gateway
