// What a client that stops reading is told, for every value of `slow`, over a real WebSocket.
//
// Method: the kernel and the node hold little for the client, which then reads nothing while some
// 16 MB are published. Each case counts what came and what was passed over, and prints it.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <algorithm>
#include <iostream>

namespace {

using namespace callboard::testing;

constexpr std::uint64_t events_of_stall = 2000;
constexpr std::uint64_t events_of_batch = 100;

server_process& node() {
  static server_process process{{.arguments = {"--set", "limits.output_bytes_max=65536"}}};
  return process;
}

/// A connection for which the kernel holds little.
websocket_client narrow_client() {
  auto where = node().where();
  where.receive_buffer = 16384;
  return websocket_client{where};
}

json::object subscribe(
    websocket_client& client,
    std::string_view topic,
    std::string_view slow,
    std::string_view from = "now") {
  auto answer = client.ask({{"op", "subscribe"}, {"topic", topic}, {"from", from}, {"slow", slow}});
  INFO(json::serialize(answer));
  REQUIRE(text_of(answer, "op") == "ok");
  return answer;
}

/// Publishes events with ids 1 to `events_of_stall`, 8 kB each, while nobody reads.
void publish_while_stalled(std::string_view topic) {
  broker to{node().where()};
  const std::string data = '"' + std::string(8000, 'x') + '"';
  for (std::uint64_t done = 0; done < events_of_stall; done += events_of_batch) {
    std::vector<std::string> batch;
    for (std::uint64_t i = 1; i <= events_of_batch; ++i)
      batch.push_back(cloud_event(std::to_string(done + i), data));
    const auto answer = to.publish_batch(topic, batch);
    INFO(answer.body.substr(0, 200));
    REQUIRE(answer.status == 200);
  }
}

std::uint64_t publish_one(std::string_view topic, std::string_view id) {
  const auto answer = broker{node().where()}.publish(topic, cloud_event(id));
  REQUIRE(answer.status == 200);
  return number_of(answer.json(), "seq");
}

std::uint64_t event_id(const json::object& frame) {
  return std::stoull(text_of(frame.at("event"), "id"));
}

/// Everything that a client is sent until the event `last` (of ids that are numbers) has come.
struct received {
  std::vector<std::uint64_t> ids;
  /// Seqs of durable events, 0 of others.
  std::vector<std::uint64_t> seqs;
  std::string cursor;
  std::uint64_t lagging = 0;
  std::uint64_t behind = 0;
  std::uint64_t dropped = 0;
  std::uint64_t caught_up = 0;
  std::uint64_t gaps = 0;

  void take(const json::object& frame) {
    const auto op = text_of(frame, "op");
    if (op == "event") {
      ids.push_back(event_id(frame));
      seqs.push_back(number_of(frame, "seq"));
      cursor = text_of(frame, "cursor");
    } else if (op == "lagging") {
      ++lagging;
      behind += number_of(frame, "events");
      dropped += number_of(frame, "dropped");
    } else if (op == "caught_up") {
      ++caught_up;
    } else if (op == "gap") {
      ++gaps;
    } else {
      FAIL("not expected: " << json::serialize(frame));
    }
  }

  void read_to(websocket_client& client, std::uint64_t last) {
    while (ids.empty() || ids.back() < last)
      take(client.next());
  }

  [[nodiscard]] bool is_ascending() const {
    return std::ranges::adjacent_find(ids, std::ranges::greater_equal{}) == ids.end();
  }

  /// How many events lie between those that came, counted by seq from `before` on.
  [[nodiscard]] std::uint64_t passed_over(std::uint64_t before) const {
    std::uint64_t sum = 0;
    for (const auto seq : seqs) {
      sum += seq - before - 1;
      before = seq;
    }
    return sum;
  }

  void print(std::string_view what) const {
    std::cout << what << ": " << ids.size() << " came, ids " << ids.front() << " to " << ids.back()
              << ", lagging " << lagging << " (" << behind << " behind, " << dropped
              << " dropped), caught_up " << caught_up << ", gaps " << gaps << '\n';
  }
};

}  // namespace

