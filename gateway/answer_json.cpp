// Answers of the broker as JSON objects.
#include "gateway/control_json.hpp"
#include "gateway/event_codec.hpp"
#include "gateway/problem.hpp"
#include "gateway/queue_json.hpp"
#include "runtime/binding/binding_names.hpp"

#include <fmt/format.h>

#include <iterator>

namespace callboard::gateway {

namespace {

void append_topic(std::string& out, const actors::topic_description& topic) {
  const auto& settings = topic.settings;
  fmt::format_to(
      std::back_inserter(out),
      R"({{"topic":"{}","epoch":"{}","kind":"{}","lane":"{}","retention":{{"max_age_s":{},)"
      R"("max_bytes":{},"max_events":{}}},"dedupe_window_s":{},"hold_for_groups":{},)"
      R"("first_seq":{},"last_seq":{},"events":{},"bytes":{}}})",
      topic.topic,
      topic.epoch,
      settings.kind == runtime::topic_kind::ephemeral ? "ephemeral" : "durable",
      settings.lane == runtime::topic_lane::bulk ? "bulk" : "interactive",
      settings.retention_age_s,
      settings.retention_bytes,
      settings.retention_events,
      settings.dedupe_window_s,
      settings.hold_for_groups,
      topic.first_seq.raw(),
      topic.last_seq.raw(),
      topic.events,
      topic.bytes);
}

void append_group(std::string& out, const actors::group_description& group) {
  const auto& settings = group.settings;
  fmt::format_to(
      std::back_inserter(out),
      R"({{"group":"{}","hold_ms":{},"deliveries_max":{},"in_flight_max":{},"backoff_min_ms":{},)"
      R"("backoff_max_ms":{},"ordered_by_subject":{},"dead_letter_topic":"{}",)",
      group.group,
      settings.hold_ms,
      settings.deliveries_max,
      settings.in_flight_max,
      settings.backoff_min_ms,
      settings.backoff_max_ms,
      settings.ordered_by_subject,
      settings.dead_letter_topic);
  fmt::format_to(
      std::back_inserter(out),
      R"("floor":{},"last_seq":{},"lag":{},"in_flight":{},"parked":{},"dead_lettered":{},"missed":{},)"
      R"("members":{},"oldest_unacked_age_ms":{}}})",
      group.floor.raw(),
      group.last_seq.raw(),
      group.lag,
      group.in_flight,
      group.parked,
      group.dead_lettered,
      group.missed,
      group.members,
      group.oldest_unacked_age_ms);
}

void append_binding(std::string& out, const actors::group_description& group) {
  const auto name = runtime::binding_name_of(group_name::trusted(group.group));
  fmt::format_to(std::back_inserter(out), R"({{"binding":"{}",)", name);
  // Its filter and target as they stand in the settings, without the braces around both.
  out.append(group.settings.binding, 1, group.settings.binding.size() - 2);
  fmt::format_to(
      std::back_inserter(out),
      R"(,"position":{},"last_seq":{},"lag":{},"in_flight":{},"waiting":{},"dead_lettered":{},)"
      R"("missed":{},"dead_letter_topic":"{}","oldest_unhandled_age_ms":{},"last_error":)",
      group.floor.raw(),
      group.last_seq.raw(),
      group.lag,
      group.in_flight,
      group.parked,
      group.dead_lettered,
      group.missed,
      group.settings.dead_letter_topic,
      group.oldest_unacked_age_ms);
  append_json_string(out, group.last_error);
  if (group.dead) fmt::format_to(std::back_inserter(out), R"(,"dead":{})", *group.dead);
  out += '}';
}

/// `"seq":..,"cursor":"..","event":{..}`
void append_position_and_event(
    std::string& out, std::string_view epoch, const runtime::delivered_event& event) {
  fmt::format_to(
      std::back_inserter(out), R"("seq":{0},"cursor":"{1}:{0}","event":)", event.seq.raw(), epoch);
  append_event_json(out, event.stored, event.time);
}

template <class Items, class Append>
void append_array(std::string& out, const Items& items, Append append) {
  out += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += ',';
    first = false;
    append(out, item);
  }
  out += ']';
}

struct answer_writer {
  std::string& out;

  void operator()(const actors::workflow_answer& answer) const { out += answer.body; }

  void operator()(const queue_answer auto& answer) const {
    out += '{';
    append_members(out, answer);
    out += '}';
  }

