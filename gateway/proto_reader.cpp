// Operations of callboard.v1.proto, read.
#include "gateway/json_text.hpp"
#include "gateway/proto_protocol.hpp"
#include "proto/gateway.pb.h"

#include <google/protobuf/arena.h>

namespace callboard::gateway {

namespace {

constexpr int deliveries_per_ack_max = 10'000;

result<client_op> read_publish(const v1::Publish& from, const read_limits& limits) {
  ops::publish op;
  op.topic = from.topic();
  op.together = from.events_size() != 1;
  op.ephemeral = from.ephemeral();
  if (from.has_expected_seq()) op.expected = sequence{from.expected_seq()};
  if (from.durability() != v1::DURABILITY_DEFAULT) {
    if (from.durability() < v1::WRITTEN || from.durability() > v1::REPLICATED) {
      return fail(errc::bad_request, "durability must be WRITTEN, SYNCED or REPLICATED");
    }
    op.level = static_cast<durability>(from.durability());
  }
  if (from.events_size() == 0) return fail(errc::bad_request, "publish has no events");
  if (static_cast<std::uint32_t>(from.events_size()) > limits.batch_events_max) {
    return fail(
        errc::too_large,
        "a batch has at most " + std::to_string(limits.batch_events_max) + " events");
  }
  op.events.reserve(static_cast<std::size_t>(from.events_size()));
  for (const auto& event : from.events()) {
    auto encoded = encode_event(event, limits.event_bytes_max);
    if (!encoded) {
      auto why = encoded.error();
      if (op.together) {
        why.detail = "event " + std::to_string(op.events.size()) + ": " + why.detail;
      }
      return std::unexpected{std::move(why)};
    }
    op.events.push_back(std::move(*encoded));
  }
  return op;
}

ops::subscribe read_subscribe(const v1::Subscribe& from) {
  ops::subscribe op{
      .topic = from.topic(),
      .from = from.from(),
      .cursors = {},
      .credits = {},
      .slow = from.slow()};
  for (const auto& [topic, cursor] : from.cursors())
    op.cursors.emplace(topic, cursor);
  if (from.has_credits()) op.credits = from.credits();
  return op;
}

result<client_op> read_presence(const v1::Presence& from) {
  ops::presence op{from.topic(), from.action(), from.member(), {}};
  if (!from.state().empty()) {
    if (auto checked = check_json(from.state()); !checked) {
      return std::unexpected{checked.error()};
    }
    if (trim_json(from.state()).front() != '{') {
      return fail(errc::bad_request, "presence state must be a JSON object");
    }
    append_minified(op.state, from.state());
  }
  return op;
}

template <class Message>
result<std::vector<std::string>> read_deliveries(const Message& from) {
  if (from.deliveries_size() > deliveries_per_ack_max) {
    return fail(errc::too_large, "too many deliveries at once");
  }
  return std::vector<std::string>{from.deliveries().begin(), from.deliveries().end()};
}

result<client_op> read_ack(const v1::GroupAck& from) {
  auto deliveries = read_deliveries(from);
  if (!deliveries) return std::unexpected{deliveries.error()};
  ops::ack op{from.topic(), from.group(), std::move(*deliveries), {}};
  if (from.has_up_to_seq()) op.up_to = sequence{from.up_to_seq()};
  if (op.deliveries.empty() && !op.up_to) return fail(errc::bad_request, "ack names no delivery");
  return op;
}

result<client_op> read_nack(const v1::GroupNack& from) {
  auto deliveries = read_deliveries(from);
  if (!deliveries) return std::unexpected{deliveries.error()};
  if (deliveries->empty()) return fail(errc::bad_request, "nack names no delivery");
  ops::nack op{from.topic(), from.group(), std::move(*deliveries), {}, from.error()};
  if (from.has_delay_ms()) {
    op.delay_ms = static_cast<std::uint32_t>(std::min<std::uint64_t>(from.delay_ms(), UINT32_MAX));
  }
  return op;
}

result<client_op> read_work(const v1::Work& from) {
  ops::work op{from.queue(), from.credits(), {}, from.worker()};
  if (from.has_lease_ms()) op.lease_ms = from.lease_ms();
  return op;
}

result<client_op> read_complete(const v1::CompleteTask& from) {
  if (!from.result().empty()) {
    if (auto checked = check_value(from.result()); !checked) {
      return std::unexpected{checked.error()};
    }
  }
  return ops::complete{from.lease(), from.result()};
}

result<client_op> read_fail(const v1::FailTask& from) {
  ops::fail op{from.lease(), from.error(), !from.permanent(), {}};
  if (from.has_retry_after_ms()) op.retry_after_ms = from.retry_after_ms();
  return op;
}

result<client_op> read_extend(const v1::ExtendLease& from) {
  ops::extend op{from.lease(), {}};
  if (from.has_lease_ms()) op.lease_ms = from.lease_ms();
  return op;
}

result<client_op> read_op(const v1::ClientOp& from, const read_limits& limits) {
  switch (from.op_case()) {
  case v1::ClientOp::kPublish:
    return read_publish(from.publish(), limits);
  case v1::ClientOp::kSubscribe:
    return read_subscribe(from.subscribe());
  case v1::ClientOp::kUnsubscribe:
    return ops::unsubscribe{from.unsubscribe().sub()};
  case v1::ClientOp::kCredit:
    return ops::credit{from.credit().sub(), from.credit().credits()};
  case v1::ClientOp::kPresence:
    return read_presence(from.presence());
  case v1::ClientOp::kAuth:
    return ops::auth{from.auth().token()};
  case v1::ClientOp::kPing:
    return ops::ping{};
  case v1::ClientOp::kConsume:
    return ops::consume{from.consume().topic(), from.consume().group(), from.consume().credits()};
  case v1::ClientOp::kAck:
    return read_ack(from.ack());
  case v1::ClientOp::kNack:
    return read_nack(from.nack());
  case v1::ClientOp::kWork:
    return read_work(from.work());
  case v1::ClientOp::kComplete:
    return read_complete(from.complete());
  case v1::ClientOp::kFail:
    return read_fail(from.fail());
  case v1::ClientOp::kExtend:
    return read_extend(from.extend());
  case v1::ClientOp::OP_NOT_SET:
    break;
  }
  return fail(errc::bad_request, "an operation of a kind that is not known here");
}

}  // namespace

void proto_protocol::read(
    std::string_view message,
    const read_limits& limits,
    const std::function<void(received_op)>& each) const {
  google::protobuf::Arena arena;
  auto* frame = google::protobuf::Arena::CreateMessage<v1::ClientFrame>(&arena);
  if (!frame->ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return each({{}, fail(errc::bad_request, "the frame is not a callboard.v1.ClientFrame")});
  }
  for (const auto& op : frame->ops()) {
    each({{.number = op.id(), .text = {}, .given = true}, read_op(op, limits)});
  }
}

}  // namespace callboard::gateway
