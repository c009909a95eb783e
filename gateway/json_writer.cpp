// Answers of callboard.v1.json, written. Topics, epochs and our own names need no escaping.
#include "gateway/json_protocol.hpp"
#include "gateway/problem.hpp"
#include "gateway/queue_json.hpp"

#include <fmt/format.h>

#include <iterator>

namespace callboard::gateway {

namespace {

template <class... Args>
void add(std::string& out, fmt::format_string<Args...> text, Args&&... args) {
  fmt::format_to(std::back_inserter(out), text, std::forward<Args>(args)...);
}

/// `{"op":"<op>"` and the client's id, if it gave one.
void begin(std::string& out, std::string_view op, const op_id& id) {
  out += R"({"op":")";
  out += op;
  out += '"';
  if (!id.given) return;
  if (id.text.empty()) {
    add(out, R"(,"id":{})", id.number);
  } else {
    out += R"(,"id":)";
    out += id.text;
  }
}

std::string_view epoch_or_none(std::string_view epoch) {
  return epoch.empty() ? runtime::epoch_of_nothing : epoch;
}

void append_deliveries(std::string& out, const actors::delivery_list& list) {
  out += R"("deliveries":[)";
  bool first = true;
  for (const auto& one : list.deliveries) {
    if (!std::exchange(first, false)) out += ',';
    const auto seq = one.event.seq.raw();
    out += R"({"delivery":)";
    append_json_string(out, one.token);
    add(out,
        R"(,"attempt":{},"seq":{},"cursor":"{}:{}","event":)",
        one.attempt,
        seq,
        list.epoch,
        seq);
    append_event_json(out, one.event.stored, one.event.time);
    out += '}';
  }
  out += ']';
}

void append_answer(std::string& out, const actors::ack_result& result) {
  add(out, R"(,"floor":{},"lost":[)", result.floor.raw());
  bool first = true;
  for (const auto& token : result.lost) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, token);
  }
  out += ']';
}

void append_answer(std::string& out, const actors::presence_members& presence) {
  add(out, R"(,"version":{},"members":[)", presence.version);
  bool first = true;
  for (const auto& one : presence.members) {
    if (!std::exchange(first, false)) out += ',';
    out += R"({"member":)";
    append_json_string(out, one.member);
    add(out,
        R"(,"state":{},"version":{},"present":{}}})",
        one.state.empty() ? std::string_view{"{}"} : std::string_view{one.state},
        one.version,
        one.present);
  }
  out += ']';
}

void append_answer(std::string& out, const actors::delivery_list& list) {
  out += ',';
  append_deliveries(out, list);
}

template <class Other>
void append_answer(std::string&, const Other&) {}

void append_answer(std::string& out, const queue_answer auto& answer) {
  out += ',';
  append_members(out, answer);
}

}  // namespace

void json_protocol::welcome(std::string& out, const welcome_facts& facts) const {
  out += R"({"op":"welcome","connection":)";
  append_json_string(out, facts.connection);
  out += R"(,"node":)";
  append_json_string(out, facts.node);
  add(out,
      R"(,"limits":{{"frame_bytes_max":{},"batch_events_max":{},"subscriptions_max":{},)"
      R"("requests_in_flight_max":{},"ping_interval_ms":{}}}}})",
      facts.frame_bytes_max,
      facts.batch_events_max,
      facts.subscriptions_max,
      facts.requests_in_flight_max,
      facts.ping_interval_ms);
}

void json_protocol::failed(std::string& out, const op_id& id, const error& why) const {
  begin(out, "error", id);
  out += ',';
  append_error_members(out, why);
  out += '}';
}

void json_protocol::done(std::string& out, const op_id& id) const {
  begin(out, "ok", id);
  out += '}';
}

void json_protocol::pong(std::string& out, const op_id& id) const {
  begin(out, "pong", id);
  out += '}';
}

void json_protocol::published(
    std::string& out,
    const op_id& id,
    std::string_view topic,
    const actors::publish_outcome& outcome,
    const std::vector<std::string>& event_ids,
    bool together) const {
  const std::string_view epoch = outcome.epoch ? *outcome.epoch : std::string_view{};
  const auto append_event = [&](std::size_t index) {
    const bool listed = index < outcome.events.size();
    const auto seq = listed                            ? outcome.events[index].seq
                     : outcome.first_seq == sequence{} ? sequence{}
                                                       : outcome.first_seq.plus(index);
    if (seq != sequence{}) {
      add(out, R"("seq":{},"cursor":"{}:{}",)", seq.raw(), epoch, seq.raw());
    }
    out += R"("event_id":)";
    append_json_string(out, event_ids[index]);
    out += listed && outcome.events[index].duplicate ? R"(,"duplicate":true)"
                                                     : R"(,"duplicate":false)";
  };
  begin(out, "ok", id);
  add(out, R"(,"topic":"{}",)", topic);
  if (!together) {
    append_event(0);
  } else {
    out += R"("results":[)";
    for (std::size_t i = 0; i < event_ids.size(); ++i) {
      if (i != 0) out += ',';
      out += '{';
      append_event(i);
      out += '}';
    }
    out += ']';
  }
  if (outcome.first_seq == sequence{} && outcome.events.empty()) {
    out += R"(,"ephemeral":true})";
  } else {
    add(out, R"(,"durability":"{}"}})", name_of(outcome.reached));
  }
}

