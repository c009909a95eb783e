// Subscribing over WebSocket and event streams (SSE) against the real program.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <set>

namespace {

using namespace callboard::testing;

server_process& node() {
  static server_process process;
  return process;
}

template <class From>
json::object subscribe(
    websocket_client& client, std::string_view topic, const From& from, json::object more = {}) {
  more["op"] = "subscribe";
  more["topic"] = topic;
  more["from"] = json::value_from(from);
  return client.ask(more);
}

void publish_many(broker& to, std::string_view topic, int first, int last) {
  std::vector<std::string> events;
  for (int i = first; i <= last; ++i) {
    events.push_back(cloud_event(std::to_string(i)));
    if (events.size() < 500 && i < last) continue;
    REQUIRE(to.publish_batch(topic, events).status == 200);
    events.clear();
  }
}

/// Receives events until `last` and checks that none is missing or repeated.
void expect_seqs(websocket_client& client, std::uint64_t first, std::uint64_t last) {
  for (auto seq = first; seq <= last; ++seq) {
    const auto frame = client.next_op("event");
    REQUIRE(number_of(frame, "seq") == seq);
    REQUIRE(text_of(frame, "cursor").ends_with(":" + std::to_string(seq)));
  }
}

}  // namespace

TEST_CASE("a WebSocket subscriber gets history, then live events, in order") {
  broker to{node().where()};
  publish_many(to, "ws.order", 1, 50);
  websocket_client client{node().where()};
  CHECK_FALSE(text_of(client.welcome(), "connection").empty());
  const auto answer = subscribe(client, "ws.order", "first");
  REQUIRE(text_of(answer, "op") == "ok");
  CHECK_FALSE(text_of(answer, "epoch").empty());
  CHECK_FALSE(text_of(answer, "cursor").empty());
  publish_many(to, "ws.order", 51, 100);
  expect_seqs(client, 1, 100);
}

TEST_CASE("a cursor means after, a seq means from; both resume without gap or repeat") {
  broker to{node().where()};
  publish_many(to, "ws.resume", 1, 30);
  std::string cursor;
  {
    websocket_client client{node().where()};
    subscribe(client, "ws.resume", 11);
    for (int i = 0; i < 5; ++i)
      cursor = text_of(client.next_op("event"), "cursor");
    client.cut();
  }
  CHECK(cursor.ends_with(":15"));
  websocket_client client{node().where()};
  const auto answer = subscribe(client, "ws.resume", cursor);
  CHECK(flag_of(answer, "recovered"));
  expect_seqs(client, 16, 30);
  publish_many(to, "ws.resume", 31, 31);
  expect_seqs(client, 31, 31);
}

TEST_CASE("the cursor in the answer to subscribe resumes even if no event ever came") {
  broker to{node().where()};
  publish_many(to, "ws.first-frame", 1, 3);
  std::string cursor;
  {
    websocket_client client{node().where()};
    cursor = text_of(subscribe(client, "ws.first-frame", "now"), "cursor");
    client.cut();
  }
  publish_many(to, "ws.first-frame", 4, 6);
  websocket_client client{node().where()};
  subscribe(client, "ws.first-frame", cursor);
  expect_seqs(client, 4, 6);
}

TEST_CASE("a cursor of another epoch is not honoured, and says so") {
  broker to{node().where()};
  publish_many(to, "ws.epoch", 1, 3);
  const auto old = to.history("ws.epoch").back().cursor;
  REQUIRE(to.del("/topics/ws.epoch").status < 300);
  publish_many(to, "ws.epoch", 1, 2);
  websocket_client client{node().where()};
  const auto answer = subscribe(client, "ws.epoch", old);
  CHECK(text_of(answer, "op") == "ok");
  CHECK_FALSE(flag_of(answer, "recovered"));
  CHECK(answer.contains("recovered"));
  CHECK(number_of(answer, "first_seq") == 1);
}

