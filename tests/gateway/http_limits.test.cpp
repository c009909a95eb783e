// What a connection may have beyond its own bounds: refusals that a WebSocket tells itself, the
// places beyond the limit of connections, and the node's budget.
#include "gateway/event_codec.hpp"
#include "gateway/request_reader.hpp"

#include "tests/gateway/guarded_fixture.hpp"
#include "tests/support/catch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

using namespace callboard;
using namespace callboard::testing;
using namespace std::chrono_literals;

namespace {

std::string get(std::string_view path, std::string_view headers = {}) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n{}\r\n", path, headers);
}

std::string upgrade(std::string_view path, std::string_view protocols) {
  auto headers = std::string{"Connection: Upgrade\r\nUpgrade: websocket\r\n"};
  if (!protocols.empty()) headers += fmt::format("Sec-WebSocket-Protocol: {}\r\n", protocols);
  return get(path, headers);
}

/// With a token of tenant acme.
struct upgrading_fixture : guarded_fixture {
  const std::string token = token_of({.publish = {">"}, .subscribe = {">"}});

  /// The refusal that is handed on with the upgrade.
  std::optional<error> refusal_of(const std::string& bytes) {
    auto client = connect();
    client.send(bytes);
    CHECK(client.is_closed());
    auto seen = take_upgrade();
    REQUIRE(seen.request.has_value());
    return seen.request->refused;
  }
};

}  // namespace

TEST_CASE_METHOD(
    upgrading_fixture,
    "who offers our subprotocol is refused by the WebSocket",
    "[gateway][http]") {
  const std::string at = "/v1/tenants/acme/ws";
  CHECK(refusal_of(upgrade(at, "callboard.v1.json"))->code == errc::unauthorized);
  CHECK(refusal_of(upgrade(at, "other, callboard.v1.proto"))->code == errc::unauthorized);
  CHECK(refusal_of(upgrade(at, "cloudevents.json,bearer.nonsense"))->code == errc::unauthorized);
  CHECK(
      refusal_of(upgrade("/v1/tenants/other/ws", "callboard.v1.json, bearer." + token))->code
      == errc::forbidden);
  CHECK_FALSE(refusal_of(upgrade(at, "callboard.v1.json, bearer." + token)).has_value());
}

TEST_CASE_METHOD(upgrading_fixture, "everybody else is refused over HTTP", "[gateway][http]") {
  const std::string at = "/v1/tenants/acme/ws";
  auto client = connect();
  CHECK(client.ask(upgrade(at, "")).status == 401);
  CHECK(client.ask(upgrade(at, "other")).status == 401);
  CHECK(client.ask(upgrade("/v1/tenants/other/ws", "bearer." + token)).status == 403);
  // A subprotocol alone is no upgrade.
  CHECK(client.ask(get(at, "Sec-WebSocket-Protocol: callboard.v1.json\r\n")).status == 401);
  CHECK(
      client
          .ask(
              get("/v1/tenants/acme/topics/t/events",
                  "Accept: text/event-stream\r\nSec-WebSocket-Protocol: callboard.v1.json\r\n"))
          .status
      == 401);
}

TEST_CASE_METHOD(
    upgrading_fixture,
    "beyond the limit of connections all is refused but health",
    "[gateway][http]") {
  standing = gateway::admission::beyond_limit;
  auto client = connect();
  auto got = client.ask(get("/v1/tenants/acme/topics", "Authorization: Bearer " + token + "\r\n"));
  CHECK(got.status == 503);
  CHECK(got.headers.at("retry-after") == "1");
  CHECK(got.headers.at("connection") == "close");
  CHECK_THAT(got.body, Catch::Contains(R"("code":"too_many_connections")"));
  CHECK(client.is_closed());
  auto health = connect();
  got = health.ask(get("/livez"));
  CHECK(got.status == 200);
  CHECK(got.headers.at("connection") == "close");
  CHECK(health.is_closed());
  const auto refused =
      refusal_of(upgrade("/v1/tenants/acme/ws", "callboard.v1.json, bearer." + token));
  REQUIRE(refused.has_value());
  CHECK(refused->code == errc::too_many_connections);
  CHECK(refused->retry_after_ms == 1000);
  // Its place is needed for the next one to be told.
  auto silent = connect();
  REQUIRE(eventually([this] { return !ports.empty(); }));
  advance(2001ms);
  CHECK(silent.is_closed());
}

