// Where a reader stands who has seen a frame of a model's stream, as an id to resume with.
#pragma once

#include "runtime/topic/event_batch.hpp"

#include <string>

namespace callboard::gateway {

/// "<epoch>:<seq>/<step>.<attempt>.<index>": what was stored before the frame, then the frame. A
/// reset counts as index 0. `runtime::parse_position` reads it.
/// Precondition: `event` is one of `batch`, whose role is stream or snapshot.
[[nodiscard]] std::string
stream_frame_id(const runtime::event_batch& batch, const runtime::delivered_event& event);

}  // namespace callboard::gateway
