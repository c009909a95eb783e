#include "cli/client/websocket.hpp"

#include "base/utf8.hpp"
#include "cli/client/raw_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <openssl/rand.h>
#include <utility>

namespace callboard::client {

namespace {

constexpr std::chrono::milliseconds send_timeout{30'000};

std::uint32_t random_mask() {
  std::uint32_t mask = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&mask), sizeof mask);
  return mask;
}

/// Close codes that say more than that the connection is gone.
errc meaning_of(std::uint16_t close_code) {
  switch (close_code) {
  case 1002:
  case 1003:
  case 1007:
    return errc::bad_request;
  case 1009:
    return errc::too_large;
  case 4401:
    return errc::unauthorized;
  case 4403:
    return errc::forbidden;
  case 4429:
    return errc::too_many_connections;
  default:
    return errc::unreachable;
  }
}

http_request upgrade_of(const websocket_options& options, const std::string& key) {
  http_request request;
  request.target = options.target;
  request.headers = options.headers;
  request.headers.emplace_back("Upgrade", "websocket");
  request.headers.emplace_back("Connection", "Upgrade");
  request.headers.emplace_back("Sec-WebSocket-Version", "13");
  request.headers.emplace_back("Sec-WebSocket-Key", key);
  if (!options.subprotocol.empty()) {
    request.headers.emplace_back("Sec-WebSocket-Protocol", options.subprotocol);
  }
  if (!options.token.empty()) {
    request.headers.emplace_back("Authorization", "Bearer " + options.token);
  }
  return request;
}

}  // namespace

websocket::websocket(byte_stream stream, std::string buffered, const websocket_options& options)
    : stream_{std::move(stream)},
      buffered_{std::move(buffered)},
      message_bytes_max_{options.message_bytes_max} {}

result<websocket> websocket::connect(const endpoint& server, const websocket_options& options) {
  const auto until = deadline::after(options.timeout);
  auto stream = byte_stream::connect(server, until);
  if (!stream) return std::unexpected{stream.error()};
  const auto key = make_websocket_key();
  if (auto sent = stream->write_all(serialize(upgrade_of(options, key), server), until); !sent) {
    return std::unexpected{sent.error()};
  }
  response_reader reader;
  std::string leftover;
  auto response = read_response(*stream, reader, leftover, until);
  if (!response) return fail(errc::unreachable, response.error().detail);
  if (response->status != 101) {
    auto problem = refusal_of(*response);
    if (response->status < 400) problem = {errc::bad_request, "the server did not upgrade", 0};
    return std::unexpected{std::move(problem)};
  }
  if (response->header("sec-websocket-accept") != websocket_accept(key)) {
    return fail(errc::bad_request, "the server's Sec-WebSocket-Accept is wrong");
  }
  websocket made{std::move(*stream), std::move(leftover), options};
  made.subprotocol_ = response->header("sec-websocket-protocol");
  return made;
}

result<void> websocket::send_frame(ws_opcode opcode, std::string_view payload) {
  if (closed_) return fail(errc::unreachable, "the connection is closed");
  std::string frame;
  frame.reserve(payload.size() + 14);
  append_client_frame(frame, opcode, payload, random_mask());
  return stream_.write_all(frame, deadline::after(send_timeout));
}

result<void> websocket::send_text(std::string_view text) {
  return send_frame(ws_opcode::text, text);
}

result<void> websocket::send_binary(std::string_view bytes) {
  return send_frame(ws_opcode::binary, bytes);
}

result<void> websocket::send_raw(std::string_view bytes) {
  return stream_.write_all(bytes, deadline::after(send_timeout));
}