TEST_CASE_METHOD(http_fixture, "pages of events are charged until written", "[gateway][http]") {
  run([this] { on_control = [](const auto&) { return std::nullopt; }; });
  const auto page = get(GENERATE(
      as<std::string>{},
      "/v1/tenants/acme/topics/t/events?limit=5",
      "/v1/tenants/acme/topics/t/bindings/b/dead?limit=5"));
  auto first = connect();
  first.send(page);
  REQUIRE(eventually([this] { return asked.size() == 1; }));
  const auto charged = budget.used();
  CHECK(charged > 0);
  std::vector<raw_client> readers;
  while (budget.used() + charged <= budget.size_max() / 2) {
    readers.push_back(connect());
    readers.back().send(page);
    REQUIRE(eventually([&] { return asked.size() == readers.size() + 1; }));
  }
  // Readers may not have all of it: what is left is for publishes.
  auto client = connect();
  const auto got = client.ask(page);
  CHECK(got.status == 429);
  CHECK_THAT(got.body, Catch::Contains(R"("code":"overloaded")"));
  CHECK(got.headers.contains("retry-after"));
  CHECK(
      client
          .ask("POST /v1/tenants/acme/topics/t/events HTTP/1.1\r\nHost: h\r\n"
               "Content-Length: 1\r\n\r\n1")
          .status
      == 200);
  advance(std::chrono::milliseconds{settings.limits.request_timeout_ms + 1});
  CHECK(first.read().status == 503);
  readers.clear();
  run([this] {
    published.clear();
    on_control = [](const auto&) {
      actors::event_page page;
      page.batch = std::make_shared<runtime::event_batch>();
      return std::optional<result<actors::control_answer>>{actors::control_answer{std::move(page)}};
    };
  });
  auto last = connect();
  CHECK(last.ask(page).status == 200);
  CHECK(eventually([this] { return budget.used() == 0; }));
}

TEST_CASE_METHOD(http_fixture, "leased tasks are charged until written", "[gateway][http]") {
  actors::leased_tasks list;
  list.tasks.emplace_back().payload = shared_bytes{'"' + std::string(300 << 10, 'x') + '"'};
  answer_leases(list);
  const std::string lease =
      "POST /v1/tenants/acme/queues/q/lease HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";
  auto others = budget.charge(300 << 10);
  REQUIRE(others.has_value());
  auto client = connect();
  const auto refused = client.ask(lease);
  CHECK(refused.status == 429);
  CHECK_THAT(refused.body, Catch::Contains(R"("code":"overloaded")"));
  CHECK(refused.headers.contains("retry-after"));
  REQUIRE(eventually([this] { return asked.size() == 2; }));
  run([this] {
    const auto& given = std::get<actors::lease_tasks>(asked[0]).lease;
    CHECK(given.bytes_max == budget.size_max() / 16);
    const auto& left = std::get<actors::leave_queue>(asked[1]);
    CHECK(left.worker == given.worker);
    CHECK(left.unseen == std::vector{given.poll});
  });
  others.reset();
  CHECK(client.ask(lease).status == 200);
  CHECK(eventually([this] { return budget.used() == 0; }));
  // What is more than half of the budget by itself is not refused for ever.
  run([this] {
    on_control = [](const auto&) {
      actors::leased_tasks list;
      list.tasks.emplace_back().payload = shared_bytes{'"' + std::string(2 << 20, 'x') + '"'};
      return std::optional<result<actors::control_answer>>{actors::control_answer{list}};
    };
  });
  CHECK(client.ask(lease).status == 200);
  CHECK(eventually([this] { return budget.used() == 0; }));
}

