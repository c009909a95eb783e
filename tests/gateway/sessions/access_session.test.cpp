// Who may connect, for how long, and how often they may ask.
#include "tests/gateway/sessions/fixture.hpp"
#include "tests/support/temp_dir.hpp"

#include <fstream>

using namespace callboard;
using namespace callboard::gateway;
using namespace std::chrono_literals;
using callboard::testing::one_client;
using callboard::testing::temp_dir;
using Catch::Contains;

namespace {

/// A client of a node that verifies tokens.
struct client_with_token : one_client {
  temp_dir folder;
  config::auth_section keys;
  std::unique_ptr<token_verifier> verifier;

  client_with_token() {
    keys.hs256_secret_file = folder.str() + "/secret";
    keys.leeway_s = 0;
    std::ofstream{keys.hs256_secret_file} << "a secret of at least thirty-two bytes";
    verifier = token_verifier::from(keys).value();
    environment.verifier = verifier.get();
    who.subject = "ada";
    who.expires = time.wall() + 60s;
  }

  [[nodiscard]] std::string
  token(const std::string& subject, const std::string& subscribe, std::chrono::seconds lifetime) {
    token_claims claims;
    claims.subject = subject;
    claims.tenant = tenant_name::trusted("acme");
    claims.publish = {"open.>"};
    claims.subscribe = {subscribe};
    claims.lifetime = lifetime;
    return issue_token(keys, claims, time.wall()).value();
  }

  std::string renew(const std::string& with) {
    send(R"({"op":"auth","id":1,"token":")" + with + "\"}");
    work();
    const auto told = frames();
    REQUIRE_FALSE(told.empty());
    later.assign(told.begin() + 1, told.end());
    return told.front();
  }

  /// What came after the answer to `auth`.
  std::vector<std::string> later;
};

}  // namespace

TEST_CASE_METHOD(one_client, "who is refused is upgraded, told why, and closed", "[ws][access]") {
  struct sample {
    errc code;
    unsigned close;
  };

  const auto [code, close] = GENERATE(
      sample{errc::unauthorized, 4401},
      sample{errc::forbidden, 4403},
      sample{errc::too_many_connections, 4429});
  subprotocol = GENERATE("callboard.v1.json", "callboard.v1.proto", "cloudevents.json");
  INFO(subprotocol << ' ' << name_of(code));
  refused = error{code, "the reason", 1000};
  connect();
  const auto head = take_head();
  CHECK_THAT(head, Contains("101 Switching Protocols"));
  CHECK_THAT(head, Contains("Sec-WebSocket-Protocol: " + subprotocol));
  const auto told = frames();
  REQUIRE(told.size() == 2);
  CHECK_THAT(told[0], Contains(std::string{name_of(code)}));
  CHECK_THAT(told[0], Contains("the reason"));
  CHECK_THAT(told[0], !Contains("welcome"));
  CHECK(close_code_of(told[1]) == close);
  CHECK_THAT(told[1], Contains(std::string{name_of(code)} + ": the reason"));
  SECTION("nothing it sends is looked at") {
    send(R"({"op":"publish","id":1,"topic":"open.t","event":{}})");
    send(R"({"op":"subscribe","id":2,"topic":"open.t"})");
    work();
    CHECK(published.empty());
    CHECK(router.attached.empty());
    CHECK(frames().empty());
  }
  SECTION("its close ends the connection") {
    send(std::string{"\x03\xE8", 2}, 0x88);
    work();
    CHECK(ended);
  }
  SECTION("silence ends it, too") {
    tick_after(3s);
    CHECK(ended);
  }
}

TEST_CASE_METHOD(
    one_client, "cloudevents.json of a topic without rights closes with 4403", "[ws]") {
  subprotocol = "cloudevents.json";
  query["topic"] = "closed";
  connect();
  CHECK_THAT(take_head(), Contains("101 Switching"));
  const auto told = frames();
  REQUIRE(told.size() == 2);
  CHECK_THAT(told[0], Contains(R"("type":"callboard.error")"));
  CHECK(close_code_of(told[1]) == 4403);
  CHECK(router.attached.empty());
}

