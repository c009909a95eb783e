#include "gateway/cloudevents_protocol.hpp"

#include "gateway/problem.hpp"

#include <fmt/format.h>

#include <iterator>

namespace callboard::gateway {

namespace {

/// An event of ours about the stream itself. It is never stored, so that its id need only be its
/// own: what it says.
void append_notice(std::string& out, std::string_view type, std::string_view data) {
  fmt::format_to(
      std::back_inserter(out),
      R"({{"specversion":"1.0","id":"{:016x}","source":"/callboard","type":"{}",)"
      R"("datacontenttype":"application/json","data":{}}})",
      hash_64(data),
      type,
      data);
}

std::string gap_data(const gap_facts& facts) {
  auto data = fmt::format(
      R"({{"recovered":false,"topic":"{}","reason":"{}","first_seq":{})",
      facts.topic,
      name_of(facts.reason),
      facts.first_available.raw());
  if (facts.gone) {
    fmt::format_to(
        std::back_inserter(data),
        R"(,"from":{},"to":{})",
        facts.gone->from.raw(),
        facts.gone->to.raw());
  }
  return data + '}';
}

}  // namespace

void cloudevents_protocol::read(
    std::string_view message,
    const read_limits& limits,
    const std::function<void(received_op)>& each) const {
  event_defaults defaults;
  defaults.event_bytes_max = limits.event_bytes_max;
  auto event = decode_structured(message, defaults);
  if (!event) return each({{}, std::unexpected{event.error()}});
  ops::publish op;
  op.topic = limits.topic;
  op.events.push_back(std::move(*event));
  each({{}, client_op{std::move(op)}});
}

void cloudevents_protocol::failed(std::string& out, const op_id&, const error& why) const {
  std::string data = "{";
  append_error_members(data, why);
  data += '}';
  append_notice(out, "callboard.error", data);
}

void cloudevents_protocol::sub_failed(
    std::string& out, std::uint64_t, std::string_view, const error& why) const {
  failed(out, {}, why);
}

void cloudevents_protocol::gap(std::string& out, const gap_facts& facts) const {
  append_notice(out, "callboard.gap", gap_data(facts));
}

void cloudevents_protocol::subscribed(
    std::string& out, const op_id&, const subscribed_facts& facts) const {
  if (facts.reason == runtime::loss::none) return;
  gap(out,
      {.sub = facts.sub,
       .topic = facts.topic,
       .epoch = facts.epoch,
       .reason = facts.reason,
       .gone = std::nullopt,
       .first_available = facts.first_available});
}

}  // namespace callboard::gateway
