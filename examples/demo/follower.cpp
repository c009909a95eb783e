#include "examples/demo/follower.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <chrono>

#include "examples/demo/json_members.hpp"

namespace callboard::demo {

namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds patience{100};
constexpr std::string_view channel_prefix = "workflow.";

}  // namespace

follower::follower(client::account who, listener on_event)
    : who_{std::move(who)},
      on_event_{std::move(on_event)},
      thread_{[this](const std::stop_token& stop) { follow(stop); }} {}

follower::~follower() = default;

void follower::follow(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    connect_and_read(stop);
    if (!stop.stop_requested()) std::this_thread::sleep_for(patience);
  }
}

void follower::connect_and_read(const std::stop_token& stop) {
  const client::api api{who_};
  auto socket = client::websocket::connect(who_.server, api.websocket_for("callboard.v1.json"));
  if (!socket) return;
  json::object cursors;
  for (const auto& [topic, cursor] : cursors_)
    cursors[topic] = cursor;
  const json::object subscribe{
      {"op", "subscribe"}, {"id", 1}, {"topic", "workflow.*"}, {"from", std::move(cursors)}};
  if (!socket->send_text(json::serialize(subscribe))) return;
  while (!stop.stop_requested()) {
    const auto message = socket->receive(patience);
    if (!message) return;
    if (*message) take_frame(json::parse((*message)->data).as_object());
  }
  socket->close();
}

void follower::take_frame(const json::object& frame) {
  const auto op = text_of(frame, "op");
  if (op == "event") take(text_of(frame, "topic"), frame);
  if (op != "events") return;
  for (const auto& one : frame.at("events").as_array())
    take(text_of(frame, "topic"), one.as_object());
}

void follower::take(const std::string& topic, const json::object& delivery) {
  if (const auto cursor = text_of(delivery, "cursor"); !cursor.empty()) cursors_[topic] = cursor;
  const auto& event = delivery.at("event").as_object();
  const auto* data = event.if_contains("data");
  if (data == nullptr || !data->is_object() || !topic.starts_with(channel_prefix)) return;
  on_event_(
      {.run = topic.substr(channel_prefix.size()),
       .seq = number_of(delivery, "seq"),
       .type = text_of(event, "type"),
       .data = data->as_object(),
       .command = number_of(event, "command")});
}

}  // namespace callboard::demo
