// Answers of callboard.v1.proto, written. Field numbers as in proto/gateway.proto.
#include "gateway/proto_writer.hpp"

#include "gateway/json_protocol.hpp"
#include "gateway/proto_protocol.hpp"

namespace callboard::gateway {

namespace {

using namespace proto_wire;

/// ServerOp members.
enum server_op : std::uint32_t {
  op_welcome = 2,
  op_published = 3,
  op_subscribed = 4,
  op_done = 5,
  op_error = 6,
  op_lagging = 8,
  op_caught_up = 9,
  op_goaway = 10,
  op_pong = 11,
  op_json = 12,
  op_deliveries = 13,
  op_task = 14,
};

/// One element of ServerFrame.ops.
void put_op(std::string& out, const op_id& id, server_op member, std::string_view body) {
  std::string op;
  op.reserve(body.size() + 24);
  put_number(op, 1, id.number);
  put_message(op, member, body);
  put_message(out, 1, op);
}

void put_error(std::string& out, const op_id& id, const error& why) {
  std::string body;
  put_text(body, 1, name_of(why.code));
  put_text(body, 2, why.detail);
  put_number(body, 3, why.retry_after_ms);
  put_op(out, id, op_error, body);
}

const json_protocol& json() {
  static const json_protocol shared;
  return shared;
}

}  // namespace

void proto_protocol::welcome(std::string& out, const welcome_facts& facts) const {
  std::string body;
  put_text(body, 1, facts.connection);
  put_text(body, 2, facts.node);
  put_number(body, 3, facts.frame_bytes_max);
  put_number(body, 4, facts.batch_events_max);
  put_number(body, 5, facts.subscriptions_max);
  put_number(body, 6, facts.requests_in_flight_max);
  put_number(body, 7, facts.ping_interval_ms);
  put_op(out, {}, op_welcome, body);
}

void proto_protocol::failed(std::string& out, const op_id& id, const error& why) const {
  put_error(out, id, why);
}

void proto_protocol::done(std::string& out, const op_id& id) const {
  put_op(out, id, op_done, {});
}

void proto_protocol::pong(std::string& out, const op_id& id) const {
  put_op(out, id, op_pong, {});
}

void proto_protocol::published(
    std::string& out,
    const op_id& id,
    std::string_view,
    const actors::publish_outcome& outcome,
    const std::vector<std::string>&,
    bool) const {
  std::string body;
  put_number(body, 1, outcome.first_seq.raw());
  if (outcome.epoch) put_text(body, 2, *outcome.epoch);
  if (outcome.first_seq != sequence{}) {
    put_number(body, 3, static_cast<std::uint64_t>(outcome.reached));
  }
  for (const auto& one : outcome.events) {
    std::string each;
    put_number(each, 1, one.seq.raw());
    put_number(each, 2, one.duplicate ? 1 : 0);
    put_message(body, 4, each);
  }
  put_op(out, id, op_published, body);
}

void proto_protocol::subscribed(
    std::string& out, const op_id& id, const subscribed_facts& facts) const {
  const auto epoch = facts.epoch.empty() ? runtime::epoch_of_nothing : facts.epoch;
  std::string body;
  put_number(body, 1, facts.sub);
  put_text(body, 2, epoch);
  put_text(body, 3, std::string{epoch} + ':' + std::to_string(facts.after.raw()));
  put_number(body, 4, facts.reason == runtime::loss::none ? 1 : 0);
  if (facts.reason != runtime::loss::none) put_text(body, 5, name_of(facts.reason));
  put_number(body, 6, facts.first_available.raw());
  put_op(out, id, op_subscribed, body);
}

void proto_protocol::pattern_subscribed(
    std::string& out,
    const op_id& id,
    std::uint64_t sub,
    const std::map<std::string, runtime::cursor>& cursors,
    std::string_view since) const {
  std::string text;
  json().pattern_subscribed(text, {}, sub, cursors, since);
  put_op(out, id, op_json, text);
}

void proto_protocol::mark(std::string& out, std::uint64_t sub, std::string_view since) const {
  std::string text;
  json().mark(text, sub, since);
  put_op(out, {}, op_json, text);
}

void proto_protocol::answered(
    std::string& out, const op_id& id, const actors::control_answer& answer) const {
  if (std::holds_alternative<actors::done>(answer)) return done(out, id);
  std::string text;
  json().answered(text, {}, answer);
  put_op(out, id, op_json, text);
}

void proto_protocol::deliveries(
    std::string& out,
    std::string_view topic,
    std::string_view group,
    const actors::delivery_list& list) const {
  std::string body;
  put_text(body, 1, topic);
  put_text(body, 2, group);
  for (const auto& one : list.deliveries) {
    std::string each;
    put_text(each, 1, one.token);
    put_number(each, 2, one.event.seq.raw());
    put_number(each, 3, one.attempt);
    put_message(each, 4, runtime::event_proto(one.event.stored));
    put_message(body, 3, each);
  }
  put_text(body, 4, list.epoch);
  put_op(out, {}, op_deliveries, body);
}

void proto_protocol::task(
    std::string& out, const actors::leased_task& task, std::string_view queue) const {
  const auto ms = [](time_ms time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count());
  };
  std::string body;
  put_text(body, 1, queue);
  put_number(body, 2, task.task.raw());
  put_text(body, 3, task.lease);
  put_number(body, 4, task.fencing);
  put_number(body, 5, task.attempt);
  put_number(body, 6, task.attempts_max);
  put_number(body, 7, static_cast<std::uint64_t>(task.priority));
  put_number(body, 8, task.lease_ms);
  put_text(body, 9, task.payload.view());
  put_number(body, 10, ms(task.enqueued));
  put_number(body, 11, ms(task.deadline));
  put_op(out, {}, op_task, body);
}

void proto_protocol::lagging(
    std::string& out,
    std::uint64_t sub,
    std::string_view topic,
    std::uint64_t behind,
    std::uint64_t dropped) const {
  std::string body;
  put_number(body, 1, sub);
  put_text(body, 2, topic);
  put_number(body, 3, behind);
  put_number(body, 4, dropped);
  put_op(out, {}, op_lagging, body);
}

void proto_protocol::caught_up(std::string& out, std::uint64_t sub, std::string_view topic) const {
  std::string body;
  put_number(body, 1, sub);
  put_text(body, 2, topic);
  put_op(out, {}, op_caught_up, body);
}

void proto_protocol::gap(std::string& out, const gap_facts& facts) const {
  std::string text;
  json().gap(text, facts);
  put_op(out, {}, op_json, text);
}

void proto_protocol::sub_failed(
    std::string& out, std::uint64_t sub, std::string_view topic, const error& why) const {
  std::string text;
  json().sub_failed(text, sub, topic, why);
  put_op(out, {}, op_json, text);
}

void proto_protocol::goaway(std::string& out, std::uint32_t reconnect_after_ms) const {
  std::string body;
  put_number(body, 1, reconnect_after_ms);
  put_op(out, {}, op_goaway, body);
}

}  // namespace callboard::gateway
