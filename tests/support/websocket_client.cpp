#include "tests/support/websocket_client.hpp"

#include <boost/json.hpp>

namespace callboard::testing {

namespace {

namespace json = boost::json;

constexpr std::string_view handshake_key = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view expected_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
constexpr unsigned char mask[4] = {0x3a, 0x91, 0x5c, 0x07};

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes)
    value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

void append_length(std::string& out, std::size_t size, bool masked) {
  const unsigned char bit = masked ? 0x80 : 0;
  if (size < 126) {
    out.push_back(static_cast<char>(bit | size));
    return;
  }
  const int bytes = size < 65536 ? 2 : 8;
  out.push_back(static_cast<char>(bit | (bytes == 2 ? 126 : 127)));
  for (int i = bytes - 1; i >= 0; --i)
    out.push_back(static_cast<char>(size >> (8 * i) & 0xff));
}

}  // namespace

websocket_client::websocket_client(const endpoint& where, const websocket_options& options)
    : connection_{where} {
  std::string request{"GET "};
  request.append(options.target)
      .append(" HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n")
      .append("sec-websocket-version: 13\r\nsec-websocket-key: ")
      .append(handshake_key)
      .append("\r\n");
  if (!options.subprotocol.empty()) {
    request.append("sec-websocket-protocol: ").append(options.subprotocol).append("\r\n");
  }
  for (const auto& [name, value] : options.headers) {
    request.append(name).append(": ").append(value).append("\r\n");
  }
  connection_.write(request + "\r\n");
  const milliseconds limit{10'000};
  handshake_ = read_head(connection_, buffer_, limit);
  if (handshake_.status != 101) {
    const auto length = handshake_.header("content-length");
    const auto size = length.empty() ? 0 : std::stoul(length);
    while (buffer_.size() < size && connection_.read_some(buffer_, limit)) {
    }
    throw std::runtime_error{
        "websocket: " + std::to_string(handshake_.status) + ' ' + buffer_.substr(0, size)};
  }
  if (handshake_.header("sec-websocket-accept") != expected_accept) {
    throw std::runtime_error{"websocket: wrong sec-websocket-accept"};
  }
  if (options.subprotocol.contains("callboard.v1.json")) welcome_ = next_op("welcome");
}

void websocket_client::send(opcode kind, std::string_view payload, bool masked) {
  std::string frame;
  frame.push_back(static_cast<char>(0x80 | static_cast<unsigned char>(kind)));
  append_length(frame, payload.size(), masked);
  if (masked) {
    frame.append(reinterpret_cast<const char*>(mask), 4);
    for (std::size_t i = 0; i < payload.size(); ++i) {
      frame.push_back(static_cast<char>(static_cast<unsigned char>(payload[i]) ^ mask[i % 4]));
    }
  } else {
    frame.append(payload);
  }
  connection_.write(frame);
}

void websocket_client::send_json(const json::object& frame) {
  send_text(json::serialize(frame));
}

void websocket_client::need(std::size_t bytes, milliseconds limit) {
  while (buffer_.size() < bytes) {
    if (!connection_.read_some(buffer_, limit)) throw disconnected{"end of a WebSocket"};
  }
}

websocket_message websocket_client::receive(milliseconds limit) {
  websocket_message message;
  for (bool first = true;;) {
    need(2, limit);
    const auto head = static_cast<unsigned char>(buffer_[0]);
    std::size_t size = static_cast<unsigned char>(buffer_[1]) & 0x7f;
    std::size_t start = 2;
    if (size >= 126) {
      start = size == 126 ? 4 : 10;
      need(start, limit);
      size = big_endian(std::string_view{buffer_}.substr(2, start - 2));
    }
    need(start + size, limit);
    auto payload = buffer_.substr(start, size);
    buffer_.erase(0, start + size);
    const auto kind = static_cast<opcode>(head & 0x0f);
    if (kind == opcode::ping) {
      send(opcode::pong, payload);
      continue;
    }
    if (kind == opcode::pong) continue;
    if (kind == opcode::close) {
      close_code_ = payload.size() < 2 ? 1005 : static_cast<int>(big_endian(payload.substr(0, 2)));
      return {kind, std::move(payload)};
    }
    if (first) message.kind = kind;
    first = false;
    message.payload += payload;
    if ((head & 0x80) != 0) return message;
  }
}

json::object websocket_client::receive_json(milliseconds limit) {
  auto message = receive(limit);
  if (message.kind == opcode::close) {
    throw disconnected{"closed with " + std::to_string(close_code_.value_or(0))};
  }
  return json::parse(message.payload).as_object();
}

json::object websocket_client::ask(json::object frame, milliseconds limit) {
  const auto id = ++next_id_;
  frame["id"] = id;
  send_json(frame);
  for (;;) {
    auto answer = receive_json(limit);
    const auto* to = answer.if_contains("id");
    if (to != nullptr && to->is_number() && to->to_number<std::uint64_t>() == id) return answer;
    queued_.push_back(std::move(answer));
  }
}

json::object websocket_client::next(milliseconds limit) {
  if (queued_.empty()) queued_.push_back(receive_json(limit));
  auto frame = std::move(queued_.front());
  queued_.pop_front();
  if (frame.at("op").as_string() != "events") return frame;
  auto events = std::move(frame.at("events").as_array());
  for (std::size_t i = events.size(); i-- > 0;) {
    auto event = std::move(events[i].as_object());
    event["op"] = "event";
    for (const auto* member : {"sub", "topic"}) {
      if (frame.contains(member) && !event.contains(member)) event[member] = frame.at(member);
    }
    queued_.push_front(std::move(event));
  }
  return next(limit);
}

json::object websocket_client::next_op(std::string_view op, milliseconds limit) {
  for (;;) {
    auto frame = next(limit);
    if (frame.at("op").as_string() == op) return frame;
  }
}

std::optional<int> websocket_client::wait_closed(milliseconds limit) {
  try {
    while (receive(limit).kind != opcode::close) {
    }
  } catch (const disconnected&) {
    return close_code_;
  }
  return close_code_;
}

void websocket_client::close() {
  send(opcode::close, std::string_view{"\x03\xe8", 2});
}

}  // namespace callboard::testing