void json_protocol::subscribed(
    std::string& out, const op_id& id, const subscribed_facts& facts) const {
  const auto epoch = epoch_or_none(facts.epoch);
  begin(out, "ok", id);
  add(out,
      R"(,"sub":{},"topic":"{}","epoch":"{}","seq":{},"cursor":"{}:{}","recovered":{})",
      facts.sub,
      facts.topic,
      epoch,
      facts.after.raw(),
      epoch,
      facts.after.raw(),
      facts.reason == runtime::loss::none);
  if (facts.reason != runtime::loss::none) {
    add(out,
        R"(,"reason":"{}","first_seq":{})",
        name_of(facts.reason),
        facts.first_available.raw());
  }
  out += '}';
}

void json_protocol::pattern_subscribed(
    std::string& out,
    const op_id& id,
    std::uint64_t sub,
    const std::map<std::string, runtime::cursor>& cursors,
    std::string_view since) const {
  begin(out, "ok", id);
  add(out, R"(,"sub":{},"cursors":{{)", sub);
  bool first = true;
  for (const auto& [topic, at] : cursors) {
    if (!std::exchange(first, false)) out += ',';
    add(out, R"("{}":"{}:{}")", topic, epoch_or_none(at.epoch), at.seq.raw());
  }
  add(out, R"(}},"complete":{})", since.empty());
  if (!since.empty()) add(out, R"(,"since":"{}")", since);
  out += '}';
}

void json_protocol::mark(std::string& out, std::uint64_t sub, std::string_view since) const {
  add(out, R"({{"op":"mark","sub":{},"since":"{}"}})", sub, since);
}

void json_protocol::answered(
    std::string& out, const op_id& id, const actors::control_answer& answer) const {
  begin(out, "ok", id);
  std::visit([&](const auto& one) { append_answer(out, one); }, answer);
  out += '}';
}

void json_protocol::deliveries(
    std::string& out,
    std::string_view topic,
    std::string_view group,
    const actors::delivery_list& list) const {
  add(out, R"({{"op":"deliveries","topic":"{}","group":)", topic);
  append_json_string(out, group);
  out += ',';
  append_deliveries(out, list);
  out += '}';
}

void json_protocol::task(
    std::string& out, const actors::leased_task& task, std::string_view queue) const {
  add(out, R"({{"op":"task","queue":"{}",)", queue);
  append_members(out, task);
  out += '}';
}

void json_protocol::lagging(
    std::string& out,
    std::uint64_t sub,
    std::string_view topic,
    std::uint64_t behind,
    std::uint64_t dropped) const {
  add(out,
      R"({{"op":"lagging","sub":{},"topic":"{}","events":{},"dropped":{}}})",
      sub,
      topic,
      behind,
      dropped);
}

void json_protocol::caught_up(std::string& out, std::uint64_t sub, std::string_view topic) const {
  add(out, R"({{"op":"caught_up","sub":{},"topic":"{}"}})", sub, topic);
}

void json_protocol::gap(std::string& out, const gap_facts& facts) const {
  const auto epoch = epoch_or_none(facts.epoch);
  const auto before = facts.first_available.raw() == 0 ? 0 : facts.first_available.raw() - 1;
  add(out,
      R"({{"op":"gap","sub":{},"topic":"{}","recovered":false,"reason":"{}","epoch":"{}",)"
      R"("first_seq":{},"cursor":"{}:{}")",
      facts.sub,
      facts.topic,
      name_of(facts.reason),
      epoch,
      facts.first_available.raw(),
      epoch,
      before);
  if (facts.gone) {
    add(out, R"(,"from":{},"to":{})", facts.gone->from.raw(), facts.gone->to.raw());
  }
  out += '}';
}

void json_protocol::sub_failed(
    std::string& out, std::uint64_t sub, std::string_view topic, const error& why) const {
  add(out, R"({{"op":"error","sub":{},"topic":"{}",)", sub, topic);
  append_error_members(out, why);
  out += '}';
}

void json_protocol::goaway(std::string& out, std::uint32_t reconnect_after_ms) const {
  add(out, R"({{"op":"goaway","reconnect_after_ms":{}}})", reconnect_after_ms);
}

}  // namespace callboard::gateway