  void operator()(const actors::done& /*answer*/) const { out += "{}"; }

  void operator()(const actors::topic_description& topic) const { append_topic(out, topic); }

  void operator()(const actors::topic_list& list) const {
    out += R"({"topics":)";
    append_array(out, list.topics, append_topic);
    out += R"(,"next_after":)";
    append_json_string(out, list.next_after);
    append_left_out(out, list.shards_left_out);
    out += '}';
  }

  void operator()(const actors::event_page& page) const {
    const auto& batch = *page.batch;
    out += R"({"events":)";
    append_array(out, batch.events, [&](std::string& to, const auto& event) {
      to += '{';
      append_position_and_event(to, batch.epoch, event);
      to += '}';
    });
    fmt::format_to(
        std::back_inserter(out),
        R"(,"epoch":"{}","first_seq":{},"last_seq":{},"next_from":{}}})",
        batch.epoch,
        page.first_seq.raw(),
        page.last_seq.raw(),
        page.next_from.raw());
  }

  void operator()(const actors::group_description& group) const {
    group.settings.is_binding() ? append_binding(out, group) : append_group(out, group);
  }

  void operator()(const actors::group_list& list) const {
    out += list.of_bindings ? R"({"bindings":)" : R"({"groups":)";
    append_array(out, list.groups, list.of_bindings ? append_binding : append_group);
    out += '}';
  }

  void operator()(const actors::binding_redrive& redrive) const {
    fmt::format_to(std::back_inserter(out), R"({{"redriving":{})", redrive.events);
    if (redrive.refused != 0) {
      fmt::format_to(std::back_inserter(out), R"(,"refused":{},"last_error":)", redrive.refused);
      append_json_string(out, redrive.last_error);
    }
    if (redrive.more) out += R"(,"more":true)";
    out += '}';
  }

  void operator()(const actors::binding_edited& edited) const {
    fmt::format_to(std::back_inserter(out), R"({{"seq":{}}})", edited.seq.raw());
  }

  void operator()(const actors::delivery_list& list) const {
    fmt::format_to(std::back_inserter(out), R"({{"epoch":"{}","deliveries":)", list.epoch);
    append_array(out, list.deliveries, [&](std::string& to, const actors::delivery& each) {
      to += R"({"delivery":)";
      append_json_string(to, each.token);
      fmt::format_to(std::back_inserter(to), R"(,"attempt":{},)", each.attempt);
      append_position_and_event(to, list.epoch, each.event);
      to += '}';
    });
    out += '}';
  }

  void operator()(const actors::ack_result& ack) const {
    fmt::format_to(std::back_inserter(out), R"({{"floor":{},"lost":)", ack.floor.raw());
    append_array(out, ack.lost, append_json_string);
    out += '}';
  }

  void operator()(const actors::presence_members& presence) const {
    out += R"({"members":)";
    append_array(out, presence.members, [](std::string& to, const actors::presence_member& each) {
      to += R"({"member":)";
      append_json_string(to, each.member);
      fmt::format_to(
          std::back_inserter(to),
          R"(,"state":{},"version":{},"present":{}}})",
          each.state.empty() ? "{}" : each.state,
          each.version,
          each.present);
    });
    fmt::format_to(std::back_inserter(out), R"(,"version":{}}})", presence.version);
  }
};

}  // namespace

void append_answer_json(std::string& out, const actors::control_answer& answer) {
  std::visit(answer_writer{out}, answer);
}

void append_publish_members(
    std::string& out,
    std::string_view topic,
    const std::string& id,
    const actors::publish_outcome& outcome,
    std::size_t index) {
  const auto& each = outcome.events;
  const auto seq = index < each.size() ? each[index].seq.raw() : outcome.first_seq.raw() + index;
  const bool duplicate = index < each.size() && each[index].duplicate;
  out += R"("topic":")";
  out += topic;
  out += '"';
  if (outcome.first_seq.raw() == 0 && each.empty()) {
    out += R"(,"ephemeral":true,"duplicate":false,"id":)";
    append_json_string(out, id);
    return;
  }
  fmt::format_to(
      std::back_inserter(out),
      R"(,"seq":{0},"cursor":"{1}:{0}","duplicate":{2},"durability":"{3}","id":)",
      seq,
      outcome.epoch ? std::string_view{*outcome.epoch} : std::string_view{},
      duplicate,
      name_of(outcome.reached));
  append_json_string(out, id);
}

}  // namespace callboard::gateway