TEST_CASE("a durable topic under `lag` or `drop`: told lagging, then every event, then caught_up") {
  for (const std::string slow : {"lag", "drop"}) {
    const auto topic = "slow.durable." + slow;
    publish_one(topic, "0");
    auto client = narrow_client();
    subscribe(client, topic, slow);
    publish_while_stalled(topic);
    received got;
    got.read_to(client, events_of_stall);
    while (got.caught_up < got.lagging)
      got.take(client.next());
    got.print(slow + ", durable");
    CHECK(got.lagging >= 1);
    CHECK(got.behind > 0);
    CHECK(got.dropped == 0);
    CHECK(got.caught_up == got.lagging);
    CHECK(got.gaps == 0);
    CHECK(got.ids.size() == events_of_stall);
    CHECK(got.is_ascending());
    CHECK(got.passed_over(1) == 0);
    // It is live again.
    const auto seq = publish_one(topic, "9999");
    CHECK(number_of(client.next(), "seq") == seq);
  }
}

TEST_CASE("a durable topic under `latest`: after a stall the newest, and the jump is in the seqs") {
  const std::string topic = "slow.durable.latest";
  publish_one(topic, "0");
  auto client = narrow_client();
  subscribe(client, topic, "latest");
  publish_while_stalled(topic);
  received got;
  got.read_to(client, events_of_stall);
  got.print("latest, durable");
  const auto passed_over = got.passed_over(1);
  CHECK(got.ids.back() == events_of_stall);
  CHECK(got.is_ascending());
  CHECK(got.lagging == 0);
  CHECK(got.gaps == 0);
  // All it did not get is told by the seqs; it is most of the stall.
  CHECK(passed_over == events_of_stall - got.ids.size());
  CHECK(passed_over > events_of_stall / 2);
  // What was passed over was not lost, only not wanted.
  CHECK(broker{node().where()}.history(topic).size() == events_of_stall + 1);
  const auto seq = publish_one(topic, "9999");
  CHECK(number_of(client.next(), "seq") == seq);
}

TEST_CASE("an ephemeral topic drops the oldest that wait, counts them and says so") {
  for (const std::string slow : {"drop", "lag", "latest"}) {
    const auto topic = "slow.ephemeral." + slow;
    REQUIRE(broker{node().where()}.put("/topics/" + topic, R"({"kind":"ephemeral"})").status < 300);
    auto client = narrow_client();
    subscribe(client, topic, slow);
    publish_while_stalled(topic);
    received got;
    got.read_to(client, events_of_stall);
    got.print(slow + ", ephemeral");
    CHECK(got.ids.front() == 1);
    CHECK(got.ids.back() == events_of_stall);
    CHECK(got.is_ascending());
    CHECK(got.lagging >= 1);
    CHECK(got.dropped > 0);
    CHECK(got.dropped == events_of_stall - got.ids.size());
    publish_one(topic, "9999");
    CHECK(event_id(client.next()) == 9999);
  }
}

TEST_CASE("`disconnect` closes with 1008, and the last cursor resumes without a gap") {
  const std::string topic = "slow.durable.disconnect";
  publish_one(topic, "0");
  auto client = narrow_client();
  subscribe(client, topic, "disconnect");
  publish_while_stalled(topic);
  received got;
  try {
    got.read_to(client, events_of_stall);
    FAIL("it was not closed");
  } catch (const disconnected&) {
  }
  got.print("disconnect, durable");
  CHECK(client.close_code() == 1008);
  REQUIRE(got.ids.back() < events_of_stall);

  // Whoever resumes is behind by its own wish: it is served at its pace, and not closed again.
  websocket_client again{node().where()};
  const auto answer = subscribe(again, topic, "disconnect", got.cursor);
  CHECK(flag_of(answer, "recovered"));
  got.read_to(again, events_of_stall);
  got.print("disconnect, resumed");
  CHECK(got.ids.size() == events_of_stall);
  CHECK(got.is_ascending());
  CHECK(got.passed_over(1) == 0);
  CHECK(got.gaps == 0);
}

TEST_CASE("`disconnect` of an ephemeral topic closes with 1008") {
  const std::string topic = "slow.ephemeral.disconnect";
  REQUIRE(broker{node().where()}.put("/topics/" + topic, R"({"kind":"ephemeral"})").status < 300);
  auto client = narrow_client();
  subscribe(client, topic, "disconnect");
  publish_while_stalled(topic);
  CHECK(client.wait_closed() == 1008);
}

TEST_CASE("another value of `slow` is refused, and the connection goes on") {
  websocket_client client{node().where()};
  const auto refused = client.ask(
      {{"op", "subscribe"}, {"topic", "slow.other"}, {"from", "now"}, {"slow", "never"}});
  CHECK(text_of(refused, "code") == "bad_request");
  CHECK(text_of(publish_over(client, "slow.other", "1"), "op") == "ok");
}
