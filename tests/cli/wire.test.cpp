// The client's pure parts: URLs, JSON without parsing, event streams, WebSocket frames.
#include "cli/backoff.hpp"
#include "cli/client/endpoint.hpp"
#include "cli/client/event_stream.hpp"
#include "cli/client/raw_json.hpp"
#include "cli/client/ws_frame.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::client;

TEST_CASE("a server URL has a scheme, a host and perhaps a port", "[client]") {
  const auto plain = endpoint::parse("http://example:9000/");
  REQUIRE(plain);
  CHECK(plain->host == "example");
  CHECK(plain->port == 9000);
  CHECK_FALSE(plain->tls);
  const auto secure = endpoint::parse("https://[::1]");
  REQUIRE(secure);
  CHECK(secure->host == "::1");
  CHECK(secure->port == 8700);
  CHECK(secure->tls);
  CHECK(secure->authority() == "[::1]:8700");
  CHECK(secure->url() == "https://[::1]:8700");
  for (const auto* bad :
       {"",
        "example",
        "ftp://example",
        "http://",
        "http://a:",
        "http://a:0",
        "http://a:70000",
        "http://a:8x",
        "http://a/path",
        "http://u@a",
        "http://[::1",
        "http://[::1]x"}) {
    INFO(bad);
    const auto parsed = endpoint::parse(bad);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == errc::bad_request);
  }
}

TEST_CASE("names are escaped for paths", "[client]") {
  CHECK(percent_encoded("orders.eu-1_a~") == "orders.eu-1_a~");
  CHECK(percent_encoded("a/b c>*") == "a%2Fb%20c%3E%2A");
}

TEST_CASE("members of an object keep the text they were sent as", "[client]") {
  const auto members = json_members(R"( {"a" : 1.50, "b":{"x":[1,"}"]},"c":"q\"}" , "d":null} )");
  REQUIRE(members);
  REQUIRE(members->size() == 4);
  CHECK(find_member(*members, "a") == "1.50");
  CHECK(find_member(*members, "b") == R"({"x":[1,"}"]})");
  CHECK(json_text(find_member(*members, "c")) == "q\"}");
  CHECK(find_member(*members, "d") == "null");
  CHECK(find_member(*members, "e").empty());
  CHECK(json_members("{}")->empty());
  for (const auto* bad :
       {"",
        "[]",
        "{",
        R"({"a"})",
        R"({"a":})",
        R"({"a":1)",
        R"({"a":1}x)",
        R"({"a":1 "b":2})",
        R"({"a":{)"}) {
    INFO(bad);
    CHECK_FALSE(json_members(bad));
  }
}

TEST_CASE("elements of an array are found, however deep they are", "[client]") {
  const auto elements = json_elements(R"([{"a":[1,2]}, "x,y" ,3])");
  REQUIRE(elements);
  REQUIRE(elements->size() == 3);
  CHECK((*elements)[0] == R"({"a":[1,2]})");
  CHECK((*elements)[1] == R"("x,y")");
  CHECK((*elements)[2] == "3");
  CHECK(json_elements("[]")->empty());
  CHECK_FALSE(json_elements("[1,"));
  CHECK_FALSE(json_elements(std::string(600, '[') + std::string(600, ']')));
}

TEST_CASE("JSON strings are quoted and unquoted", "[client]") {
  CHECK(json_quoted("a\"b\n") == R"("a\"b\n")");
  CHECK(json_text(R"("\u00e4\n")") == "\xc3\xa4\n");
  CHECK(json_text("12").empty());
  CHECK(is_json("[1]"));
  CHECK(is_json(std::string(64, '[') + std::string(64, ']')));
  CHECK_FALSE(is_json("hello"));
  CHECK_FALSE(is_json("1 2"));
}

