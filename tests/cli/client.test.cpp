// The client against a local server that misbehaves on purpose.
#include "cli/client/api.hpp"
#include "cli/client/event_stream.hpp"
#include "cli/client/websocket.hpp"

#include "tests/cli/tiny_server.hpp"
#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::client;
using namespace std::chrono_literals;
using testing::json_response;
using testing::tiny_connection;
using testing::tiny_server;

namespace {

account to(const std::string& url, std::string token = {}) {
  return {.server = *endpoint::parse(url), .tenant = "acme", .token = std::move(token)};
}

/// Nothing listens there.
constexpr const char* nowhere = "http://127.0.0.1:1";

}  // namespace

TEST_CASE("one connection serves many requests, with tenant and token", "[client]") {
  std::vector<std::string> heads;
  tiny_server server{[&](tiny_connection& c) {
    for (auto head = c.read_head(); !head.empty(); head = c.read_head()) {
      heads.push_back(head);
      c.write(json_response(R"({"n":1})"));
    }
  }};
  {
    api client{to(server.url(), "secret")};
    CHECK(client.call("GET", client.topic_path("a.b")).value() == R"({"n":1})");
    CHECK(client.call("GET", client.tenant_path("/topics")).value() == R"({"n":1})");
  }
  CHECK(server.accepted() == 1);
  REQUIRE(heads.size() == 2);
  CHECK_THAT(heads[0], Catch::Contains("GET /v1/tenants/acme/topics/a.b HTTP/1.1\r\n"));
  CHECK_THAT(heads[0], Catch::Contains("Authorization: Bearer secret\r\n"));
}

TEST_CASE("a refusal is the error that its problem document names", "[client]") {
  tiny_server server{[](tiny_connection& c) {
    (void)c.read_head();
    c.write(json_response(
        R"({"status":429,"code":"overloaded","detail":"slow down","retry_after_ms":250})",
        "429 Too Many Requests"));
  }};
  api client{to(server.url())};
  const auto answer = client.call("GET", "/x");
  REQUIRE_FALSE(answer);
  CHECK(answer.error() == error{errc::overloaded, "slow down", 250});
}

TEST_CASE("a refusal without a problem document still says its status", "[client]") {
  tiny_server server{[](tiny_connection& c) {
    (void)c.read_head();
    c.write("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\noops!");
  }};
  api client{to(server.url())};
  const auto answer = client.call("GET", "/x");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::internal);
  CHECK_THAT(answer.error().detail, Catch::Contains("502"));
}

TEST_CASE("no server, a silent server and a vanishing server are all unreachable", "[client]") {
  api absent{to(nowhere)};
  CHECK(absent.call("GET", "/").error().code == errc::unreachable);

  tiny_server silent{[](tiny_connection& c) {
    (void)c.read_head();
    (void)c.read_head();
  }};
  api waiting{to(silent.url())};
  http_request request;
  request.timeout = 50ms;
  CHECK(waiting.call(request).error().code == errc::unreachable);

  tiny_server vanishing{[](tiny_connection& c) { (void)c.read_head(); }};
  api dropped{to(vanishing.url())};
  CHECK(dropped.call("GET", "/").error().code == errc::unreachable);
  CHECK(dropped.call("GET", "/").error().detail.find("closed") != std::string::npos);
}

TEST_CASE("bodies come in chunks, and with a connection that ends", "[client]") {
  bool chunked = GENERATE(true, false);
  tiny_server server{[&](tiny_connection& c) {
    (void)c.read_head();
    if (chunked) {
      c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab");
      c.write("c\r\n2\r\nde\r\n0\r\n\r\n");
    } else {
      c.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
      c.write("de");
    }
  }};
  api client{to(server.url())};
  CHECK(client.call("GET", "/").value() == "abcde");
}

TEST_CASE("a kept connection that the server closed is replaced", "[client]") {
  tiny_server server{[](tiny_connection& c) {
    if (c.read_head().empty()) return;
    c.write(json_response("{}"));
  }};
  api client{to(server.url())};
  CHECK(client.call("GET", "/"));
  CHECK(client.call("GET", "/"));
  CHECK(server.accepted() == 2);
}

