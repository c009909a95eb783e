// What a client on a socket sees: framing, limits, timeouts, keep-alive.
#include "gateway/problem.hpp"

#include "tests/gateway/http_fixture.hpp"
#include "tests/support/catch.hpp"

#include <fmt/format.h>

using namespace callboard;
using namespace callboard::testing;
using namespace std::chrono_literals;

namespace {

constexpr auto events_path = "/v1/tenants/acme/topics/orders/events";

std::string post(std::string_view path, std::string_view body, std::string_view headers = {}) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n{}\r\n{}",
      path,
      body.size(),
      headers.empty() ? "Content-Type: application/json\r\n" : headers,
      body);
}

std::string get(std::string_view path, std::string_view headers = {}) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n{}\r\n", path, headers);
}

}  // namespace

TEST_CASE_METHOD(http_fixture, "a publish is answered with its position", "[gateway][http]") {
  auto client = connect();
  const auto got =
      client.ask(post(events_path, "{}", "Idempotency-Key: \"k 1\"\r\nX-Request-Id: r-7\r\n"));
  CHECK(got.status == 200);
  CHECK(
      got.body
      == R"({"topic":"orders","seq":1,"cursor":"e1:1","duplicate":false,"durability":"synced","id":"k 1"})");
  CHECK(got.headers.at("content-type") == "application/json");
  CHECK(got.headers.at("x-request-id") == "r-7");
  CHECK(got.headers.contains("date"));
  CHECK_FALSE(got.headers.contains("connection"));
}

TEST_CASE_METHOD(http_fixture, "pipelined requests are answered in order", "[gateway][http]") {
  auto client = connect();
  std::string all;
  for (int i = 0; i < 50; ++i)
    all += post(events_path, std::to_string(i));
  client.send(all);
  for (int i = 1; i <= 50; ++i) {
    CHECK_THAT(client.read().body, Catch::Contains(fmt::format("\"seq\":{},", i)));
  }
}

TEST_CASE_METHOD(http_fixture, "a request may come byte by byte", "[gateway][http]") {
  auto client = connect();
  for (const char c : "\r\n" + post(events_path, R"({"a":1})"))
    client.send({&c, 1});
  CHECK(client.read().status == 200);
}

TEST_CASE_METHOD(http_fixture, "a request may be cut in two anywhere", "[gateway][http]") {
  auto client = connect();
  const auto bytes = "\r\n" + post(events_path, R"({"a":1})");
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    client.send(bytes.substr(0, cut));
    // The first part must have been read by itself.
    run([] {});
    CHECK(connect().ask(get("/livez")).status == 200);
    client.send(bytes.substr(cut));
    INFO("cut at " << cut);
    CHECK(client.read().status == 200);
  }
}

TEST_CASE_METHOD(http_fixture, "chunked bodies are put together", "[gateway][http]") {
  auto client = connect();
  const auto head =
      fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", events_path);
  client.send(head + "3;ext=1\r\n[1,\r\n");
  client.send("2\r\n2]\r\n0\r\nTrailer: x\r\n\r\n");
  CHECK(client.read().status == 200);
  CHECK(client.ask(head + "1\r\n5\r\n0\r\n\r\n").status == 200);
  run([this] { CHECK(published.size() == 2); });
}

TEST_CASE_METHOD(
    http_fixture, "an empty chunked body may be cut in two anywhere", "[gateway][http]") {
  auto client = connect();
  const auto head =
      fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", events_path);
  for (const std::string body : {"0\r\n\r\n", "0\r\nT: x\r\n\r\n", "00;e=1\r\nT: x\r\n\r\n"}) {
    for (std::size_t cut = 1; cut < body.size(); ++cut) {
      client.send(head);
      for (const auto& part : {body.substr(0, cut), body.substr(cut)}) {
        // What came before must have been read by itself.
        run([] {});
        CHECK(connect().ask(get("/livez")).status == 200);
        client.send(part);
      }
      INFO(body << " cut at " << cut);
      // No JSON, but a whole request.
      CHECK(client.read().status == 400);
    }
  }
}

