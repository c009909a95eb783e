#include "gateway/stream_frame.hpp"

#include "gateway/event_fields.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace callboard::gateway {

namespace {

/// The id of a frame's event is "<run>.<step>.<attempt>.<round>.<what>", and `what` "reset", an
/// index, or "to" and an index (runtime/workflow/model_events.cpp).
struct frame_name {
  std::string_view step = "0";
  std::string_view attempt = "0";
  std::string_view index = "0";
};

frame_name parse_frame(std::string_view id) {
  std::array<std::string_view, 5> parts;
  for (auto& part : parts) {
    const auto dot = id.find('.');
    part = id.substr(0, dot);
    id.remove_prefix(dot == std::string_view::npos ? id.size() : dot + 1);
  }
  auto what = parts[4];
  if (what.starts_with("to")) what.remove_prefix(2);
  if (what == "reset" || what.empty()) what = "0";
  return {parts[1], parts[2], what};
}

}  // namespace

std::string
stream_frame_id(const runtime::event_batch& batch, const runtime::delivered_event& event) {
  thread_local event_fields fields;
  frame_name name;
  if (read_event_proto(runtime::event_proto(event.stored), fields)) name = parse_frame(fields.id);
  return fmt::format(
      "{}:{}/{}.{}.{}", batch.epoch, batch.after.raw(), name.step, name.attempt, name.index);
}

}  // namespace callboard::gateway
