// Framing: whatever the cut of the bytes, the same messages come out; what breaks RFC 6455 is
// named.
#include "gateway/websocket_wire.hpp"

#include "tests/support/catch.hpp"

using namespace callboard::gateway;

namespace {

/// A masked client frame; `first` holds the flags and the opcode.
std::string client_frame(unsigned char first, const std::string& payload) {
  std::string out(1, static_cast<char>(first));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80U | payload.size());
  } else {
    out += static_cast<char>(0xFEU);
    out += static_cast<char>(payload.size() >> 8U);
    out += static_cast<char>(payload.size() & 0xFFU);
  }
  const std::string mask = "k3y!";
  out += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out += static_cast<char>(payload[i] ^ mask[i % 4]);
  }
  return out;
}

/// Feeds `bytes` in pieces of `cut` and lists what comes out.
std::vector<std::string> read_all(ws_reader& reader, std::string bytes, std::size_t cut) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < bytes.size(); at += cut) {
    std::span<char> piece{bytes.data() + at, std::min(cut, bytes.size() - at)};
    while (const auto message = reader.next(piece)) {
      out.push_back(
          std::to_string(static_cast<int>(message->opcode)) + ':' + std::string{message->payload});
    }
  }
  return out;
}

}  // namespace

TEST_CASE("messages do not depend on how the bytes are cut", "[websocket]") {
  const std::string large(1000, 'x');
  const auto bytes = client_frame(0x81, "one") + client_frame(0x01, "frag")
                     + client_frame(0x89, "p") + client_frame(0x00, "men")
                     + client_frame(0x80, "ted") + client_frame(0x82, large)
                     + client_frame(0x81, "");
  const std::vector<std::string> expected{"1:one", "9:p", "1:fragmented", "2:" + large, "1:"};
  for (std::size_t cut = 1; cut <= bytes.size(); cut += cut < 40 ? 1 : 97) {
    ws_reader reader{ws_limits{}};
    CHECK(read_all(reader, bytes, cut) == expected);
    CHECK_FALSE(reader.violation());
    CHECK_FALSE(reader.is_partial());
  }
}

TEST_CASE("what breaks the protocol is refused with its close code", "[websocket]") {
  struct sample {
    std::string bytes;
    std::uint16_t code;
  };

  const std::vector<sample> samples{
      {{"\x81\x01x", 3}, 1002},
      {client_frame(0x83, "x"), 1002},
      {client_frame(0xF1, "x"), 1002},
      {client_frame(0xC1, "x"), 1002},
      {client_frame(0x80, "x"), 1002},
      {client_frame(0x09, "x"), 1002},
      {client_frame(0x89, std::string(126, 'x')), 1002},
      {client_frame(0x88, "x"), 1002},
      {client_frame(0x88, std::string{"\x03\xED", 2}), 1002},
      {client_frame(0x01, "x") + client_frame(0x81, "y"), 1002},
      {client_frame(0x81, "\xC0\x80"), 1007},
      {client_frame(0x81, std::string(2000, 'x')), 1009},
      {client_frame(0x01, std::string(900, 'x')) + client_frame(0x80, std::string(900, 'x')), 1009},
  };
  for (const auto& one : samples) {
    INFO("sample " << (&one - samples.data()));
    ws_reader reader{ws_limits{.message_bytes_max = 1024}};
    static_cast<void>(read_all(reader, one.bytes, one.bytes.size()));
    REQUIRE(reader.violation());
    CHECK(reader.violation()->code == one.code);
  }
}

TEST_CASE("a compressed message is inflated within its bound", "[websocket]") {
  // "Hello", and 1 MiB of zeros would not fit: RFC 7692 section 7.2.3.1.
  const std::string hello{"\xf2\x48\xcd\xc9\xc9\x07\x00", 7};
  ws_reader reader{ws_limits{.deflate = true}};
  CHECK(
      read_all(reader, client_frame(0xC1, hello) + client_frame(0xC1, hello), 5)
      == std::vector<std::string>{"1:Hello", "1:Hello"});
  ws_reader small{ws_limits{.inflated_bytes_max = 4, .deflate = true}};
  static_cast<void>(read_all(small, client_frame(0xC1, hello), 100));
  REQUIRE(small.violation());
  CHECK(small.violation()->code == 1009);
  ws_reader broken{ws_limits{.deflate = true}};
  static_cast<void>(read_all(broken, client_frame(0xC1, "\xFF\xFF\xFF"), 100));
  CHECK(broken.violation());
}

TEST_CASE("a close reason is cut at a whole code point", "[websocket]") {
  std::string out;
  append_ws_close(out, 1008, std::string(122, 'a') + "\xC3\xA4");
  CHECK(static_cast<unsigned char>(out[1]) == 124);
}
