#include "examples/demo/subscriber.hpp"

#include "cli/client/event_stream.hpp"

#include <boost/json.hpp>

#include <chrono>

namespace callboard::demo {

namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds patience{200};

std::string text_of(const json::value& object, std::string_view name) {
  const auto* found = object.as_object().if_contains(name);
  return found != nullptr && found->is_string() ? std::string{found->as_string()} : std::string{};
}

}  // namespace

std::string subscriber::cursor() const {
  const std::lock_guard lock{mutex_};
  return cursor_;
}

void subscriber::set_cursor(const std::string& cursor) {
  const std::lock_guard lock{mutex_};
  cursor_ = cursor;
}

void subscriber::take(const std::string& cursor, const std::string& id) {
  set_cursor(cursor);
  stage_.counts.delivered(id, std::stoull(cursor.substr(cursor.rfind(':') + 1)));
}

void websocket_subscriber::follow(const client::account& who) {
  const client::api api{who};
  auto socket = client::websocket::connect(who.server, api.websocket_for("callboard.v1.json"));
  if (!socket) return;
  const auto from = cursor();
  const json::object subscribe{
      {"op", "subscribe"},
      {"id", 1},
      {"topic", stage_.topic},
      {"from", from.empty() ? "first" : from}};
  if (!socket->send_text(json::serialize(subscribe))) return;
  while (!stopped()) {
    const auto message = socket->receive(patience);
    if (!message) return;
    if (!*message) continue;
    const auto frame = json::parse((*message)->data);
    const auto op = text_of(frame, "op");
    if (op == "ok") set_cursor(text_of(frame, "cursor"));
    if (op == "event") take(text_of(frame, "cursor"), text_of(frame.at("event"), "id"));
    if (op != "events") continue;
    for (const auto& each : frame.at("events").as_array()) {
      take(text_of(each, "cursor"), text_of(each.at("event"), "id"));
    }
  }
  socket->close();
}

void stream_subscriber::follow(const client::account& who) {
  const client::api api{who};
  const auto from = cursor();
  client::http_request request;
  request.target = api.topic_path(stage_.topic, from.empty() ? "/events?from=first" : "/events");
  if (!from.empty()) request.headers.emplace_back("Last-Event-ID", from);
  auto stream = client::event_stream::open(who.server, std::move(request));
  if (!stream) return;
  while (!stopped()) {
    const auto event = stream->next(patience);
    if (!event) return;
    // `callboard.caught_up` and its like tell of the stream itself.
    if (!*event || (*event)->type.starts_with("callboard.")) continue;
    take((*event)->id, text_of(json::parse((*event)->data), "id"));
  }
}

}  // namespace callboard::demo
