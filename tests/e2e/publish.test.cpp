// Publishing and reading over HTTP against the real program.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace callboard::testing;

/// One node for all cases of this file; each case has its own topic.
server_process& node() {
  static server_process process;
  return process;
}

}  // namespace

TEST_CASE("a published event is acked with seq, cursor and durability, and can be read") {
  broker to{node().where()};
  const auto answer = to.publish("publish.basic", cloud_event("one", R"({"x":1.50})"));
  REQUIRE(answer.status == 200);
  const auto body = answer.json();
  CHECK(text_of(body, "topic") == "publish.basic");
  CHECK(number_of(body, "seq") == 1);
  CHECK(text_of(body, "id") == "one");
  CHECK(text_of(body, "durability") == "synced");
  CHECK_FALSE(flag_of(body, "duplicate"));
  const auto cursor = text_of(body, "cursor");
  CHECK(cursor.ends_with(":1"));

  const auto events = to.history("publish.basic");
  REQUIRE(events.size() == 1);
  CHECK(events[0].cursor == cursor);
  CHECK(text_of(events[0].event, "type") == "test.event");
  CHECK(json::serialize(events[0].event.at("data")).starts_with(R"({"x":1.5)"));
}

TEST_CASE("the same event again answers the first seq; other content under its id is refused") {
  broker to{node().where()};
  REQUIRE(to.publish("publish.twice", cloud_event("a")).status == 200);
  REQUIRE(to.publish("publish.twice", cloud_event("b")).status == 200);

  const auto again = to.publish("publish.twice", cloud_event("a"));
  REQUIRE(again.status == 200);
  CHECK(number_of(again.json(), "seq") == 1);
  CHECK(flag_of(again.json(), "duplicate"));

  const auto other = to.publish("publish.twice", cloud_event("a", R"({"n":2})"));
  CHECK(other.status == 409);
  CHECK(other.code() == "id_conflict");
  CHECK(other.header("content-type").starts_with("application/problem+json"));
  CHECK(to.history("publish.twice").size() == 2);
}

TEST_CASE("expected_seq admits one of two writers") {
  broker to{node().where()};
  const auto expecting = [&](std::string_view id, std::string_view seq) {
    return to.publish(
        "publish.expected", cloud_event(id), {}, {{"callboard-expected-seq", std::string{seq}}});
  };
  CHECK(expecting("first", "0").status == 200);
  const auto late = expecting("second", "0");
  CHECK(late.status == 409);
  CHECK(late.code() == "sequence_conflict");
  CHECK(expecting("second", "1").status == 200);
}

TEST_CASE("a batch is stored whole or not at all") {
  broker to{node().where()};
  const auto answer =
      to.publish_batch("publish.batch", {cloud_event("1"), cloud_event("2"), cloud_event("3")});
  REQUIRE(answer.status == 200);
  const auto body = answer.json();
  const auto& results = body.at("results").as_array();
  REQUIRE(results.size() == 3);
  CHECK(number_of(results[2], "seq") == 3);

  const auto conflict =
      to.publish_batch("publish.batch", {cloud_event("4"), cloud_event("2", R"({"n":"other"})")});
  CHECK(conflict.status == 409);
  CHECK(to.history("publish.batch").size() == 3);

  const auto invalid = to.publish_batch("publish.batch", {cloud_event("5"), R"({"id":"6"})"});
  CHECK(invalid.status == 400);
  CHECK(invalid.code() == "invalid_event");
  CHECK(to.history("publish.batch").size() == 3);

  const auto mixed = to.publish_batch("publish.batch", {cloud_event("3"), cloud_event("4")});
  REQUIRE(mixed.status == 200);
  const auto mixed_body = mixed.json();
  CHECK(number_of(mixed_body.at("results").as_array()[0], "seq") == 3);
  CHECK(flag_of(mixed_body.at("results").as_array()[0], "duplicate"));
  CHECK(number_of(mixed_body.at("results").as_array()[1], "seq") == 4);
}