TEST_CASE_METHOD(client_with_token, "a token that runs out closes with 4401", "[ws][access]") {
  begin();
  tick_after(59s);
  frames();
  send("", 0x8A);
  work();
  tick_after(2s);
  CHECK(close_code_of(frames().back()) == 4401);
}

TEST_CASE_METHOD(
    client_with_token, "clocks may differ for as long as a connection lasts", "[ws][access]") {
  keys.leeway_s = 30;
  verifier = token_verifier::from(keys).value();
  environment.verifier = verifier.get();
  const auto late = token("ada", "open.>", 60s);
  time.advance(65s);
  who = verifier->verify(late, time.wall()).value();
  begin();
  tick_after(23s);
  for (const auto& frame : frames())
    CHECK_FALSE(frame.starts_with("#8"));
  tick_after(3s);
  CHECK(close_code_of(frames().back()) == 4401);
}

TEST_CASE_METHOD(client_with_token, "a renewed token holds from then on", "[ws][access]") {
  begin();
  CHECK(renew(token("ada", "open.>", 600s)) == R"({"op":"ok","id":1})");
  for (int i = 0; i < 9; ++i) {
    send("", 0x8A);
    work();
    tick_after(59s);
  }
  CHECK_FALSE(ended);
  for (const auto& frame : frames())
    CHECK_FALSE(frame.starts_with("#8"));
  send("", 0x8A);
  work();
  tick_after(70s);
  CHECK(close_code_of(frames().back()) == 4401);
}

TEST_CASE_METHOD(client_with_token, "a renewal that fails changes nothing", "[ws][access]") {
  begin();
  CHECK_THAT(renew("nonsense"), Contains(R"("id":1,"code":"unauthorized")"));
  CHECK_THAT(renew(token("bob", "open.>", 600s)), Contains(R"("code":"forbidden")"));
  tick_after(1s);
  CHECK_FALSE(ended);
  const auto old = token("ada", "open.>", 1s);
  time.advance(2s);
  CHECK_THAT(renew(old), Contains(R"("code":"unauthorized")"));
  send(R"({"op":"ping","id":9})");
  work();
  CHECK(only_frame() == R"({"op":"pong","id":9})");
}

TEST_CASE_METHOD(
    client_with_token, "what a renewed token no longer allows ends with it", "[ws][access]") {
  begin();
  send(R"({"op":"subscribe","id":11,"topic":"open.a.x"})");
  send(R"({"op":"subscribe","id":12,"topic":"open.b.x"})");
  send(R"({"op":"consume","id":13,"topic":"open.b.x","group":"g","credits":1})");
  send(R"({"op":"presence","id":14,"topic":"open.b.x","action":"join"})");
  work();
  attach("open.a.x", 0);
  attach("open.b.x", 0);
  frames();
  CHECK(renew(token("ada", "open.a.>", 600s)) == R"({"op":"ok","id":1})");
  REQUIRE(later.size() == 2);
  CHECK_THAT(later[0], Contains(R"({"op":"error","sub":2,"topic":"open.b.x","code":"forbidden")"));
  CHECK_THAT(later[1], Contains("to consume open.b.x"));
  CHECK(asked_count<actors::leave_group>() == 1);
  CHECK(asked_count<actors::presence_leave>() == 1);
  deliver("open.a.x", 1, "1");
  CHECK_THAT(only_frame(), Contains(R"({"op":"event","sub":1)"));
}