TEST_CASE("credits bound what is delivered") {
  broker to{node().where()};
  publish_many(to, "ws.credits", 1, 20);
  websocket_client client{node().where()};
  const auto answer = subscribe(client, "ws.credits", "first", {{"credits", 5}});
  expect_seqs(client, 1, 5);
  CHECK(text_of(client.ask({{"op", "ping"}}), "op") == "pong");
  CHECK_THROWS_AS(client.next_op("event", milliseconds{100}), timed_out);
  client.send_json({{"op", "credit"}, {"sub", answer.at("sub")}, {"credits", 10}});
  expect_seqs(client, 6, 15);
}

TEST_CASE("a pattern delivers existing and future topics, each from its own seq 1") {
  broker to{node().where(), "patterns"};
  REQUIRE(to.publish("room.1.chat", cloud_event("a")).status == 200);
  websocket_client client{node().where(), websocket_of("patterns")};
  REQUIRE(text_of(subscribe(client, "room.*.chat", "now"), "op") == "ok");
  REQUIRE(to.publish("room.1.chat", cloud_event("b")).status == 200);
  REQUIRE(to.publish("room.2.chat", cloud_event("c")).status == 200);
  REQUIRE(to.publish("room.2.other", cloud_event("d")).status == 200);
  REQUIRE(to.publish("room.2.chat", cloud_event("e")).status == 200);
  std::map<std::string, std::uint64_t> seqs;
  for (int i = 0; i < 3; ++i) {
    const auto frame = client.next_op("event");
    seqs[text_of(frame, "topic")] = number_of(frame, "seq");
  }
  CHECK(seqs["room.1.chat"] == 2);
  CHECK(seqs["room.2.chat"] == 2);
  CHECK(seqs.size() == 2);
}

TEST_CASE("a pattern that had no topics yet resumes with every event that came since") {
  for (const auto member : {"from", "cursors"}) {
    INFO(member);
    const auto area = "ws.none." + std::string{member};
    json::value place;
    {
      websocket_client early{node().where()};
      place = early.ask({{"op", "subscribe"}, {"topic", area + ".*"}}).at("cursors");
      CHECK(place == json::object{});
    }
    broker to{node().where()};
    publish_many(to, area + ".t", 1, 3);
    websocket_client client{node().where()};
    const auto again = client.ask({{"op", "subscribe"}, {"topic", area + ".*"}, {member, place}});
    REQUIRE(text_of(again, "op") == "ok");
    expect_seqs(client, 1, 3);
  }
}

TEST_CASE("publishing over WebSocket: acks, duplicates, errors, and the connection goes on") {
  websocket_client client{node().where()};
  const auto first = publish_over(client, "ws.publish", "a");
  REQUIRE(text_of(first, "op") == "ok");
  CHECK(number_of(first, "seq") == 1);
  CHECK(text_of(first, "durability") == "synced");
  CHECK(flag_of(publish_over(client, "ws.publish", "a"), "duplicate"));

  const auto bad = client.ask({{"op", "publish"}, {"topic", "a..b"}, {"event", json::object{}}});
  CHECK(text_of(bad, "op") == "error");
  CHECK(text_of(bad, "code") == "invalid_name");
  const auto unknown = client.ask({{"op", "dance"}});
  CHECK(text_of(unknown, "op") == "error");
  CHECK(text_of(unknown, "code") == "bad_request");
  CHECK(number_of(publish_over(client, "ws.publish", "b"), "seq") == 2);
}

TEST_CASE("a subscriber that reads slowly falls behind, is told, and gets every event") {
  server_process small{{.arguments = {"--set", "limits.output_frames_max=64"}}};
  broker to{small.where()};
  endpoint slow = small.where();
  slow.receive_buffer = 4096;
  websocket_client client{slow};
  subscribe(client, "ws.slow", "now");
  const std::string data = '"' + std::string(2000, 'x') + '"';
  constexpr int count = 5000;
  for (int i = 0; i < count;) {
    std::vector<std::string> events;
    for (int k = 0; k < 100; ++k)
      events.push_back(cloud_event(std::to_string(++i), data));
    REQUIRE(to.publish_batch("ws.slow", events).status == 200);
  }
  std::set<std::string> told;
  std::uint64_t expected = 1;
  while (expected <= count) {
    const auto frame = client.next();
    if (text_of(frame, "op") != "event") {
      told.insert(text_of(frame, "op"));
      continue;
    }
    REQUIRE(number_of(frame, "seq") == expected);
    ++expected;
  }
  CHECK(told.contains("lagging"));
  CHECK(text_of(client.next_op("caught_up"), "op") == "caught_up");
  CHECK(small.resident_bytes() < 256ULL << 20);
}

