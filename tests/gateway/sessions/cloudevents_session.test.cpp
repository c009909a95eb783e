// The subprotocol cloudevents.json: bare CloudEvents both ways, for the topic of the address.
#include "tests/gateway/sessions/fixture.hpp"

using namespace callboard;
using namespace callboard::gateway;
using callboard::testing::one_client;
using Catch::Contains;

namespace {

struct cloudevents_client : one_client {
  cloudevents_client() {
    subprotocol = "cloudevents.json";
    query["topic"] = "open.t";
  }

  void begin() {
    connect();
    CHECK_THAT(take_head(), Contains("Sec-WebSocket-Protocol: cloudevents.json"));
    CHECK(frames().empty());
  }
};

constexpr auto sample = R"({"specversion":"1.0","id":"a","source":"/s","type":"t","data":{"n":1}})";

}  // namespace

TEST_CASE_METHOD(cloudevents_client, "events come bare, from now on", "[ws][cloudevents]") {
  begin();
  attach("open.t", 3);
  CHECK(frames().empty());
  deliver("open.t", 4, "{\"n\":1}");
  const auto frame = only_frame();
  CHECK_THAT(frame, Contains(R"({"specversion":"1.0","id":"4")"));
  CHECK_THAT(frame, Contains(R"("data":{"n":1})"));
  CHECK_THAT(frame, !Contains("\"op\""));
}

TEST_CASE_METHOD(cloudevents_client, "the address may say where to begin", "[ws][cloudevents]") {
  query["cursor"] = "e:2";
  begin();
  attach("open.t", 3);
  REQUIRE(router.controls.size() == 1);
  CHECK(std::holds_alternative<actors::read_events>(router.controls[0].first.body));
}

TEST_CASE_METHOD(
    cloudevents_client, "a cursor that is gone is told as an event", "[ws][cloudevents]") {
  query["cursor"] = "a:9";
  begin();
  attach("open.t", 3);
  const auto frame = frames().front();
  CHECK_THAT(frame, Contains(R"("type":"callboard.gap")"));
  CHECK_THAT(frame, Contains(R"("recovered":false)"));
  CHECK_THAT(frame, Contains(R"("specversion":"1.0","id":")"));
}

TEST_CASE_METHOD(
    cloudevents_client, "what is sent is published to the topic", "[ws][cloudevents]") {
  begin();
  send(sample);
  work();
  REQUIRE(published.size() == 1);
  CHECK(published[0].topic == topic_named("open.t"));
  commit(1);
  // Success is silent; the event itself comes back, as the client is subscribed.
  CHECK(frames().empty());
  refuse = error{errc::overloaded, "full", 70};
  send(sample);
  work();
  const auto told = only_frame();
  CHECK_THAT(told, Contains(R"("type":"callboard.error")"));
  CHECK_THAT(told, Contains(R"("code":"overloaded")"));
  CHECK_THAT(told, Contains(R"("retry_after_ms":70)"));
}

TEST_CASE_METHOD(cloudevents_client, "bad events are named; the connection goes on", "[ws]") {
  begin();
  for (const std::string frame : {"{", "[]", R"({"id":"a"})", R"({"specversion":"0.3"})"}) {
    INFO(frame);
    send(frame);
    work();
    CHECK_THAT(only_frame(), Contains(R"("type":"callboard.error")"));
  }
  send(sample);
  work();
  CHECK(published.size() == 1);
}

TEST_CASE_METHOD(
    cloudevents_client, "publish-only and subscribe-only tokens", "[ws][cloudevents]") {
  SECTION("may only publish: nothing is subscribed") {
    who.subscribe.clear();
    begin();
    CHECK(router.attached.empty());
    send(sample);
    work();
    CHECK(published.size() == 1);
  }
  SECTION("may only subscribe: a publish is refused") {
    who.publish.clear();
    begin();
    CHECK(router.attached.size() == 1);
    send(sample);
    work();
    CHECK(published.empty());
    CHECK_THAT(only_frame(), Contains(R"("code":"forbidden")"));
  }
}

TEST_CASE_METHOD(cloudevents_client, "an address without a topic is refused over HTTP", "[ws]") {
  query.clear();
  connect();
  CHECK_THAT(take_text(), Contains("400 Bad Request") && Contains("?topic="));
}

TEST_CASE_METHOD(cloudevents_client, "a drain is told and closes", "[ws][cloudevents]") {
  begin();
  current->on_drain(std::chrono::milliseconds{0});
  run();
  CHECK(close_code_of(frames().back()) == 1001);
}
