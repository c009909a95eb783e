// The CloudEvents WebSocket binding (subprotocol cloudevents.json): one bare event a frame, both
// ways, on the one topic that the address names. There are no acks; what is wrong with an event
// that was sent comes back as an event of type `callboard.error`.
#pragma once

#include "gateway/ws_protocol.hpp"

namespace callboard::gateway {

class cloudevents_protocol final : public ws_protocol {
public:
  [[nodiscard]] ws_opcode opcode() const override { return ws_opcode::text; }

  [[nodiscard]] bool joins_answers() const override { return false; }

  [[nodiscard]] wire_format live_format() const override { return wire_format::cloudevents; }

  [[nodiscard]] wire_format history_format() const override { return wire_format::cloudevents; }

  void read(
      std::string_view message,
      const read_limits& limits,
      const std::function<void(received_op)>& each) const override;

  void failed(std::string& out, const op_id& id, const error& why) const override;
  void gap(std::string& out, const gap_facts& facts) const override;
  void subscribed(std::string& out, const op_id& id, const subscribed_facts& facts) const override;
  void sub_failed(
      std::string& out, std::uint64_t sub, std::string_view topic, const error& why) const override;

  // Bare events have no frames for these.
  void welcome(std::string&, const welcome_facts&) const override {}

  void done(std::string&, const op_id&) const override {}

  void pong(std::string&, const op_id&) const override {}

  void published(
      std::string&,
      const op_id&,
      std::string_view,
      const actors::publish_outcome&,
      const std::vector<std::string>&,
      bool) const override {}

  void pattern_subscribed(
      std::string&,
      const op_id&,
      std::uint64_t,
      const std::map<std::string, runtime::cursor>&,
      std::string_view) const override {}

  void answered(std::string&, const op_id&, const actors::control_answer&) const override {}

  void deliveries(std::string&, std::string_view, std::string_view, const actors::delivery_list&)
      const override {}

  void lagging(
      std::string&, std::uint64_t, std::string_view, std::uint64_t, std::uint64_t) const override {}

  void caught_up(std::string&, std::uint64_t, std::string_view) const override {}

  void goaway(std::string&, std::uint32_t) const override {}
};

}  // namespace callboard::gateway