TEST_CASE("frames that break the protocol close with the right code") {
  {
    websocket_client client{node().where()};
    client.send(opcode::text, "not masked", false);
    CHECK(client.wait_closed() == 1002);
  }
  {
    websocket_client client{node().where()};
    client.send(opcode::binary, "bytes where text is due");
    CHECK(client.wait_closed() == 1003);
  }
  {
    websocket_client client{node().where()};
    // Only the head of a frame of 3 MiB: the length alone is refused.
    client.send_raw(std::string_view{"\x81\xff\0\0\0\0\0\x30\0\0mask", 14});
    CHECK(client.wait_closed() == 1009);
  }
  websocket_client client{node().where()};
  client.close();
  CHECK(client.wait_closed() == 1000);
}

TEST_CASE("an event stream replays, follows, and resumes by Last-Event-ID") {
  broker to{node().where()};
  publish_many(to, "sse.resume", 1, 10);
  std::string last;
  {
    event_stream stream{node().where(), to.topic_path("sse.resume", "/events?from=first")};
    CHECK(stream.head().header("content-type").starts_with("text/event-stream"));
    CHECK(stream.head().header("cache-control").contains("no-store"));
    for (int i = 1; i <= 5; ++i) {
      const auto event = stream.next();
      REQUIRE(event);
      CHECK(event->type == "test.event");
      CHECK(text_of(json::parse(event->data), "id") == std::to_string(i));
      last = event->id;
    }
    CHECK(last.ends_with(":5"));
    stream.cut();
  }
  event_stream stream{
      node().where(), to.topic_path("sse.resume", "/events"), {{"last-event-id", last}}};
  publish_many(to, "sse.resume", 11, 12);
  for (int i = 6; i <= 12; ++i) {
    const auto event = stream.next();
    REQUIRE(event);
    CHECK(event->id.ends_with(":" + std::to_string(i)));
  }
}

TEST_CASE("a quiet event stream has comments, so that proxies keep it open") {
  server_process quick{{.arguments = {"--set", "limits.sse_comment_interval_ms=50"}}};
  broker to{quick.where()};
  REQUIRE(to.publish("sse.quiet", cloud_event("1")).status == 200);
  event_stream stream{quick.where(), to.topic_path("sse.quiet", "/events")};
  CHECK(eventually([&] {
    try {
      (void)stream.next(milliseconds{200});
    } catch (const timed_out&) {
    }
    return stream.comments() >= 2;
  }));
}

TEST_CASE("cloudevents.json carries bare events both ways") {
  websocket_options options;
  options.target += "?topic=ws.bare&from=first";
  options.subprotocol = "cloudevents.json";
  websocket_client client{node().where(), options};
  CHECK(client.handshake().header("sec-websocket-protocol") == "cloudevents.json");
  client.send_text(cloud_event("bare-1"));
  const auto message = client.receive(milliseconds{10'000});
  CHECK(text_of(json::parse(message.payload), "id") == "bare-1");
}

TEST_CASE("ephemeral topics deliver to who is there and keep nothing") {
  broker to{node().where()};
  REQUIRE(to.put("/topics/ws.ephemeral", R"({"kind":"ephemeral"})").status < 300);
  websocket_client client{node().where()};
  REQUIRE(text_of(subscribe(client, "ws.ephemeral", "now"), "op") == "ok");
  REQUIRE(to.publish("ws.ephemeral", cloud_event("typing")).status == 200);
  const auto frame = client.next_op("event");
  CHECK(text_of(frame.at("event"), "id") == "typing");
  const auto history = to.get("/topics/ws.ephemeral/events?from=first");
  CHECK((history.status == 409 || history.json().at("events").as_array().empty()));
}