TEST_CASE_METHOD(one_client, "the connection renews presence until it leaves", "[ws][presence]") {
  settings.topics.presence_lease_ms = 30'000;
  begin();
  send(
      R"({"op":"presence","id":1,"topic":"open.t","action":"join","member":"ada","state":{"a":1}})");
  work();
  CHECK(last_asked<actors::presence_join>().state == R"({"a":1})");
  reply<actors::presence_join>(actors::done{});
  CHECK(only_frame() == R"({"op":"ok","id":1})");
  for (int i = 0; i < 60; ++i) {
    send("", 0x8A);
    work();
    tick_after(1s);
  }
  // Three times per lease: whoever misses one or two is still there.
  const auto renewals = asked_count<actors::presence_renew>();
  CHECK(renewals >= 5);
  CHECK(renewals <= 7);
  CHECK(last_asked<actors::presence_renew>().member == "ada");
  send(R"({"op":"presence","id":2,"topic":"open.t","action":"leave","member":"ada"})");
  work();
  CHECK_FALSE(last_asked<actors::presence_leave>().vanished);
  for (int i = 0; i < 30; ++i) {
    send("", 0x8A);
    work();
    tick_after(1s);
  }
  CHECK(asked_count<actors::presence_renew>() == renewals);
}

TEST_CASE_METHOD(one_client, "presence is listed, and its bounds are kept", "[ws][presence]") {
  settings.limits.subscriptions_max = 1;
  begin();
  send(R"({"op":"presence","id":1,"topic":"open.t","action":"list"})");
  work();
  reply<actors::presence_list>(
      actors::presence_members{.members = {{"ada", R"({"a":1})", 3, true}}, .version = 4});
  CHECK(
      only_frame()
      == R"({"op":"ok","id":1,"version":4,"members":[{"member":"ada","state":{"a":1},"version":3,"present":true}]})");
  send(R"({"op":"presence","id":2,"topic":"closed","action":"list"})");
  send(R"({"op":"presence","id":3,"topic":"open.t","action":"dance"})");
  send(
      R"({"op":"presence","id":4,"topic":"open.t","action":"join","state":{"a":")"
      + std::string(4097, 'x') + "\"}}");
  send(R"({"op":"presence","id":5,"topic":"open.t","action":"join"})");
  send(R"({"op":"presence","id":6,"topic":"open.u","action":"join"})");
  work();
  const auto told = frames();
  REQUIRE(told.size() == 4);
  CHECK_THAT(told[0], Contains(R"("id":2,"code":"forbidden")"));
  CHECK_THAT(told[1], Contains(R"("id":3,"code":"bad_request")"));
  CHECK_THAT(told[2], Contains(R"("id":4,"code":"too_large")"));
  CHECK_THAT(told[3], Contains(R"("id":6,"code":"too_many_subscriptions")"));
}

TEST_CASE_METHOD(one_client, "publishes beyond the rate say when to come again", "[ws][limits]") {
  settings.limits.publishes_per_s = 2;
  begin();
  for (int i = 1; i <= 3; ++i)
    send(R"({"op":"publish","id":)" + std::to_string(i) + R"(,"topic":"open.t","event":{}})");
  work();
  REQUIRE(published.size() == 1);
  CHECK(published[0].requests.size() == 2);
  const auto told = only_frame();
  CHECK_THAT(told, Contains(R"("id":3,"code":"rate_limited")"));
  CHECK_THAT(told, Contains(R"("retry_after_ms":501)"));
  time.advance(501ms);
  send(R"({"op":"publish","id":4,"topic":"open.t","event":{}})");
  work();
  CHECK(frames().empty());
  CHECK(published.size() == 2);
}

TEST_CASE_METHOD(one_client, "what control requests hold is charged to the node", "[ws][limits]") {
  begin();
  const auto all = budget.charge(budget.size_max() - 10);
  REQUIRE(all.has_value());
  send(R"({"op":"ack","id":1,"topic":"open.t","group":"g","deliveries":["0123456789a"]})");
  work();
  CHECK_THAT(only_frame(), Contains(R"("id":1,"code":"overloaded")"));
  CHECK(controls.empty());
  send(R"({"op":"ack","id":2,"topic":"open.t","group":"g","deliveries":["0123456789"]})");
  work();
  CHECK(budget.used() == budget.size_max());
  reply<actors::ack_deliveries>(actors::ack_result{{}, sequence{1}});
  CHECK(only_frame() == R"({"op":"ok","id":2,"floor":1,"lost":[]})");
  CHECK(budget.used() == budget.size_max() - 10);
}