TEST_CASE_METHOD(
    http_fixture, "framing that cannot be trusted ends the connection", "[gateway][http]") {
  const std::string start = fmt::format("POST {} HTTP/1.1\r\n", events_path);
  const std::pair<std::string, unsigned> vectors[] = {
      {"garbage\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"GET /livez HTTP/1.1\r\n\r\n", 400},
      {"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET /livez HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n", 400},
      {start + "Host: h\r\nContent-Length: x\r\n\r\n", 400},
      {start + "Host: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {start + "Host: h\r\nContent-Length: -1\r\n\r\n", 400},
      {start + "Host: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {start + "Host: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {start + "Host: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {start + "Host: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n55\r\n0\r\n\r\n", 400},
  };
  for (const auto& [bytes, status] : vectors) {
    INFO(bytes);
    auto client = connect();
    const auto got = client.ask(bytes);
    CHECK(got.status == status);
    CHECK(got.headers.at("content-type") == "application/problem+json");
    CHECK(got.headers.at("connection") == "close");
    CHECK_THAT(got.body, Catch::Contains("\"status\":" + std::to_string(status)));
    CHECK_THAT(
        got.body, Catch::Contains(fmt::format("\"title\":\"{}\"", gateway::reason_of(status))));
    CHECK(client.is_closed());
  }
}

TEST_CASE("heads and bodies have limits", "[gateway][http]") {
  http_fixture fixture{[](config& c) {
    c.limits.header_bytes_max = 1024;
    c.limits.body_bytes_max = 2048;
  }};
  auto long_head = fixture.connect();
  CHECK(long_head.ask(get("/livez", "X: " + std::string(2000, 'x') + "\r\n")).status == 431);
  CHECK(long_head.is_closed());
  auto endless = fixture.connect();
  CHECK(endless.ask("GET /" + std::string(40'000, 'a')).status == 431);
  CHECK(endless.is_closed());

  auto announced = fixture.connect();
  announced.send(
      fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 2049\r\n\r\n", events_path));
  CHECK(announced.read().status == 413);
  auto sent = fixture.connect();
  CHECK(sent.ask(post(events_path, std::string(500'000, ' '))).status == 413);
  CHECK(sent.is_closed());
  auto chunked = fixture.connect();
  CHECK(
      chunked
          .ask(fmt::format(
              "POST {} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n{}",
              events_path,
              std::string(4096, ' ')))
          .status
      == 413);
  auto fits = fixture.connect();
  CHECK(fits.ask(post(events_path, "1" + std::string(2047, ' '))).status == 200);
}

TEST_CASE_METHOD(http_fixture, "a client may ask before it sends a body", "[gateway][http]") {
  auto client = connect();
  const auto head = [](std::string_view size, std::string_view path) {
    return fmt::format(
        "POST {} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        path,
        size);
  };
  CHECK(client.ask(head("2", events_path)).status == 100);
  CHECK(client.ask("{}").status == 200);
  CHECK(client.ask(head("2", "/v1/nowhere")).status == 404);
  CHECK(client.is_closed());
  auto big = connect();
  CHECK(big.ask(head("999999999", events_path)).status == 413);
  auto odd = connect();
  CHECK(odd.ask(get("/livez", "Expect: a miracle\r\n")).status == 417);
}

TEST_CASE_METHOD(
    http_fixture, "a refused request leaves the connection usable", "[gateway][http]") {
  auto client = connect();
  CHECK(client.ask(post(events_path, "{")).status == 400);
  CHECK(client.ask(post(events_path, "x", "Content-Type: text/plain\r\n")).status == 415);
  CHECK(client.ask(post("/v1/nowhere", "{}")).status == 404);
  const auto method =
      client.ask("DELETE /v1/tenants/acme/topics/orders/events HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(method.status == 405);
  CHECK(method.headers.at("allow") == "GET, HEAD, POST, OPTIONS");
  CHECK(client.ask("BREW /livez HTTP/1.1\r\nHost: h\r\n\r\n").status == 501);
  CHECK(client.ask(get("/v1/tenants/UPPER/topics")).status == 400);
  CHECK(client.ask(get("/v1/tenants/acme/topics/a..b")).status == 400);
  CHECK(client.ask(get("/%zz")).status == 400);
  CHECK(client.ask(post(events_path, "{}")).status == 200);
}

TEST_CASE_METHOD(http_fixture, "HTTP/1.0 closes unless it asks otherwise", "[gateway][http]") {
  auto client = connect();
  client.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(client.read().headers.at("connection") == "keep-alive");
  const auto last = client.ask("GET /livez HTTP/1.0\r\n\r\n");
  CHECK(last.headers.at("connection") == "close");
  CHECK(client.is_closed());
  auto modern = connect();
  CHECK(modern.ask(get("/livez", "Connection: close\r\n")).headers.at("connection") == "close");
  CHECK(modern.is_closed());
}

TEST_CASE_METHOD(http_fixture, "HEAD has the headers of GET and no body", "[gateway][http]") {
  auto client = connect();
  client.send("HEAD /livez HTTP/1.1\r\nHost: h\r\n\r\n" + get("/livez"));
  CHECK(client.read(true).headers.at("content-length") == "17");
  CHECK(client.read().body == R"({"status":"live"})");
}

TEST_CASE_METHOD(
    http_fixture, "a client that ends its input still gets its answer", "[gateway][http]") {
  auto client = connect();
  client.send(post(events_path, "{}"));
  client.end_input();
  CHECK(client.read().status == 200);
  CHECK(client.is_closed());
}

TEST_CASE_METHOD(http_fixture, "slow heads and bodies time out", "[gateway][http]") {
  settings.limits.handshake_timeout_ms = 1000;
  settings.limits.request_timeout_ms = 3000;
  auto head = connect();
  head.send("GET /livez HTTP/1.1\r\nHost:");
  REQUIRE(eventually([this] { return ports.size() == 1; }));
  // The bytes must have been seen before the clock moves.
  auto witness = connect();
  CHECK(witness.ask(get("/livez")).status == 200);
  advance(999ms);
  head.send(" h");
  advance(1ms);
  CHECK(head.read().status == 408);
  CHECK(head.is_closed());

  auto body = connect();
  body.send(
      fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12", events_path));
  CHECK(connect().ask(get("/livez")).status == 200);
  advance(2999ms);
  advance(2ms);
  CHECK(body.read().status == 408);
  CHECK(body.is_closed());
}

TEST_CASE_METHOD(http_fixture, "silent connections are closed", "[gateway][http]") {
  settings.limits.handshake_timeout_ms = 1000;
  settings.limits.idle_timeout_ms = 5000;
  auto silent = connect();
  REQUIRE(eventually([this] { return ports.size() == 1; }));
  auto idle = connect();
  CHECK(idle.ask(get("/livez")).status == 200);
  advance(1000ms);
  CHECK(silent.is_closed());
  CHECK(idle.ask(get("/livez")).status == 200);
  advance(5000ms);
  CHECK(idle.is_closed());
  CHECK(eventually([this] { return ports.empty(); }));
}

TEST_CASE_METHOD(
    http_fixture, "no answer in time is told, and a late one changes nothing", "[gateway][http]") {
  settings.limits.request_timeout_ms = 2000;
  run([this] { on_publish = [](const auto&) { return std::nullopt; }; });
  auto client = connect();
  client.send(post(events_path, "{}"));
  REQUIRE(eventually([this] { return held_replies.size() == 1; }));
  advance(2000ms);
  const auto got = client.read();
  CHECK(got.status == 503);
  CHECK(got.headers.contains("retry-after"));
  run([this] { held_replies.front()(); });
  CHECK(client.ask(get("/livez")).body == R"({"status":"live"})");
}

TEST_CASE_METHOD(
    http_fixture, "a drain lets requests finish and idle clients go", "[gateway][http]") {
  run([this] { on_publish = [](const auto&) { return std::nullopt; }; });
  auto idle = connect();
  CHECK(idle.ask(get("/livez")).status == 200);
  auto busy = connect();
  busy.send(post(events_path, "{}"));
  REQUIRE(eventually([this] { return held_replies.size() == 1; }));
  drain(1000ms);
  advance(1000ms);
  CHECK(idle.is_closed());
  CHECK(eventually([this] { return ports.size() == 1; }));
  run([this] { held_replies.front()(); });
  const auto got = busy.read();
  CHECK(got.status == 200);
  CHECK(got.headers.at("connection") == "close");
  CHECK(busy.is_closed());
}

TEST_CASE_METHOD(http_fixture, "bodies are charged to the node's budget", "[gateway][http]") {
  auto hog = connect();
  hog.send(
      fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n[", events_path));
  REQUIRE(eventually([this] { return budget.used() >= 1'000'000; }));
  auto client = connect();
  const auto got = client.ask(post(events_path, "\"" + std::string(60'000, 'x') + "\""));
  CHECK(got.status == 429);
  CHECK(got.headers.contains("retry-after"));
  CHECK_THAT(got.body, Catch::Contains("retry_after_ms"));
  CHECK(client.ask(post(events_path, "{}")).status == 200);
  hog.close();
  CHECK(eventually([this] { return ports.size() == 1; }));
  CHECK(client.ask(post(events_path, "\"" + std::string(60'000, 'x') + "\"")).status == 200);
  run([this] { published.clear(); });
  CHECK(budget.used() == 0);
}

TEST_CASE("a connection's own rate has a limit", "[gateway][http]") {
  http_fixture fixture{[](config& c) { c.limits.publishes_per_s = 2; }};
  auto client = fixture.connect();
  CHECK(client.ask(post(events_path, "1")).status == 200);
  CHECK(client.ask(post(events_path, "2")).status == 200);
  const auto got = client.ask(post(events_path, "3"));
  CHECK(got.status == 429);
  CHECK_THAT(got.body, Catch::Contains("rate_limited"));
  fixture.advance(500ms);
  CHECK(client.ask(post(events_path, "4")).status == 200);
}
