#include "tests/e2e/broker.hpp"

namespace callboard::testing {

std::string text_of(const json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  return found != nullptr && found->is_string() ? std::string{found->as_string()} : std::string{};
}

std::string text_of(const json::value& value, std::string_view name) {
  return value.is_object() ? text_of(value.as_object(), name) : std::string{};
}

std::uint64_t number_of(const json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  return found != nullptr && found->is_number() ? found->to_number<std::uint64_t>() : 0;
}

std::uint64_t number_of(const json::value& value, std::string_view name) {
  return value.is_object() ? number_of(value.as_object(), name) : 0;
}

bool flag_of(const json::value& value, std::string_view name) {
  if (!value.is_object()) return false;
  const auto* found = value.as_object().if_contains(name);
  return found != nullptr && found->is_bool() && found->as_bool();
}

std::string cloud_event(std::string_view id, std::string_view data) {
  std::string event{R"({"specversion":"1.0","type":"test.event","source":"/test","id":")"};
  event.append(id).append(R"(","data":)").append(data).append("}");
  return event;
}

http_response broker::publish(
    std::string_view topic,
    std::string_view event,
    std::string_view query,
    const header_list& headers) {
  auto with_type = headers;
  with_type.emplace_back("content-type", "application/cloudevents+json");
  return http_.send("POST", topic_path(topic, "/events") + std::string{query}, event, with_type);
}

http_response broker::publish_batch(
    std::string_view topic, const std::vector<std::string>& events, header_list headers) {
  std::string body{"["};
  for (const auto& event : events)
    body += (body.size() > 1 ? "," : "") + event;
  headers.emplace_back("content-type", "application/cloudevents-batch+json");
  return http_.send("POST", topic_path(topic, "/events"), body + "]", headers);
}

std::vector<stored_event> broker::history(std::string_view topic) {
  std::vector<stored_event> all;
  std::uint64_t from = 1;
  for (;;) {
    const auto page =
        http_.get(topic_path(topic, "/events?limit=1000&from=" + std::to_string(from)));
    if (page.status != 200) {
      throw std::runtime_error{"history: " + std::to_string(page.status) + ' ' + page.body};
    }
    const auto body = page.json().as_object();
    const auto& events = body.at("events").as_array();
    if (events.empty()) return all;
    for (const auto& entry : events) {
      const auto& event = entry.at("event").as_object();
      all.push_back(
          {number_of(entry, "seq"), text_of(entry, "cursor"), text_of(event, "id"), event});
    }
    from = number_of(body, "next_from");
    if (all.back().seq >= number_of(body, "last_seq")) return all;
  }
}

websocket_options websocket_of(std::string_view tenant, std::string_view token) {
  websocket_options options;
  options.target = "/v1/tenants/" + std::string{tenant} + "/ws";
  if (!token.empty()) options.headers.emplace_back("authorization", "Bearer " + std::string{token});
  return options;
}

json::object publish_over(websocket_client& client, std::string_view topic, std::string_view id) {
  return client.ask({{"op", "publish"}, {"topic", topic}, {"event", json::parse(cloud_event(id))}});
}

}  // namespace callboard::testing
