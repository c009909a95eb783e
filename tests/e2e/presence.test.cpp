// Who is here: joined, updated, left, and what a vanished connection means.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

namespace {

using namespace callboard::testing;

const std::vector<std::string> quick{
    "--set", "topics.presence_grace_ms=300", "--set", "topics.presence_lease_ms=1000"};

json::object presence(
    websocket_client& client,
    std::string_view action,
    std::string_view member,
    json::object state = {}) {
  return client.ask(
      {{"op", "presence"},
       {"topic", "room"},
       {"action", action},
       {"member", member},
       {"state", std::move(state)}});
}

json::array members(broker& to) {
  const auto answer = to.get("/presence/room");
  REQUIRE(answer.status == 200);
  return answer.json().at("members").as_array();
}

/// Waits for the next event of a `presence.*` type and returns it.
json::object presence_event(websocket_client& watcher) {
  for (;;) {
    const auto frame = watcher.next_op("event");
    const auto event = frame.at("event").as_object();
    if (text_of(event, "type").starts_with("presence.")) return event;
  }
}

}  // namespace

TEST_CASE("presence: join, update and leave are listed and told to subscribers") {
  const server_process node{{.arguments = quick}};
  broker to{node.where()};
  websocket_client watcher{node.where()};
  watcher.ask({{"op", "subscribe"}, {"topic", "room"}, {"from", "now"}});
  websocket_client client{node.where()};
  REQUIRE(text_of(presence(client, "join", "ada", {{"mood", "busy"}}), "op") == "ok");
  auto event = presence_event(watcher);
  CHECK(text_of(event, "type") == "presence.joined");
  auto here = members(to);
  REQUIRE(here.size() == 1);
  CHECK(text_of(here[0], "member") == "ada");
  CHECK(text_of(here[0].at("state"), "mood") == "busy");

  REQUIRE(text_of(presence(client, "update", "ada", {{"mood", "free"}}), "op") == "ok");
  CHECK(text_of(presence_event(watcher), "type") == "presence.updated");
  CHECK(text_of(members(to)[0].at("state"), "mood") == "free");

  REQUIRE(text_of(presence(client, "leave", "ada"), "op") == "ok");
  CHECK(text_of(presence_event(watcher), "type") == "presence.left");
  CHECK(members(to).empty());
}

TEST_CASE("presence: a vanished member who returns within the grace never left") {
  const server_process node{{.arguments = {"--set", "topics.presence_grace_ms=60000"}}};
  broker to{node.where()};
  {
    websocket_client client{node.where()};
    REQUIRE(text_of(presence(client, "join", "ada"), "op") == "ok");
    client.cut();
  }
  CHECK(eventually([&] { return !members(to).empty() && !flag_of(members(to)[0], "present"); }));
  websocket_client watcher{node.where()};
  watcher.ask({{"op", "subscribe"}, {"topic", "room"}, {"from", "now"}});
  websocket_client client{node.where()};
  REQUIRE(text_of(presence(client, "join", "ada"), "op") == "ok");
  REQUIRE(members(to).size() == 1);
  CHECK(flag_of(members(to)[0], "present"));
  REQUIRE(text_of(presence(client, "join", "bob"), "op") == "ok");
  for (;;) {
    const auto event = presence_event(watcher);
    CHECK(text_of(event, "type") != "presence.left");
    if (json::serialize(event).contains("bob")) break;
  }
}

TEST_CASE("presence: a vanished member leaves once the grace has passed") {
  const server_process node{{.arguments = quick}};
  broker to{node.where()};
  websocket_client watcher{node.where()};
  watcher.ask({{"op", "subscribe"}, {"topic", "room"}, {"from", "now"}});
  websocket_client client{node.where()};
  REQUIRE(text_of(presence(client, "join", "ada"), "op") == "ok");
  CHECK(text_of(presence_event(watcher), "type") == "presence.joined");
  client.cut();
  CHECK(text_of(presence_event(watcher), "type") == "presence.left");
  CHECK(members(to).empty());
}

TEST_CASE("presence: after kill -9 a member is unknown, not left, until the grace has passed") {
  server_process node{
      {.arguments = {
           "--set", "topics.presence_grace_ms=1500", "--set", "topics.presence_lease_ms=1500"}}};
  {
    websocket_client client{node.where()};
    REQUIRE(text_of(presence(client, "join", "ada"), "op") == "ok");
  }
  node.kill();
  node.start();
  broker to{node.where()};
  const auto here = members(to);
  REQUIRE(here.size() == 1);
  CHECK_FALSE(flag_of(here[0], "present"));
  CHECK(eventually([&] { return members(to).empty(); }));
}
