#include "gateway/frame_cache.hpp"

#include "gateway/event_codec.hpp"
#include "gateway/problem.hpp"
#include "gateway/proto_writer.hpp"
#include "gateway/stream_frame.hpp"
#include "gateway/websocket_wire.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace callboard::gateway {

namespace {

constexpr std::size_t runs_max = 16;
/// What a frame adds to an event, about; only for estimates of what fits.
constexpr std::uint64_t envelope_estimate = 160;

}  // namespace

frame_cache& frame_cache::of(actors::offered_batch& batch) {
  if (batch.attachment == nullptr) batch.attachment.reset(new frame_cache{batch});
  return static_cast<frame_cache&>(*batch.attachment);
}

frame_cache::frames frame_cache::take(
    wire_format format,
    std::uint64_t sub,
    runtime::portion planned,
    std::uint64_t room_bytes,
    std::uint64_t room_frames,
    bool must_send) {
  if (room_frames == 0 && !must_send) return {};
  if (format == wire_format::proto || format == wire_format::json_together) {
    return take_together(format, sub, planned, room_bytes, must_send);
  }
  return take_singles(
      format, sub, planned, room_bytes, std::max<std::uint64_t>(room_frames, 1), must_send);
}

frame_cache::frames frame_cache::take_singles(
    wire_format format,
    std::uint64_t sub,
    runtime::portion planned,
    std::uint64_t room_bytes,
    std::uint64_t room_frames,
    bool must_send) {
  const auto& made = singles(format, sub);
  const std::uint32_t begin = planned.skip == 0 ? 0 : made.ends[planned.skip - 1];
  const auto size_of = [&](std::uint32_t count) {
    return count == 0 ? 0U : made.ends[planned.skip + count - 1] - begin;
  };
  auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(planned.count, room_frames));
  if (size_of(count) > room_bytes) {
    const auto from = made.ends.begin() + planned.skip;
    const auto fits = std::upper_bound(from, from + count, begin + room_bytes);
    count = static_cast<std::uint32_t>(fits - from);
  }
  if (count == 0 && must_send) count = 1;
  if (count == 0) return {};
  return {
      shared_bytes{made.bytes, std::string_view{*made.bytes}.substr(begin, size_of(count))},
      count,
      count};
}

frame_cache::frames frame_cache::take_together(
    wire_format format,
    std::uint64_t sub,
    runtime::portion planned,
    std::uint64_t room_bytes,
    bool must_send) {
  auto part = planned;
  std::uint64_t size = 0;
  for (part.count = 0; part.count < planned.count; ++part.count) {
    size += batch_->batch->events[planned.skip + part.count].stored.size() + envelope_estimate;
    if (size > room_bytes && !(must_send && part.count == 0)) break;
  }
  if (part.count == 0) return {};
  const auto found = std::ranges::find_if(runs_, [&](const run& one) {
    return one.format == format && one.sub == sub && one.part.skip == part.skip
           && one.part.count == part.count;
  });
  if (found != runs_.end()) return {shared_bytes{found->bytes, *found->bytes}, part.count, 1};
  auto bytes = std::make_shared<const std::string>(
      format == wire_format::proto ? render_proto(sub, part) : render_json_together(sub, part));
  keep({format, sub, part, bytes, {}});
  return {shared_bytes{bytes, *bytes}, part.count, 1};
}

void frame_cache::keep(run made) {
  if (runs_.size() >= runs_max) runs_.erase(runs_.begin());
  runs_.push_back(std::move(made));
}

const frame_cache::run& frame_cache::singles(wire_format format, std::uint64_t sub) {
  const auto found = std::ranges::find_if(
      runs_, [&](const run& one) { return one.format == format && one.sub == sub; });
  if (found != runs_.end()) return *found;
  run made{.format = format, .sub = sub};
  const auto count = batch_->batch->events.size();
  auto bytes = std::make_shared<std::string>();
  bytes->reserve(batch_->bytes + count * envelope_estimate);
  made.ends.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    render_single(*bytes, format, sub, i);
    made.ends.push_back(static_cast<std::uint32_t>(bytes->size()));
  }
  made.bytes = std::move(bytes);
  keep(std::move(made));
  return runs_.back();
}