TEST_CASE("plain JSON and binary mode become CloudEvents") {
  broker to{node().where()};
  const auto plain = to.http().post(
      to.topic_path("publish.modes", "/events?type=order.placed&source=/shop"),
      R"({"total":12})",
      {{"idempotency-key", "order-1"}});
  REQUIRE(plain.status == 200);
  CHECK(text_of(plain.json(), "id") == "order-1");
  const auto binary = to.http().send(
      "POST",
      to.topic_path("publish.modes", "/events"),
      "hello",
      {{"ce-specversion", "1.0"},
       {"ce-type", "greeting"},
       {"ce-source", "/person"},
       {"ce-id", "hello-1"},
       {"content-type", "text/plain"}});
  REQUIRE(binary.status == 200);

  const auto events = to.history("publish.modes");
  REQUIRE(events.size() == 2);
  CHECK(text_of(events[0].event, "type") == "order.placed");
  CHECK(text_of(events[0].event, "source") == "/shop");
  CHECK(number_of(events[0].event.at("data"), "total") == 12);
  CHECK(text_of(events[1].event, "data") == "hello");
  CHECK(text_of(events[1].event, "datacontenttype") == "text/plain");
}

TEST_CASE("history is paged, and a cursor of a deleted topic is gone, not silently wrong") {
  broker to{node().where()};
  for (int i = 1; i <= 25; ++i) {
    REQUIRE(to.publish("publish.pages", cloud_event(std::to_string(i))).status == 200);
  }
  const auto page = to.http().get(to.topic_path("publish.pages", "/events?from=11&limit=10"));
  REQUIRE(page.status == 200);
  const auto body = page.json();
  const auto& events = body.at("events").as_array();
  REQUIRE(events.size() == 10);
  CHECK(number_of(events[0], "seq") == 11);
  CHECK(number_of(body, "next_from") == 21);
  CHECK(number_of(body, "first_seq") == 1);
  CHECK(number_of(body, "last_seq") == 25);

  const auto old_cursor = text_of(events[0], "cursor");
  REQUIRE(to.del("/topics/publish.pages").status < 300);
  REQUIRE(to.publish("publish.pages", cloud_event("new")).status == 200);
  const auto gone = to.http().get(to.topic_path("publish.pages", "/events?from=" + old_cursor));
  CHECK(gone.status == 410);
  CHECK(gone.code() == "cursor_expired");
}

TEST_CASE("topics are made, listed, changed and deleted") {
  broker to{node().where(), "shop"};
  REQUIRE(
      to.put("/topics/orders", R"({"retention":{"max_events":10},"lane":"bulk"})").status < 300);
  const auto shown = to.get("/topics/orders");
  REQUIRE(shown.status == 200);
  CHECK(text_of(shown.json(), "lane") == "bulk");
  const auto retention = shown.json().at("retention");
  CHECK(number_of(retention, "max_events") == 10);
  REQUIRE(to.publish("orders.eu", cloud_event("1")).status == 200);

  const auto list = to.get("/topics");
  REQUIRE(list.status == 200);
  CHECK(list.body.contains("\"orders\""));
  CHECK(list.body.contains("\"orders.eu\""));
  broker other{node().where(), "rival"};
  CHECK_FALSE(other.get("/topics").body.contains("orders"));

  CHECK(to.del("/topics/orders").status < 300);
  CHECK(to.get("/topics/orders").status == 404);
}

TEST_CASE("bad requests are answered precisely and leave the connection usable") {
  broker to{node().where()};
  const auto expect = [](const http_response& answer, int status, std::string_view code) {
    CHECK(answer.status == status);
    CHECK(answer.code() == code);
    CHECK(answer.header("content-type").starts_with("application/problem+json"));
  };
  expect(to.publish("publish.bad", "{not json"), 400, "invalid_json");
  expect(to.publish("publish..bad", cloud_event("x")), 400, "invalid_name");
  expect(
      to.publish("publish.bad", R"({"specversion":"1.0","type":"t","id":"x"})"),
      400,
      "invalid_event");
  expect(to.publish("publish.bad", cloud_event("x"), "?durability=lunar"), 400, "bad_request");
  expect(to.get("/topics/publish.nowhere/events"), 404, "topic_not_found");
  expect(to.http().get("/v1/nothing"), 404, "not_found");
  expect(to.http().del(to.topic_path("publish.bad", "/events")), 405, "method_not_allowed");
  expect(
      to.http().send(
          "POST",
          to.topic_path("publish.bad", "/events"),
          "<x/>",
          {{"content-type", "application/xml"}}),
      415,
      "unsupported_media_type");
  CHECK(to.publish("publish.bad", cloud_event("good")).status == 200);
}

TEST_CASE("health, metrics and API descriptions are served") {
  http_client http{node().where()};
  CHECK(http.get("/livez").status == 200);
  CHECK(http.get("/readyz").status == 200);
  const auto metrics = http.get("/metrics");
  CHECK(metrics.status == 200);
  CHECK(metrics.body.contains("callboard_"));
  CHECK(http.get("/v1/cluster").status == 200);
}
