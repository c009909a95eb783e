// What end-to-end tests say to a node, in few words: publish, read all, and what came back.
#pragma once

#include "tests/support/http_client.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/websocket_client.hpp"

#include <boost/json.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::testing {

namespace json = boost::json;

/// Member `name` as text; empty if it is missing or no string.
[[nodiscard]] std::string text_of(const json::object& object, std::string_view name);
[[nodiscard]] std::string text_of(const json::value& value, std::string_view name);

/// Member `name` as a number; 0 if it is missing or no number.
[[nodiscard]] std::uint64_t number_of(const json::object& object, std::string_view name);
[[nodiscard]] std::uint64_t number_of(const json::value& value, std::string_view name);

[[nodiscard]] bool flag_of(const json::value& value, std::string_view name);

/// A structured CloudEvent with this id.
[[nodiscard]] std::string cloud_event(std::string_view id, std::string_view data = R"({"n":1})");

struct stored_event {
  std::uint64_t seq = 0;
  std::string cursor;
  std::string id;
  json::object event;
};

/// One tenant of one node, over HTTP.
class broker {
public:
  explicit broker(endpoint where, std::string tenant = "default", std::string token = {})
      : http_{where, std::move(token)}, tenant_{std::move(tenant)} {}

  /// POST of a structured CloudEvent.
  http_response publish(
      std::string_view topic,
      std::string_view event,
      std::string_view query = {},
      const header_list& headers = {});

  http_response publish_batch(
      std::string_view topic, const std::vector<std::string>& events, header_list headers = {});

  http_response get(std::string_view rest) { return http_.get(path(rest)); }

  http_response put(std::string_view rest, std::string_view body) {
    return http_.put(path(rest), body);
  }

  http_response post(std::string_view rest, std::string_view body) {
    return http_.post(path(rest), body);
  }

  http_response del(std::string_view rest) { return http_.del(path(rest)); }

  /// All events of a topic from seq 1 on; throws std::runtime_error if a page is refused.
  [[nodiscard]] std::vector<stored_event> history(std::string_view topic);

  [[nodiscard]] std::string path(std::string_view rest) const {
    return "/v1/tenants/" + tenant_ + std::string{rest};
  }

  [[nodiscard]] std::string topic_path(std::string_view topic, std::string_view rest = {}) const {
    return path("/topics/" + std::string{topic} + std::string{rest});
  }

  http_client& http() { return http_; }

private:
  http_client http_;
  std::string tenant_;
};

/// Options of a WebSocket of `tenant`.
[[nodiscard]] websocket_options websocket_of(std::string_view tenant, std::string_view token = {});

/// Sends `{"op":"publish"}` and returns the answer.
json::object publish_over(websocket_client& client, std::string_view topic, std::string_view id);

}  // namespace callboard::testing
