// The subprotocol callboard.v1.proto (proto/gateway.proto): operations and answers in Protobuf,
// several to a frame. The fast path for services.
#pragma once

#include "gateway/ws_protocol.hpp"

namespace callboard::gateway {

class proto_protocol final : public ws_protocol {
public:
  [[nodiscard]] ws_opcode opcode() const override { return ws_opcode::binary; }

  [[nodiscard]] bool joins_answers() const override { return true; }

  [[nodiscard]] wire_format live_format() const override { return wire_format::proto; }

  [[nodiscard]] wire_format history_format() const override { return wire_format::proto; }

  void read(
      std::string_view message,
      const read_limits& limits,
      const std::function<void(received_op)>& each) const override;

  void welcome(std::string& out, const welcome_facts& facts) const override;
  void failed(std::string& out, const op_id& id, const error& why) const override;
  void done(std::string& out, const op_id& id) const override;
  void pong(std::string& out, const op_id& id) const override;
  void published(
      std::string& out,
      const op_id& id,
      std::string_view topic,
      const actors::publish_outcome& outcome,
      const std::vector<std::string>& event_ids,
      bool together) const override;
  void subscribed(std::string& out, const op_id& id, const subscribed_facts& facts) const override;
  void pattern_subscribed(
      std::string& out,
      const op_id& id,
      std::uint64_t sub,
      const std::map<std::string, runtime::cursor>& cursors,
      std::string_view since) const override;
  void mark(std::string& out, std::uint64_t sub, std::string_view since) const override;
  void
  answered(std::string& out, const op_id& id, const actors::control_answer& answer) const override;
  void deliveries(
      std::string& out,
      std::string_view topic,
      std::string_view group,
      const actors::delivery_list& list) const override;
  void
  task(std::string& out, const actors::leased_task& task, std::string_view queue) const override;
  void lagging(
      std::string& out,
      std::uint64_t sub,
      std::string_view topic,
      std::uint64_t behind,
      std::uint64_t dropped) const override;
  void caught_up(std::string& out, std::uint64_t sub, std::string_view topic) const override;
  void gap(std::string& out, const gap_facts& facts) const override;
  void sub_failed(
      std::string& out, std::uint64_t sub, std::string_view topic, const error& why) const override;
  void goaway(std::string& out, std::uint32_t reconnect_after_ms) const override;
};

}  // namespace callboard::gateway
