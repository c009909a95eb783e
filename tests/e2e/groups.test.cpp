// Consumer groups against the real program: work is shared, acked, redelivered, set aside.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <cstdlib>
#include <set>

namespace {

using namespace callboard::testing;

server_process& node() {
  static server_process process;
  return process;
}

struct delivery {
  std::string token;
  std::uint64_t seq = 0;
  std::uint64_t attempt = 0;
  json::object event;
};

/// One group of one topic, as one member sees it.
class worker {
public:
  worker(endpoint where, std::string topic, std::string member)
      : to_{where}, topic_{std::move(topic)}, member_{std::move(member)} {}

  std::vector<delivery> fetch(int max, int wait_ms = 0) {
    const auto answer = to_.post(
        path("/fetch"),
        json::serialize(json::object{{"member", member_}, {"max", max}, {"wait_ms", wait_ms}}));
    REQUIRE(answer.status == 200);
    std::vector<delivery> out;
    const auto body = answer.json();
    for (const auto& each : body.at("deliveries").as_array()) {
      out.push_back(
          {text_of(each, "delivery"),
           number_of(each, "seq"),
           number_of(each, "attempt"),
           each.at("event").as_object()});
    }
    return out;
  }

  json::object ack(const std::vector<delivery>& done) { return settle("/ack", done, {}); }

  json::object nack(const std::vector<delivery>& failed, json::object more) {
    return settle("/nack", failed, std::move(more));
  }

  json::object describe() { return to_.get(path("")).json().as_object(); }

  broker& node() { return to_; }

  [[nodiscard]] std::string path(std::string_view rest) const {
    return "/topics/" + topic_ + "/groups/workers" + std::string{rest};
  }

private:
  json::object settle(std::string_view how, const std::vector<delivery>& what, json::object body) {
    json::array tokens;
    for (const auto& each : what)
      tokens.emplace_back(each.token);
    body["deliveries"] = std::move(tokens);
    const auto answer = to_.post(path(how), json::serialize(body));
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    return answer.json().as_object();
  }

  broker to_;
  std::string topic_;
  std::string member_;
};

void make_group(endpoint where, const std::string& topic, int events, std::string_view settings) {
  broker to{where};
  for (int i = 1; i <= events; ++i) {
    REQUIRE(to.publish(topic, cloud_event(std::to_string(i))).status == 200);
  }
  const auto made = to.put("/topics/" + topic + "/groups/workers", settings);
  INFO(made.body);
  REQUIRE(made.status < 300);
}

}  // namespace

TEST_CASE("two members share the events of a topic; what is acked is not delivered again") {
  make_group(node().where(), "group.share", 10, "{}");
  worker one{node().where(), "group.share", "one"};
  worker two{node().where(), "group.share", "two"};
  const auto first = one.fetch(5);
  const auto second = two.fetch(10);
  REQUIRE(first.size() == 5);
  REQUIRE(second.size() == 5);
  std::set<std::uint64_t> seqs;
  for (const auto& each : first)
    seqs.insert(each.seq);
  for (const auto& each : second)
    seqs.insert(each.seq);
  CHECK(seqs.size() == 10);
  CHECK(number_of(one.ack(first), "floor") == 5);
  CHECK(number_of(two.ack(second), "floor") == 10);
  CHECK(one.fetch(10).empty());
  CHECK(number_of(one.describe(), "lag") == 0);
}

TEST_CASE("an ack is durable once it is answered: nothing acked comes again after kill -9") {
  server_process own;
  // After the restart, what was held is held for its full time anew.
  make_group(own.where(), "group.kill", 20, R"({"hold_ms":1000})");
  {
    worker one{own.where(), "group.kill", "one"};
    auto got = one.fetch(10);
    REQUIRE(got.size() == 10);
    got.resize(7);
    one.ack(got);
  }
  own.kill();
  own.start();
  worker one{own.where(), "group.kill", "one"};
  std::set<std::uint64_t> again;
  CHECK(eventually([&] {
    for (const auto& each : one.fetch(20, 100))
      again.insert(each.seq);
    return again.size() >= 13;
  }));
  CHECK(*again.begin() == 8);
  CHECK(again.size() == 13);
}

TEST_CASE("a delivery that is held too long goes to somebody else; the late ack is lost") {
  make_group(node().where(), "group.hold", 1, R"({"hold_ms":150})");
  worker slow{node().where(), "group.hold", "slow"};
  worker quick{node().where(), "group.hold", "quick"};
  const auto held = slow.fetch(1);
  REQUIRE(held.size() == 1);
  CHECK(held[0].attempt == 1);
  std::vector<delivery> again;
  CHECK(eventually([&] {
    again = quick.fetch(1, 200);
    return !again.empty();
  }));
  REQUIRE(again.size() == 1);
  CHECK(again[0].attempt == 2);
  CHECK(slow.ack(held).at("lost").as_array().size() == 1);
  CHECK(quick.ack(again).at("lost").as_array().empty());
}

