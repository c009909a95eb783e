// WebSocket bytes and the operations inside them, in all three subprotocols. The same bytes must
// mean the same messages whether they come at once or in pieces.
#include "gateway/websocket_wire.hpp"
#include "gateway/ws_protocol.hpp"

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace callboard;
using namespace callboard::gateway;

using messages = std::vector<std::pair<ws_opcode, std::string>>;

messages read_in_pieces(std::string bytes, std::size_t piece, bool deflate) {
  const ws_limits limits{
      .message_bytes_max = 1 << 16, .inflated_bytes_max = 1 << 17, .deflate = deflate};
  ws_reader reader{limits};
  messages all;
  for (std::size_t at = 0; at < bytes.size() && !reader.violation(); at += piece) {
    std::span<char> input{bytes.data() + at, std::min(piece, bytes.size() - at)};
    while (auto message = reader.next(input)) {
      if (message->payload.size() > limits.inflated_bytes_max) std::abort();
      all.emplace_back(message->opcode, std::string{message->payload});
    }
  }
  return all;
}

void read_operations(std::string_view message) {
  const read_limits limits{.event_bytes_max = 1 << 16, .batch_events_max = 100, .topic = "topic"};
  for (const auto id : {ws_protocol_id::json, ws_protocol_id::proto, ws_protocol_id::cloudevents}) {
    ws_protocol::of(id).read(message, limits, [](const received_op&) {});
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes{reinterpret_cast<const char*>(data), size};
  read_operations(bytes);
  for (const bool deflate : {false, true}) {
    const auto whole = read_in_pieces(bytes, std::max<std::size_t>(1, size), deflate);
    if (whole != read_in_pieces(bytes, 3, deflate)) std::abort();
    for (const auto& [opcode, payload] : whole)
      read_operations(payload);
  }
  return 0;
}
