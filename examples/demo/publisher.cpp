#include "examples/demo/publisher.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <chrono>
#include <thread>

namespace callboard::demo {

namespace {

namespace json = boost::json;

constexpr std::size_t window = 32;

/// So that the story can be watched: about a thousand events a second from all publishers.
void keep_pace() {
  std::this_thread::sleep_for(std::chrono::milliseconds{2});
}

bool is_true(const json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  return found != nullptr && found->is_bool() && found->as_bool();
}

}  // namespace

void publisher::run(const client::endpoint& node, std::uint64_t last) {
  for (std::size_t i = 0; i < open_.size(); ++i)
    stage_.counts.retried();
  publish({.server = node, .tenant = stage_.tenant, .token = {}}, last);
}

std::string publisher::draw() {
  auto id = name_ + '-' + std::to_string(++drawn_);
  stage_.counts.published(id);
  open_.push_back(id);
  return id;
}

void publisher::settle(const std::string& id, bool duplicate) {
  if (std::erase(open_, id) == 0) return;
  ++acked_;
  stage_.counts.acked(id, duplicate);
}

std::string publisher::event_of(const std::string& id) const {
  return json::serialize(json::object{
      {"specversion", "1.0"},
      {"id", id},
      {"type", stage_.topic + ".created"},
      {"source", "/demo/" + name_},
      {"data", {{"from", name_}, {"label", id}}}});
}

void http_publisher::publish(const client::account& who, std::uint64_t last) {
  client::api api{who};
  while (!done(last)) {
    const auto id = open_.empty() ? draw() : open_.front();
    client::http_request request{
        .method = "POST",
        .target = api.topic_path(stage_.topic, "/events"),
        .headers = {{"Content-Type", "application/cloudevents+json"}},
        .body = event_of(id)};
    const auto answer = api.call(std::move(request));
    if (!answer && answer.error().code == errc::unreachable) return;
    if (!answer) continue;
    settle(id, is_true(json::parse(answer->body).as_object(), "duplicate"));
    keep_pace();
  }
}

void websocket_publisher::publish(const client::account& who, std::uint64_t last) {
  const client::api api{who};
  auto socket = client::websocket::connect(who.server, api.websocket_for("callboard.v1.json"));
  if (!socket) return;
  std::map<std::uint64_t, std::string> in_flight;
  std::uint64_t next = 0;
  const auto send = [&](const std::string& id) {
    in_flight[++next] = id;
    return socket->send_text(
        R"({"op":"publish","id":)" + std::to_string(next) + R"(,"topic":")" + stage_.topic
        + R"(","event":)" + event_of(id) + '}');
  };
  for (const auto& id : std::vector<std::string>{open_}) {
    if (!send(id)) return;
  }
  while (!done(last)) {
    if (in_flight.size() < window && acked_ + in_flight.size() < last) {
      if (!send(draw())) return;
      keep_pace();
      if (in_flight.size() % 4 != 0) continue;
    }
    const auto message = socket->receive(std::chrono::milliseconds{1000});
    if (!message) return;
    if (!*message) continue;
    const auto frame = json::parse((*message)->data).as_object();
    const auto* answered = frame.if_contains("id");
    if (answered == nullptr || !answered->is_number()) continue;
    const auto entry = in_flight.find(answered->to_number<std::uint64_t>());
    if (entry == in_flight.end()) continue;
    const auto id = entry->second;
    in_flight.erase(entry);
    if (frame.at("op") == "ok") {
      settle(id, is_true(frame, "duplicate"));
    } else if (!send(id)) {
      return;
    }
  }
}

}  // namespace callboard::demo
