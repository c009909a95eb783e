#include "cli/client/api.hpp"

namespace callboard::client {

result<http_response> api::call(http_request request) {
  if (!who_.token.empty()) request.headers.emplace_back("Authorization", "Bearer " + who_.token);
  refusal_ = 0;
  auto response = http_.send(request);
  if (!response) return response;
  if (response->status < 400) return response;
  refusal_ = response->status;
  return std::unexpected{problem_of(*response)};
}

result<std::string> api::call(std::string_view method, std::string target, std::string json_body) {
  http_request request;
  request.method = method;
  request.target = std::move(target);
  if (!json_body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(json_body);
  auto response = call(std::move(request));
  if (!response) return std::unexpected{response.error()};
  return std::move(response->body);
}

std::string api::tenant_path(std::string_view rest) const {
  return "/v1/tenants/" + percent_encoded(who_.tenant) + std::string{rest};
}

std::string api::topic_path(std::string_view topic, std::string_view rest) const {
  return tenant_path("/topics/" + percent_encoded(topic) + std::string{rest});
}

websocket_options api::websocket_for(std::string subprotocol) const {
  websocket_options options;
  options.target = tenant_path("/ws");
  options.subprotocol = std::move(subprotocol);
  options.token = who_.token;
  return options;
}

}  // namespace callboard::client
