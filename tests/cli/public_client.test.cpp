// The public client (include/callboard/client.hpp) against a node that is played by the test.
#include "base/clock.hpp"
#include "cli/client/raw_json.hpp"

#include "tests/cli/tiny_server.hpp"
#include "tests/support/catch.hpp"

#include <atomic>
#include <callboard/client.hpp>
#include <set>

using namespace std::chrono_literals;
using callboard::failure_class;
using callboard::json;
using callboard::tenant_client;
using callboard::testing::json_response;
using callboard::testing::tiny_connection;
using callboard::testing::tiny_server;
namespace client = callboard::client;

namespace {

tenant_client client_of(const tiny_server& server) {
  return *tenant_client::open({.server = server.url(), .tenant = "acme"});
}

std::string member(const std::string& object, std::string_view name) {
  const auto members = client::json_members(object);
  return members ? std::string{client::find_member(*members, name)} : std::string{};
}

/// Takes the subscription and gives its frame.
std::string take_subscription(tiny_connection& c, const std::string& limits = "{}") {
  (void)c.upgrade("callboard.v1.json");
  c.write_frame(1, R"({"op":"welcome","limits":)" + limits + "}");
  int opcode = 0;
  auto frame = c.read_frame(opcode);
  c.write_frame(1, R"({"op":"ok","id":1,"sub":1,"epoch":"e","cursor":"e:4","recovered":true})");
  return frame;
}

/// Reads one request: what makes it one that counts once, be it in the head or in the body.
std::string identity_of(tiny_connection& c) {
  const auto head = c.read_head();
  if (head.empty()) return {};
  const auto value = [&](std::string_view name) {
    const auto at = head.find(name);
    return at == std::string::npos
               ? std::string{}
               : head.substr(at + name.size(), head.find('\r', at) - at - name.size());
  };
  const auto length = value("Content-Length: ");
  const auto body = c.read(length.empty() ? 0 : std::stoul(length));
  const auto key = value("Idempotency-Key: ");
  return key.empty() ? client::json_text(member(body, "id")) : key;
}

std::string refusal(std::string_view code) {
  return json_response(
      R"({"code":")" + std::string{code} + R"(","detail":"the fsync failed"})",
      "503 Service Unavailable");
}

void send_event(const tiny_connection& c, int seq) {
  const auto n = std::to_string(seq);
  c.write_frame(
      1,
      R"({"op":"event","sub":1,"topic":"a","seq":)" + n + R"(,"cursor":"e:)" + n
          + R"(","event":{"id":")" + n + R"("}})");
}

void until_it_goes(tiny_connection& c) {
  int opcode = 0;
  do {
    (void)c.read_frame(opcode);
  } while (opcode != -1 && opcode != 8);
}

}  // namespace

TEST_CASE("a node that says nothing any more is lost, and another goes on", "[client]") {
  std::vector<std::string> from;
  tiny_server server{[&](tiny_connection& c) {
    from.push_back(member(take_subscription(c, R"({"ping_interval_ms":60})"), "from"));
    if (from.size() == 1) {
      for (int i = 0; i < 4; ++i)
        c.write_frame(9, {});
    } else {
      send_event(c, 5);
    }
    until_it_goes(c);
  }};
  auto live = client_of(server).subscribe("a");
  REQUIRE(live);
  const auto one = live->next(9s);
  REQUIRE((one && *one));
  CHECK((*one)->seq == 5);
  CHECK(from == std::vector<std::string>{R"("now")", R"("e:4")"});
}

TEST_CASE("what nobody knows the outcome of is sent again under the same id", "[client]") {
  std::multiset<std::string> seen;
  tiny_server server{[&](tiny_connection& c) {
    for (auto id = identity_of(c); !id.empty(); id = identity_of(c)) {
      seen.insert(id);
      const auto before = seen.count(id);
      // The node does not know it twice, then it drops the connection.
      if (before == 3) return;
      if (before < 3) c.write(refusal(before == 1 ? "outcome_unknown" : "timeout"));
      if (before > 3) c.write(json_response(R"({"id":"x","seq":1,"result":7})"));
    }
  }};
  auto acme = client_of(server);
  CHECK(acme.publish("a", {.type = "t"}));
  CHECK(acme.start("t", 1));
  CHECK(acme.signal("w", "s", 1));
  CHECK(acme.call("t", "k", "m", 1) == json(7));
  std::set<std::string> ids{seen.begin(), seen.end()};
  CHECK(ids.size() == 4);
  CHECK(seen.size() == 16);
}