TEST_CASE("a nack redelivers after its delay, and after the last attempt sets the event aside") {
  make_group(
      node().where(),
      "group.poison",
      2,
      R"({"deliveries_max":3,"backoff_min_ms":10,"backoff_max_ms":20})");
  worker one{node().where(), "group.poison", "one"};
  auto got = one.fetch(2);
  REQUIRE(got.size() == 2);
  one.ack({got[1]});
  got.resize(1);
  for (std::uint64_t attempt = 1; attempt <= 3; ++attempt) {
    REQUIRE(got.size() == 1);
    CHECK(got[0].attempt == attempt);
    one.nack(got, {{"delay_ms", 20}, {"error", "cannot parse"}});
    if (attempt == 3) break;
    CHECK(eventually([&] {
      got = one.fetch(1, 200);
      return !got.empty();
    }));
  }
  CHECK(one.fetch(1, 100).empty());
  CHECK(eventually([&] { return number_of(one.describe(), "dead_lettered") == 1; }));
  std::vector<stored_event> dead;
  CHECK(eventually([&] {
    if (one.node().get("/topics/group.poison.workers.dead").status != 200) return false;
    dead = one.node().history("group.poison.workers.dead");
    return !dead.empty();
  }));
  REQUIRE(dead.size() == 1);
  CHECK_THAT(json::serialize(dead[0].event), Catch::Contains("cannot parse"));
}

TEST_CASE("a long poll returns as soon as an event comes") {
  make_group(node().where(), "group.poll", 1, "{}");
  worker one{node().where(), "group.poll", "one"};
  one.ack(one.fetch(1));
  websocket_client publisher{node().where()};
  publisher.send_json(
      {{"op", "publish"},
       {"id", 1},
       {"topic", "group.poll"},
       {"event", json::parse(cloud_event("late"))}});
  const auto got = one.fetch(1, 10'000);
  REQUIRE(got.size() == 1);
  CHECK(text_of(got[0].event, "id") == "late");
}

TEST_CASE("everything up to a seq is acked at once") {
  make_group(node().where(), "group.cumulative", 10, "{}");
  worker one{node().where(), "group.cumulative", "one"};
  REQUIRE(one.fetch(10).size() == 10);
  const auto answer = one.node().post(one.path("/ack"), R"({"up_to_seq":8})");
  REQUIRE(answer.status == 200);
  CHECK(number_of(answer.json(), "floor") == 8);
}

TEST_CASE("order per subject: one key waits for its ack, other keys do not") {
  broker to{node().where()};
  const auto keyed = [&](std::string_view id, std::string_view subject) {
    auto event = json::parse(cloud_event(id)).as_object();
    event["subject"] = subject;
    REQUIRE(to.publish("group.keys", json::serialize(event)).status == 200);
  };
  keyed("a1", "a");
  keyed("a2", "a");
  keyed("b1", "b");
  keyed("c1", "c");
  REQUIRE(
      to.put("/topics/group.keys/groups/workers", R"({"ordered_by_subject":true})").status < 300);
  worker one{node().where(), "group.keys", "one"};
  auto got = one.fetch(10);
  REQUIRE(got.size() == 3);
  CHECK(text_of(got[0].event, "id") == "a1");
  CHECK(text_of(got[1].event, "id") == "b1");
  CHECK(text_of(got[2].event, "id") == "c1");
  one.ack({got[0]});
  const auto next = one.fetch(10, 1000);
  REQUIRE(next.size() == 1);
  CHECK(text_of(next[0].event, "id") == "a2");
}

TEST_CASE("consumers that do not read take neither memory nor attempts") {
  constexpr std::uint64_t budget = 8 << 20;
  constexpr std::uint64_t count = 60;
  const server_process small{
      {.arguments = {"--set", "node.payload_bytes_max=" + std::to_string(budget)}}};
  broker to{small.where()};
  const std::string large = '"' + std::string(900'000, 'x') + '"';
  for (std::uint64_t i = 0; i < count; ++i)
    REQUIRE(to.post("/topics/group.deaf/events", large).status == 200);
  make_group(small.where(), "group.deaf", 0, R"({"hold_ms":5000})");
  const auto held_bytes = [&] {
    const std::string name = "\ncallboard_payload_bytes_in_flight ";
    const auto text = to.http().get("/metrics").body;
    const auto at = text.find(name);
    return at == std::string::npos ? 0.0 : std::strtod(text.c_str() + at + name.size(), nullptr);
  };
  {
    const std::string body = R"({"max":100})";
    std::string asks;
    for (int i = 0; i < 30; ++i) {
      asks += "POST " + to.path("/topics/group.deaf/groups/workers/fetch")
              + " HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: "
              + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    std::vector<socket> deaf;
    for (int i = 0; i < 2; ++i)
      deaf.emplace_back(small.where()).write(asks);
    websocket_client deaf_too{small.where()};
    deaf_too.send_json(
        {{"op", "consume"},
         {"id", 1},
         {"topic", "group.deaf"},
         {"group", "workers"},
         {"credits", 50}});
    // What the sockets hold is the system's; what is behind it is charged.
    REQUIRE(eventually([&] { return held_bytes() > 800'000; }));
    CHECK(held_bytes() <= budget / 2.0);
    worker reads{small.where(), "group.deaf", "reads"};
    const auto next = reads.fetch(100);
    REQUIRE(next.size() == 1);
    CHECK(next[0].attempt == 1);
    reads.ack(next);
    deaf_too.cut();
    for (auto& one : deaf)
      one.cut();
  }
  worker reads{small.where(), "group.deaf", "reads"};
  CHECK(eventually([&] {
    const auto got = reads.fetch(100, 500);
    if (!got.empty()) reads.ack(got);
    return number_of(reads.describe(), "lag") == 0;
  }));
  CHECK(number_of(reads.describe(), "dead_lettered") == 0);
  CHECK(eventually([&] { return held_bytes() == 0; }));
}