TEST_CASE("a WebSocket sends masked text, answers pings and joins fragments", "[client]") {
  std::string head;
  std::string sent;
  std::string pong;
  tiny_server server{[&](tiny_connection& c) {
    head = c.upgrade("callboard.v1.json");
    int opcode = 0;
    sent = c.read_frame(opcode);
    c.write_frame(9, "are you there");
    c.write(std::string(
        "\x01\x03"
        "abc",
        5));
    c.write(std::string(
        "\x80\x02"
        "de",
        4));
    pong = c.read_frame(opcode);
    if (opcode != 10) pong = "not a pong";
    c.write_frame(8, std::string("\x0f\xa1", 2) + "expired");
    (void)c.read_frame(opcode);
  }};
  api client{to(server.url(), "tok")};
  auto socket = websocket::connect(client.who().server, client.websocket_for("callboard.v1.json"));
  REQUIRE(socket);
  CHECK(socket->subprotocol() == "callboard.v1.json");
  REQUIRE(socket->send_text("hello"));
  const auto message = socket->receive(5s);
  REQUIRE((message && *message));
  CHECK((*message)->data == "abcde");
  CHECK_FALSE((*message)->is_binary);
  const auto end = socket->receive(5s);
  REQUIRE_FALSE(end);
  CHECK(end.error().code == errc::unreachable);
  REQUIRE(socket->closed());
  CHECK(socket->closed()->code == 4001);
  CHECK(socket->closed()->reason == "expired");
  CHECK(socket->pings() == 1);
  CHECK_FALSE(socket->send_text("too late"));
  CHECK(sent == "hello");
  CHECK(pong == "are you there");
  CHECK_THAT(head, Catch::Contains("Authorization: Bearer tok\r\n"));
  CHECK_THAT(head, Catch::Contains("GET /v1/tenants/acme/ws HTTP/1.1\r\n"));
}

TEST_CASE("waiting for a message ends in time and loses nothing", "[client]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    (void)c.read_frame(opcode);
    c.write_frame(1, "late");
    (void)c.read_frame(opcode);
  }};
  auto socket = websocket::connect(to(server.url()).server, {});
  REQUIRE(socket);
  const auto nothing = socket->receive(10ms);
  REQUIRE(nothing);
  CHECK_FALSE(*nothing);
  REQUIRE(socket->send_text("go"));
  const auto message = socket->receive(5s);
  REQUIRE((message && *message));
  CHECK((*message)->data == "late");
}

TEST_CASE("a refused upgrade is the server's own error", "[client]") {
  tiny_server server{[](tiny_connection& c) {
    (void)c.read_head();
    c.write(json_response(R"({"code":"unauthorized","detail":"no token"})", "401 Unauthorized"));
  }};
  const auto socket = websocket::connect(to(server.url()).server, {});
  REQUIRE_FALSE(socket);
  CHECK(socket.error().code == errc::unauthorized);
  CHECK(websocket::connect(to(nowhere).server, {}).error().code == errc::unreachable);
}

TEST_CASE("a wrong accept key is no WebSocket", "[client]") {
  tiny_server server{[](tiny_connection& c) {
    (void)c.read_head();
    c.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n");
  }};
  CHECK(websocket::connect(to(server.url()).server, {}).error().code == errc::bad_request);
}

TEST_CASE("an event stream is read across chunks and tells when it ends", "[client]") {
  std::string head;
  tiny_server server{[&](tiny_connection& c) {
    head = c.read_head();
    c.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        "f\r\nid: e:1\ndata: 1\r\n");
    c.write("2\r\n\n\n\r\n12\r\nid: e:2\ndata: two\n\r\n1\r\n\n\r\n0\r\n\r\n");
  }};
  http_request request;
  request.target = "/events";
  auto stream = event_stream::open(to(server.url()).server, request);
  REQUIRE(stream);
  const auto first = stream->next(5s);
  REQUIRE((first && *first));
  CHECK((*first)->id == "e:1");
  CHECK((*first)->data == "1");
  const auto second = stream->next(5s);
  REQUIRE((second && *second));
  CHECK((*second)->data == "two");
  CHECK(stream->next(5s).error().code == errc::unreachable);
  CHECK_THAT(head, Catch::Contains("Accept: text/event-stream\r\n"));
}

TEST_CASE("a refused event stream is the server's own error", "[client]") {
  tiny_server server{[](tiny_connection& c) {
    (void)c.read_head();
    c.write(json_response(R"({"code":"cursor_expired","detail":"first is 7"})", "410 Gone"));
  }};
  const auto stream = event_stream::open(to(server.url()).server, {});
  REQUIRE_FALSE(stream);
  CHECK(stream.error() == error{errc::cursor_expired, "first is 7", 0});
}