result<std::optional<websocket_message>> websocket::take_frame(const ws_frame& frame) {
  switch (frame.opcode) {
  case ws_opcode::ping: {
    ++pings_;
    // A lost pong shows as a lost connection at the next read.
    (void)send_frame(ws_opcode::pong, frame.payload);
    return std::nullopt;
  }
  case ws_opcode::pong:
    return std::nullopt;
  case ws_opcode::close: {
    websocket_close end{.code = 1005, .reason = {}};
    if (frame.payload.size() >= 2) {
      end.code = static_cast<std::uint16_t>(
          static_cast<unsigned char>(frame.payload[0]) << 8
          | static_cast<unsigned char>(frame.payload[1]));
      end.reason = frame.payload.substr(2);
    }
    if (!std::exchange(close_sent_, true)) (void)send_frame(ws_opcode::close, frame.payload);
    closed_ = end;
    return fail(
        meaning_of(end.code),
        fmt::format("the server closed the connection: {} {}", end.code, end.reason));
  }
  case ws_opcode::continuation:
    if (!partial_) return fail(errc::bad_request, "continuation without a beginning");
    partial_->data += frame.payload;
    break;
  default:
    if (partial_) return fail(errc::bad_request, "a message begins inside another");
    partial_ = websocket_message{
        .is_binary = frame.opcode == ws_opcode::binary, .data = std::string{frame.payload}};
  }
  if (partial_->data.size() > message_bytes_max_) {
    return fail(errc::too_large, "the server's message is too long");
  }
  if (!frame.is_final) return std::nullopt;
  return std::exchange(partial_, std::nullopt);
}

result<std::optional<websocket_message>> websocket::take_buffered(bool& progressed) {
  progressed = false;
  auto frame =
      parse_server_frame(std::string_view{buffered_}.substr(consumed_), message_bytes_max_);
  if (!frame) return std::unexpected{frame.error()};
  if (!*frame) {
    buffered_.erase(0, consumed_);
    consumed_ = 0;
    return std::nullopt;
  }
  progressed = true;
  auto message = take_frame(**frame);
  consumed_ += (*frame)->size;
  return message;
}

result<std::optional<websocket_message>> websocket::receive(std::chrono::milliseconds wait) {
  if (closed_) return fail(errc::unreachable, "the connection is closed");
  const auto until = deadline::after(wait);
  std::string chunk(64 << 10, '\0');
  for (;;) {
    bool progressed = false;
    auto message = take_buffered(progressed);
    if (message && *message && !std::exchange(was_welcomed_, true)) note_welcome((*message)->data);
    if (!message || *message) return message;
    if (progressed) continue;
    auto count = stream_.read_some(chunk.data(), chunk.size(), std::min(until, silent_until_));
    if (!count && count.error().code == errc::timeout) {
      if (!silent_until_.passed()) return std::nullopt;
      closed_ = websocket_close{};
      return fail(
          errc::unreachable,
          fmt::format("nothing came from the server for {} ms", silence_max_.count()));
    }
    if (!count || *count == 0) {
      closed_ = websocket_close{};
      return fail(
          errc::unreachable, count ? "the server dropped the connection" : count.error().detail);
    }
    silent_until_ = deadline::after(silence_max_);
    buffered_.append(chunk.data(), *count);
  }
}

void websocket::note_welcome(std::string_view message) {
  const auto members = json_members(message);
  const auto limits = members ? json_members(find_member(*members, "limits")) : std::nullopt;
  if (!limits) return;
  std::int64_t interval_ms = 0;
  const auto told = find_member(*limits, "ping_interval_ms");
  std::from_chars(told.data(), told.data() + told.size(), interval_ms);
  if (interval_ms <= 0) return;
  silence_max_ = std::chrono::milliseconds{interval_ms * 5 / 2};
  silent_until_ = deadline::after(silence_max_);
}

void websocket::close(std::uint16_t code, std::string_view reason, std::chrono::milliseconds wait) {
  if (closed_) return;
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  payload += front_of(reason, 123);
  close_sent_ = true;
  if (!send_frame(ws_opcode::close, payload)) return;
  const auto until = deadline::after(wait);
  while (!until.passed() && !closed_) {
    if (!receive(std::chrono::milliseconds{until.remaining_ms()})) return;
  }
}

websocket::released websocket::release() && {
  return {.fd = stream_.release(), .leftover = buffered_.substr(consumed_)};
}

}  // namespace callboard::client
