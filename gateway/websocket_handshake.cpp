#include "gateway/websocket_handshake.hpp"

#include "gateway/base64.hpp"
#include "gateway/problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <openssl/evp.h>
#include <vector>

namespace callboard::gateway {

namespace {

constexpr std::string_view handshake_guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out{text};
  for (auto& c : out)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// All values of a header, split at `separator` and trimmed.
std::vector<std::string_view>
list_of(const upgrade_request& request, std::string_view name, char separator = ',') {
  std::vector<std::string_view> items;
  for (const auto& [key, value] : request.headers) {
    if (key != name) continue;
    std::string_view rest = value;
    while (true) {
      const auto end = rest.find(separator);
      const auto item = trim(rest.substr(0, end));
      if (!item.empty()) items.push_back(item);
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  return items;
}

bool has_token(const upgrade_request& request, std::string_view name, std::string_view token) {
  return std::ranges::any_of(
      list_of(request, name), [&](const auto& item) { return lower(item) == token; });
}

ws_refusal refuse(unsigned status, const error& why, std::string_view extra = {}) {
  const auto body = problem_json(why, status);
  return {
      status,
      fmt::format(
          "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n"
          "{}Connection: close\r\n\r\n{}",
          status,
          reason_of(status),
          body.size(),
          extra,
          body)};
}

/// The first offer of permessage-deflate that can be met, as our answer; empty if there is none.
/// Both sides start each message anew, so that no memory is held between messages.
std::string accept_deflate(const upgrade_request& request) {
  for (const auto offer : list_of(request, "sec-websocket-extensions")) {
    std::string_view rest = offer;
    const auto end = rest.find(';');
    if (lower(trim(rest.substr(0, end))) != "permessage-deflate") continue;
    bool known = true;
    std::string window;
    while (known && rest.find(';') != std::string_view::npos) {
      rest.remove_prefix(rest.find(';') + 1);
      const auto parameter = lower(trim(rest.substr(0, rest.find(';'))));
      if (parameter.starts_with("server_max_window_bits=")) {
        window = "; " + parameter;
      } else {
        known = parameter == "server_no_context_takeover"
                || parameter == "client_no_context_takeover"
                || parameter.starts_with("client_max_window_bits");
      }
    }
    if (!known) continue;
    return "permessage-deflate; server_no_context_takeover; client_no_context_takeover" + window;
  }
  return {};
}

/// cloudevents.json has no operations: the address names the topic.
std::optional<ws_refusal> check_topic(const upgrade_request& request, ws_handshake& answer) {
  const auto topic = request.query.find("topic");
  if (topic == request.query.end()) {
    return refuse(400, {errc::bad_request, "cloudevents.json needs ?topic= in the address"});
  }
  const auto pattern = topic_pattern::parse(topic->second);
  if (!pattern) return refuse(400, pattern.error());
  if (!request.who.may_subscribe(topic->second) && !request.who.may_publish(topic->second)) {
    answer.refused = error{errc::forbidden, "the token does not allow topic " + topic->second};
  }
  return std::nullopt;
}

}  // namespace

std::string accept_key(std::string_view client_key) {
  std::string input{client_key};
  input += handshake_guid;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha1(), nullptr);
  std::string out;
  append_base64(out, {reinterpret_cast<const char*>(digest.data()), size});
  return out;
}

std::expected<ws_handshake, ws_refusal>
answer_handshake(const upgrade_request& request, bool allow_deflate) {
  if (!request.head.starts_with("GET ")) {
    return std::unexpected{
        refuse(405, {errc::method_not_allowed, "a WebSocket begins with GET"}, "Allow: GET\r\n")};
  }
  if (!has_token(request, "upgrade", "websocket") || !has_token(request, "connection", "upgrade")) {
    return std::unexpected{refuse(
        426,
        {errc::bad_request,
         "this address speaks WebSocket: send Connection: Upgrade, Upgrade: websocket"},
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")};
  }
  const auto versions = list_of(request, "sec-websocket-version");
  if (versions.size() != 1 || versions.front() != "13") {
    return std::unexpected{refuse(
        426,
        {errc::bad_request, "Sec-WebSocket-Version must be 13"},
        "Sec-WebSocket-Version: 13\r\n")};
  }
  const auto keys = list_of(request, "sec-websocket-key");
  const auto nonce = keys.size() == 1 ? decode_base64(keys.front()) : std::nullopt;
  if (!nonce || nonce->size() != 16) {
    return std::unexpected{
        refuse(400, {errc::bad_request, "Sec-WebSocket-Key must be 16 bytes in base64, once"})};
  }

  ws_handshake answer;
  answer.response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Accept: "
                    + accept_key(keys.front()) + "\r\n";
  for (const auto offered : list_of(request, "sec-websocket-protocol")) {
    const auto found = std::ranges::find(subprotocols, offered);
    if (found == subprotocols.end()) continue;
    answer.protocol = static_cast<ws_protocol_id>(found - subprotocols.begin());
    answer.response += fmt::format("Sec-WebSocket-Protocol: {}\r\n", offered);
    break;
  }
  answer.refused = request.refused;
  if (!answer.refused && answer.protocol == ws_protocol_id::cloudevents) {
    if (auto refused = check_topic(request, answer)) return std::unexpected{std::move(*refused)};
  }
  if (const auto deflate = allow_deflate ? accept_deflate(request) : std::string{};
      !deflate.empty()) {
    answer.deflate = true;
    answer.response += "Sec-WebSocket-Extensions: " + deflate + "\r\n";
  }
  answer.response += "\r\n";
  return answer;
}

}  // namespace callboard::gateway