TEST_CASE("an event stream is parsed whatever its line ends and borders", "[client]") {
  const std::string text = ": hi\r\nid: e:1\r\nevent: order.placed\r\ndata: {\"a\":1}\r\n\r\n"
                           "data: one\ndata: two\nid: e:2\n\n"
                           "retry: 1500\rdata:x\r\r"
                           "event: nothing\n\n:\n";
  for (std::size_t step : {1UL, 2UL, 7UL, text.size()}) {
    INFO("pieces of " << step);
    event_stream_parser parser;
    for (std::size_t at = 0; at < text.size(); at += step)
      parser.feed(text.substr(at, step));
    const auto first = parser.next();
    REQUIRE(first);
    CHECK(first->id == "e:1");
    CHECK(first->type == "order.placed");
    CHECK(first->data == R"({"a":1})");
    const auto second = parser.next();
    REQUIRE(second);
    CHECK(second->type == "message");
    CHECK(second->data == "one\ntwo");
    const auto third = parser.next();
    REQUIRE(third);
    CHECK(third->data == "x");
    CHECK(third->id == "e:2");
    CHECK_FALSE(parser.next());
    CHECK(parser.comments() == 2);
    CHECK(parser.retry() == std::chrono::milliseconds{1500});
  }
}

namespace {

/// A server's frame, unmasked.
std::string server_frame(int first, std::string_view payload) {
  std::string out{static_cast<char>(first)};
  if (payload.size() < 126) {
    out.push_back(static_cast<char>(payload.size()));
  } else {
    out.push_back(126);
    out.push_back(static_cast<char>(payload.size() >> 8));
    out.push_back(static_cast<char>(payload.size()));
  }
  return out.append(payload);
}

}  // namespace

TEST_CASE("client frames are masked and carry their length in the shortest form", "[client]") {
  std::string out;
  append_client_frame(out, ws_opcode::text, "Hello", 0x3d21fa37);
  // RFC 6455 section 5.7, a single-frame masked text message.
  CHECK(out == std::string("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11));
  for (const auto [size, head] :
       {std::pair{125UL, 6UL}, {126UL, 8UL}, {65535UL, 8UL}, {65536UL, 14UL}}) {
    out.clear();
    append_client_frame(out, ws_opcode::binary, std::string(size, 'a'), 1);
    CHECK(out.size() == head + size);
  }
}

TEST_CASE("server frames are found as soon as they are complete", "[client]") {
  const auto bytes = server_frame(0x82, std::string(300, 'z')) + "rest";
  for (std::size_t size = 0; size < 304; ++size) {
    const auto part = parse_server_frame(std::string_view{bytes}.substr(0, size), 1000);
    REQUIRE(part);
    CHECK_FALSE(*part);
  }
  const auto whole = parse_server_frame(bytes, 1000);
  REQUIRE((whole && *whole));
  CHECK((*whole)->size == 304);
  CHECK((*whole)->payload.size() == 300);
  CHECK((*whole)->opcode == ws_opcode::binary);
}

TEST_CASE("frames that no server may send are refused", "[client]") {
  const auto code = [](const std::string& bytes, std::uint64_t limit = 1000) {
    const auto frame = parse_server_frame(bytes, limit);
    return frame ? std::string{"accepted"} : std::string{name_of(frame.error().code)};
  };
  CHECK(code(server_frame(0xC1, "x")) == "bad_request");  // reserved bit
  CHECK(code(server_frame(0x83, "x")) == "bad_request");  // unknown opcode
  CHECK(code(server_frame(0x09, "x")) == "bad_request");  // fragmented ping
  CHECK(code(server_frame(0x89, std::string(126, 'x'))) == "bad_request");
  CHECK(code(std::string("\x81\x81xxxxa", 7)) == "bad_request");  // masked
  CHECK(code(server_frame(0x81, std::string(300, 'x')), 299) == "too_large");
  CHECK(code(server_frame(0x81, std::string(300, 'x')), 300) == "accepted");
}

TEST_CASE("the handshake's answer is computed as RFC 6455 shows", "[client]") {
  CHECK(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK(make_websocket_key().size() == 24);
  CHECK(make_websocket_key() != make_websocket_key());
}

TEST_CASE("backoff doubles its bound, stays below it and never waits nothing", "[client]") {
  const auto seed = GENERATE(1U, 2U, 3U);
  INFO("seed " << seed);
  cli::backoff wait{seed, std::chrono::milliseconds{100}, std::chrono::milliseconds{1000}};
  std::int64_t bound = 100;
  for (int i = 0; i < 20; ++i) {
    const auto pause = wait.next().count();
    CHECK(pause >= 1);
    CHECK(pause <= bound);
    bound = std::min<std::int64_t>(bound * 2, 1000);
  }
  wait.reset();
  CHECK(wait.next().count() <= 100);
}