TEST_CASE("a failure tells the id that the client made", "[client]") {
  std::string last;
  tiny_server server{[&](tiny_connection& c) {
    for (auto id = identity_of(c); !id.empty(); id = identity_of(c)) {
      last = id;
      c.write(refusal("overloaded"));
    }
  }};
  auto acme = client_of(server);
  const auto told = [&](const auto& done) {
    REQUIRE_FALSE(done);
    CHECK(done.error().kind == failure_class::rate);
    return done.error().details;
  };
  CHECK(told(acme.publish("a", {.type = "t"})) == R"({"id":")" + last + "\"}");
  CHECK(told(acme.start("t", 1)) == R"({"id":")" + last + "\"}");
  CHECK(told(acme.signal("w", "s", 1)) == R"({"key":")" + last + "\"}");
  CHECK(told(acme.call("t", "k", "m", 1)) == R"({"key":")" + last + "\"}");
  CHECK(told(acme.publish("a", {.id = "mine", .type = "t"})) == R"({"id":"mine"})");
}

TEST_CASE("a call ends with its one deadline, whatever it tries", "[client]") {
  std::atomic<bool> over = false;
  // Takes connections and answers nothing; also not to the upgrade of a subscription.
  tiny_server silent{[&](tiny_connection& c) { c.until_gone(over); }};
  auto acme = client_of(silent);
  const callboard::system_clock clock;
  const auto began = clock.boot();
  CHECK(acme.result("w", 1ms).error().code == "unreachable");
  CHECK(clock.boot() - began < 8s);
  over = true;
}

TEST_CASE("a short wait for the next event stays short while the node is away", "[client]") {
  std::atomic<bool> over = false;
  std::atomic<int> connections = 0;
  tiny_server server{[&](tiny_connection& c) {
    if (++connections == 1) return (void)take_subscription(c);
    c.until_gone(over);
  }};
  auto live = client_of(server).subscribe("a");
  REQUIRE(live);
  const callboard::system_clock clock;
  const auto began = clock.boot();
  for (int i = 0; i < 3; ++i)
    CHECK(live->next(0ms)->has_value() == false);
  CHECK(clock.boot() - began < 5s);
  over = true;
}

TEST_CASE("an error that names a topic of a pattern is told, and the others go on", "[client]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)take_subscription(c);
    c.write_frame(
        1, R"({"op":"error","sub":1,"topic":"a.x","code":"too_many_subscriptions","detail":"no"})");
    send_event(c, 1);
    until_it_goes(c);
  }};
  auto live = client_of(server).subscribe("*");
  REQUIRE(live);
  const auto told = live->next(9s);
  REQUIRE_FALSE(told);
  CHECK(told.error().code == "gap");
  const auto one = live->next(9s);
  REQUIRE((one && *one));
  CHECK(server.accepted() == 1);
}

TEST_CASE("a subscription outlives refusals that may pass, and waits as long as told", "[client]") {
  std::vector<std::string> from;
  int connection = 0;
  const callboard::system_clock clock;
  callboard::boot_time away{};
  callboard::boot_time back{};
  tiny_server server{[&](tiny_connection& c) {
    switch (++connection) {
    case 1:
      from.push_back(member(take_subscription(c), "from"));
      away = clock.boot();
      return c.write_frame(1, R"({"op":"goaway","reconnect_after_ms":300})");
    case 2:
      back = clock.boot();
      (void)c.read_head();
      return c.write("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\noops!");
    case 3:
      (void)c.read_head();
      return c.write(refusal("internal"));
    case 4: {
      (void)c.upgrade("callboard.v1.json");
      int opcode = 0;
      (void)c.read_frame(opcode);
      return c.write_frame(
          1, R"({"op":"error","id":1,"code":"overloaded","detail":"busy","retry_after_ms":20})");
    }
    default:
      from.push_back(member(take_subscription(c), "from"));
      send_event(c, 5);
      until_it_goes(c);
    }
  }};
  auto live = client_of(server).subscribe("a");
  REQUIRE(live);
  const auto one = live->next(9s);
  REQUIRE((one && *one));
  CHECK((*one)->seq == 5);
  CHECK(from == std::vector<std::string>{R"("now")", R"("e:4")"});
  CHECK(back - away >= 300ms);
}

TEST_CASE("a subscription that is refused is no subscription", "[client]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    c.write_frame(1, R"({"op":"welcome"})");
    int opcode = 0;
    (void)c.read_frame(opcode);
    c.write_frame(1, R"({"op":"error","id":1,"code":"forbidden","detail":"not yours"})");
    until_it_goes(c);
  }};
  const auto refused = client_of(server).subscribe("a");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "forbidden");
  CHECK(refused.error().message == "not yours");
}

TEST_CASE("a workflow's failure comes with all that it tells", "[client]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.read_head();
    c.write(json_response(
        R"({"status":"failed","error":{"class":"quota","code":"no_money","message":"later",)"
        R"("retry_after_ms":1500,"details":{"left":0}}})"));
  }};
  const auto ended = client_of(server).result("w", 1s);
  REQUIRE(ended);
  CHECK(
      ended->error
      == callboard::failure{
          .kind = failure_class::quota,
          .code = "no_money",
          .message = "later",
          .retry_after_ms = 1500,
          .details = R"({"left":0})"});
}