TEST_CASE_METHOD(http_fixture, "deliveries are charged until written", "[gateway][http]") {
  const auto give = [this](std::size_t bytes) {
    run([this, bytes] {
      on_control = [bytes](const actors::control_body& body) {
        const auto* fetch = std::get_if<actors::fetch_deliveries>(&body);
        if (fetch == nullptr) {
          return std::optional<result<actors::control_answer>>{
              actors::control_answer{actors::done{}}};
        }
        const auto event = gateway::decode_plain('"' + std::string(bytes, 'x') + '"', {.id = "x"});
        actors::delivery_list list{.epoch = "e", .group = fetch->group};
        for (const auto* token : {"d1", "d2"})
          list.deliveries.push_back({token, 1, {sequence{3}, time_ms{}, event->event.stored}});
        return std::optional<result<actors::control_answer>>{actors::control_answer{list}};
      };
    });
  };
  give(150 << 10);
  const std::string fetch = "POST /v1/tenants/acme/topics/t/groups/g/fetch HTTP/1.1\r\nHost: h\r\n"
                            "Content-Length: 14\r\n\r\n{\"member\":\"m\"}";
  auto others = budget.charge(300 << 10);
  REQUIRE(others.has_value());
  auto client = connect();
  const auto refused = client.ask(fetch);
  CHECK(refused.status == 429);
  CHECK_THAT(refused.body, Catch::Contains(R"("code":"overloaded")"));
  CHECK(refused.headers.contains("retry-after"));
  REQUIRE(eventually([this] { return asked.size() == 2; }));
  run([this] {
    CHECK(std::get<actors::fetch_deliveries>(asked[0]).bytes_max == budget.size_max() / 16);
    // These and no others of the member, without an attempt.
    const auto& back = std::get<actors::nack_deliveries>(asked[1]);
    CHECK(back.group.group.str() == "g");
    CHECK(back.tokens == std::vector<std::string>{"d1", "d2"});
    CHECK(back.kind == actors::nack_kind::put_back);
    CHECK(back.delay_ms == 0);
  });
  others.reset();
  CHECK(client.ask(fetch).status == 200);
  CHECK(eventually([this] { return budget.used() == 0; }));
  // What is more than half of the budget by itself is not refused for ever.
  give(600 << 10);
  CHECK(client.ask(fetch).status == 200);
  CHECK(eventually([this] { return budget.used() == 0; }));
}

TEST_CASE_METHOD(http_fixture, "bodies stay charged until they are answered", "[gateway][http]") {
  run([this] { on_control = [](const auto&) { return std::nullopt; }; });
  auto client = connect();
  const std::string body = R"({"deliveries":["a"]})";
  client.send(fmt::format(
      "POST /v1/tenants/acme/topics/t/groups/g/ack HTTP/1.1\r\nHost: h\r\n"
      "Content-Length: {}\r\n\r\n{}",
      body.size(),
      body));
  REQUIRE(eventually([this] { return asked.size() == 1; }));
  CHECK(budget.used() == body.size());
  advance(std::chrono::milliseconds{settings.limits.request_timeout_ms + 1});
  CHECK(client.read().status == 503);
  CHECK(eventually([this] { return budget.used() == 0; }));
}

TEST_CASE("memory that is being read into outlives the request", "[gateway][http]") {
  gateway::request_reader reader{{}};
  const auto feed = [&](std::string_view bytes) {
    auto progress = gateway::request_reader::progress::need_more;
    while (!bytes.empty()) {
      const auto into = reader.prepare();
      REQUIRE(into.size() > 0);
      const auto size = std::min(into.size(), bytes.size());
      std::memcpy(into.data(), bytes.data(), size);
      reader.commit(size);
      bytes.remove_prefix(size);
      const auto now = reader.advance();
      REQUIRE(now.has_value());
      progress = *now;
    }
    return progress;
  };
  // A line that comes without its end makes the buffer as large as it gets.
  const std::string line = "X-Long: " + std::string(15'500, 'x');
  REQUIRE(
      feed("POST /v1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n" + line)
      == gateway::request_reader::progress::need_more);
  REQUIRE(feed("\r\n\r\n1") == gateway::request_reader::progress::head);
  REQUIRE(reader.advance().value() == gateway::request_reader::progress::complete);
  // As a long poll does, to notice that its client left; then the answer is written.
  const auto into = reader.prepare();
  reader.next();
  constexpr std::string_view more = "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";
  REQUIRE(into.size() >= more.size());
  std::memcpy(into.data(), more.data(), more.size());
  reader.commit(more.size());
  REQUIRE(reader.advance().value() == gateway::request_reader::progress::head);
  CHECK(reader.request().target == "/livez");
  REQUIRE(reader.advance().value() == gateway::request_reader::progress::complete);
  // Nobody reads now, so that what was large is given back.
  reader.next();
  CHECK(reader.prepare().size() < into.size());
}