void frame_cache::append_event(std::string& out, std::size_t index) {
  if (json_.empty()) json_.resize(batch_->batch->events.size());
  auto& at = json_[index];
  if (at.size == 0) {
    const auto& event = batch_->batch->events[index];
    at.begin = static_cast<std::uint32_t>(json_text_.size());
    append_event_json(json_text_, event.stored, event.time);
    at.size = static_cast<std::uint32_t>(json_text_.size()) - at.begin;
  }
  out += std::string_view{json_text_}.substr(at.begin, at.size);
}

void frame_cache::render_single(
    std::string& out, wire_format format, std::uint64_t sub, std::size_t index) {
  const auto& batch = *batch_->batch;
  const auto& event = batch.events[index];
  thread_local std::string payload;
  payload.clear();
  const auto add = std::back_inserter(payload);
  if (format == wire_format::cloudevents) {
    append_event(payload, index);
  } else if (format == wire_format::json) {
    fmt::format_to(add, R"({{"op":"event","sub":{},"topic":"{}",)", sub, batch.topic.topic.str());
    if (batch.ephemeral) {
      payload += R"("ephemeral":true,)";
      if (batch.role != runtime::frame_role::event) {
        fmt::format_to(add, R"("cursor":"{}",)", stream_frame_id(batch, event));
      }
      payload += R"("event":)";
    } else {
      const auto seq = event.seq.raw();
      fmt::format_to(add, R"("seq":{},"cursor":"{}:{}","event":)", seq, batch.epoch, seq);
    }
    append_event(payload, index);
    payload += '}';
  } else {
    if (!batch.ephemeral && format == wire_format::sse) {
      fmt::format_to(add, "id: {}:{}\n", batch.epoch, event.seq.raw());
    } else if (batch.role != runtime::frame_role::event && format == wire_format::sse) {
      fmt::format_to(add, "id: {}\n", stream_frame_id(batch, event));
    }
    payload += "event: ";
    payload += event_type(event.stored);
    payload += "\ndata: ";
    if (batch.ephemeral && format == wire_format::sse_pattern) {
      append_event_json(payload, event.stored, event.time, batch.topic.topic.str());
    } else {
      append_event(payload, index);
    }
    payload += "\n\n";
    out += payload;
    return;
  }
  append_ws_frame(out, ws_opcode::text, payload);
}

std::string frame_cache::render_json_together(std::uint64_t sub, runtime::portion part) {
  const auto& batch = *batch_->batch;
  std::string payload;
  payload.reserve(batch_->bytes + part.count * envelope_estimate);
  const auto add = std::back_inserter(payload);
  fmt::format_to(
      add, R"({{"op":"events","sub":{},"topic":"{}","events":[)", sub, batch.topic.topic.str());
  for (std::uint32_t i = 0; i < part.count; ++i) {
    const auto index = part.skip + i;
    const auto seq = batch.events[index].seq.raw();
    if (i != 0) payload += ',';
    fmt::format_to(add, R"({{"seq":{},"cursor":"{}:{}","event":)", seq, batch.epoch, seq);
    append_event(payload, index);
    payload += '}';
  }
  payload += "]}";
  std::string out;
  out.reserve(payload.size() + 10);
  append_ws_frame(out, ws_opcode::text, payload);
  return out;
}

/// ServerFrame.ops[0].delivery, field numbers as in proto/gateway.proto.
std::string frame_cache::render_proto(std::uint64_t sub, runtime::portion part) const {
  using namespace proto_wire;
  const auto& batch = *batch_->batch;
  std::string delivery;
  delivery.reserve(batch_->bytes + part.count * 16 + 64);
  put_number(delivery, 1, sub);
  put_text(delivery, 2, batch.topic.topic.str());
  put_text(delivery, 3, batch.epoch);
  if (!batch.ephemeral) put_number(delivery, 4, batch.events[part.skip].seq.raw());
  std::string times;
  for (std::uint32_t i = 0; i < part.count; ++i) {
    const auto& event = batch.events[part.skip + i];
    put_message(delivery, 5, runtime::event_proto(event.stored));
    put_varint(times, static_cast<std::uint64_t>(event.time.time_since_epoch().count()));
  }
  put_message(delivery, 6, times);
  if (batch.ephemeral && batch.after != sequence{}) put_number(delivery, 7, batch.after.raw());
  const auto op_size = 1 + varint_size(delivery.size()) + delivery.size();
  std::string out;
  out.reserve(delivery.size() + 32);
  append_ws_header(out, ws_opcode::binary, 1 + varint_size(op_size) + op_size);
  put_key(out, 1, 2);
  put_varint(out, op_size);
  put_message(out, 7, delivery);
  return out;
}

}  // namespace callboard::gateway
