// Relays with and without credit, patterns, ephemeral events, lanes, retention and pages.
#include "tests/actors/topic/virtual_broker.hpp"

using namespace callboard;
using namespace callboard::actors;
using callboard::testing::make_request;
using callboard::testing::received;
using callboard::testing::virtual_broker;

namespace {

using seqs = std::vector<std::uint64_t>;

topic_settings_patch bulk_lane() {
  topic_settings_patch patch;
  patch.lane = runtime::topic_lane::bulk;
  return patch;
}

std::vector<std::string> many(int count, const std::string& prefix) {
  std::vector<std::string> ids;
  for (int i = 0; i < count; ++i)
    ids.push_back(prefix + std::to_string(i));
  return ids;
}

/// A name in the same shard as `other`.
std::string beside(virtual_broker& broker, const std::string& other) {
  for (int i = 0;; ++i) {
    const auto name = "beside" + std::to_string(i);
    if (broker.shard_of(name) == broker.shard_of(other)) return name;
  }
}

}  // namespace

TEST_CASE("a relay without credit is passed over and told so", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  received relay;
  const auto actor = broker.make_probe(relay);
  broker.router->attach({virtual_broker::topic("events"), 2}, actor);
  broker.settle();
  REQUIRE(relay.attached.size() == 1);
  CHECK(relay.attached[0].last_seq == sequence{1});
  for (const auto* id : {"b", "c", "d", "e"}) {
    (void)broker.publish("events", {id});
    broker.settle();
  }
  CHECK(relay.seqs() == seqs{2, 3});
  CHECK(relay.skipped.empty());
  broker.grant(actor, 5);
  REQUIRE(relay.skipped.size() == 1);
  CHECK(relay.skipped[0].last_seq == sequence{5});
  (void)broker.publish("events", {"f"});
  broker.settle();
  CHECK(relay.seqs() == seqs{2, 3, 6});
}

TEST_CASE("delivery waits for the commit, also of written events", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  received relay;
  broker.router->attach({virtual_broker::topic("events"), 10}, broker.make_probe(relay));
  broker.settle();
  auto request = make_request(0, {"b"});
  request.level = durability::written;
  const auto written = broker.publish("events", std::move(request));
  const auto synced = broker.publish("events", {"c"});
  broker.run();
  broker.journal.tell_written();
  broker.run();
  REQUIRE(broker.got.published.contains(written));
  CHECK(broker.got.published.at(written)->reached == durability::written);
  CHECK_FALSE(broker.got.published.contains(synced));
  CHECK(relay.delivered.empty());
  broker.settle();
  CHECK(broker.got.published.at(synced)->reached == durability::synced);
  CHECK(relay.seqs() == seqs{2, 3});
}

TEST_CASE("ephemeral events reach who is there and are not kept", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  received relay;
  broker.router->attach({virtual_broker::topic("events"), 10}, broker.make_probe(relay));
  broker.settle();
  // It stays behind what was published before it.
  const auto durable = broker.publish("events", {"b"});
  auto request = make_request(0, {"flash"});
  request.ephemeral = true;
  const auto flash = broker.publish("events", std::move(request));
  broker.settle();
  CHECK(broker.got.published.at(durable)->first_seq == sequence{2});
  CHECK(broker.got.published.at(flash)->first_seq == sequence{});
  REQUIRE(relay.delivered.size() == 2);
  CHECK_FALSE(relay.delivered[0]->ephemeral);
  CHECK(relay.delivered[1]->ephemeral);
  const auto page =
      broker.ask_now(read_events{virtual_broker::topic("events"), runtime::from_first{}, 100});
  CHECK(std::get<event_page>(*page).batch->events.size() == 2);
}

TEST_CASE("an ephemeral topic keeps nothing", "[actors][topic]") {
  virtual_broker broker;
  topic_settings_patch patch;
  patch.kind = runtime::topic_kind::ephemeral;
  REQUIRE(broker.ask_now(put_topic{virtual_broker::topic("flash"), patch}));
  received relay;
  broker.router->attach({virtual_broker::topic("flash"), 10}, broker.make_probe(relay));
  const auto sent = broker.publish("flash", {"a"});
  broker.settle();
  CHECK(broker.got.published.at(sent)->first_seq == sequence{});
  REQUIRE(relay.attached.size() == 1);
  CHECK(relay.attached[0].ephemeral);
  CHECK(relay.delivered.size() == 1);
  CHECK(broker.journal.records(broker.shard_of("flash")).size() == 1);
  const auto changed = broker.ask_now(put_topic{virtual_broker::topic("flash"), [] {
                                                  topic_settings_patch back;
                                                  back.kind = runtime::topic_kind::durable;
                                                  return back;
                                                }()});
  CHECK(changed.error().code == errc::exists);
}

TEST_CASE("a flood on bulk topics leaves room for the others", "[actors][topic]") {
  config settings;
  settings.topics.shard_in_flight_max = 400;
  settings.topics.bulk_in_flight_max = 60;
  virtual_broker broker{settings};
  const auto calm = beside(broker, "flood");
  REQUIRE(broker.ask_now(put_topic{virtual_broker::topic("flood"), bulk_lane()}));
  (void)broker.publish(calm, {"first"});
  (void)broker.publish("flood", {"first"});
  broker.settle();
  broker.got.published.clear();
  std::vector<std::uint64_t> floods;
  for (int i = 0; i < 50; ++i)
    floods.push_back(broker.publish("flood", many(20, "f" + std::to_string(i) + "-")));
  const auto interactive = broker.publish(calm, many(20, "c"));
  broker.run();
  // Not more than the bulk bound waits in the journal, in front of whatever comes next.
  CHECK(broker.journal.queued() <= 60 / 20 + 1);
  broker.settle();
  REQUIRE(broker.got.published.at(interactive));
  std::size_t accepted = 0;
  for (const auto one : floods) {
    const auto& outcome = broker.got.published.at(one);
    if (outcome) {
      ++accepted;
      continue;
    }
    CHECK(outcome.error().code == errc::overloaded);
    CHECK(outcome.error().retry_after_ms > 0);
  }
  CHECK(accepted == 3);
  // What the bulk bound never has room for is not to be tried again.
  const auto larger = broker.publish("flood", many(61, "larger"));
  broker.settle();
  REQUIRE_FALSE(broker.got.published.at(larger));
  CHECK(broker.got.published.at(larger).error().code == errc::too_large);
  // Everything was given back.
  const auto after = broker.publish("flood", many(60, "after"));
  broker.settle();
  CHECK(broker.got.published.at(after));
}

TEST_CASE("beyond its bound a shard refuses at once and recovers", "[actors][topic]") {
  config settings;
  settings.topics.shard_in_flight_max = 100;
  virtual_broker broker{settings};
  (void)broker.publish("events", {"a"});
  broker.settle();
  std::vector<std::uint64_t> sent;
  for (int i = 0; i < 15; ++i)
    sent.push_back(broker.publish("events", many(10, std::to_string(i) + "-")));
  std::size_t refused = 0;
  for (const auto one : sent)
    refused += broker.got.published.contains(one) ? 1 : 0;
  CHECK(refused == 5);
  broker.settle();
  std::size_t accepted = 0;
  for (const auto one : sent)
    accepted += broker.got.published.at(one) ? 1 : 0;
  CHECK(accepted == 10);
  const auto again = broker.publish("events", many(100, "again"));
  broker.settle();
  CHECK(broker.got.published.at(again));
}

TEST_CASE("a watcher hears where an active topic is", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("room.1", {"a", "b"});
  broker.settle();
  (void)broker.publish("room.1", {"c"});
  broker.settle();
  received hub;
  const auto pattern = topic_pattern::parse("room.*").value();
  const auto tenant = tenant_name::parse("acme").value();
  const auto actor = broker.make_probe(hub);
  broker.router->watch({tenant, pattern}, actor);
  broker.settle();
  REQUIRE(hub.active.size() == 1);
  CHECK(hub.active[0].last_seq == sequence{3});
  (void)broker.publish("room.2", {"a"});
  (void)broker.publish("hall.1", {"a"});
  broker.settle();
  REQUIRE(hub.active.size() == 2);
  CHECK(hub.active[1].topic == virtual_broker::topic("room.2"));
  CHECK(hub.active[1].last_seq == sequence{0});
  broker.router->unwatch({tenant, pattern}, actor);
  (void)broker.publish("room.3", {"a"});
  broker.settle();
  CHECK(hub.active.size() == 2);
}

TEST_CASE("a relay waits for a topic and gets it from its first event", "[actors][topic]") {
  virtual_broker broker;
  received relay;
  received gone;
  broker.router->attach({virtual_broker::topic("later"), 10}, broker.make_probe(relay));
  const auto leaves = broker.make_probe(gone);
  broker.router->attach({virtual_broker::topic("later"), 10}, leaves);
  broker.settle();
  REQUIRE(relay.attached.size() == 1);
  CHECK_FALSE(relay.attached[0].exists);
  broker.router->detach({virtual_broker::topic("later")}, leaves);
  (void)broker.publish("later", {"a", "b"});
  broker.settle();
  REQUIRE(relay.attached.size() == 2);
  CHECK(relay.attached[1].exists);
  CHECK(relay.attached[1].last_seq == sequence{0});
  CHECK(relay.seqs() == seqs{1, 2});
  CHECK(gone.attached.size() == 1);
  CHECK(gone.delivered.empty());
}

TEST_CASE(
    "retention lets old events go, also of topics that are not in memory", "[actors][topic]") {
  config settings;
  settings.topics.passivate_after_ms = 500;
  settings.topics.retention_check_ms = 200;
  settings.topics.retention_age_s = 5;
  virtual_broker broker{settings};
  (void)broker.publish("events", {"a", "b"});
  broker.settle();
  broker.advance(std::chrono::seconds{3});
  (void)broker.publish("events", {"c"});
  broker.settle();
  broker.advance(std::chrono::milliseconds{3500});
  auto page =
      broker.ask_now(read_events{virtual_broker::topic("events"), runtime::from_first{}, 100});
  REQUIRE(page);
  CHECK(std::get<event_page>(*page).first_seq == sequence{3});
  CHECK(std::get<event_page>(*page).batch->events.size() == 1);
  broker.advance(std::chrono::seconds{5});
  page = broker.ask_now(read_events{virtual_broker::topic("events"), runtime::from_first{}, 100});
  CHECK(std::get<event_page>(*page).first_seq == sequence{4});
  CHECK(std::get<event_page>(*page).last_seq == sequence{3});
  const auto next = broker.publish("events", {"d"});
  broker.settle();
  CHECK(broker.got.published.at(next)->first_seq == sequence{4});
}

TEST_CASE("a page says what is gone", "[actors][topic]") {
  config settings;
  settings.topics.retention_events = 2;
  settings.topics.retention_check_ms = 100;
  virtual_broker broker{settings};
  const auto sent = broker.publish("events", {"a", "b", "c", "d", "e"});
  broker.settle();
  broker.advance(std::chrono::milliseconds{300});
  const auto epoch = *broker.got.published.at(sent)->epoch;
  const auto read = [&](runtime::position from) {
    return broker.ask_now(read_events{virtual_broker::topic("events"), std::move(from), 100});
  };
  const auto gone = read(runtime::after_cursor{{epoch, sequence{1}}});
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == errc::cursor_expired);
  CHECK_THAT(gone.error().detail, Catch::Contains("first available seq is 4"));
  CHECK(read(runtime::after_cursor{{"f-1", sequence{4}}}).error().code == errc::cursor_expired);
  const auto kept = read(runtime::after_cursor{{epoch, sequence{3}}});
  REQUIRE(kept);
  CHECK(std::get<event_page>(*kept).batch->events.size() == 2);
  CHECK(read(runtime::after_cursor{{epoch, sequence{9}}}).error().code == errc::cursor_expired);
  const auto missing =
      broker.ask_now(read_events{virtual_broker::topic("nowhere"), runtime::from_first{}, 100});
  CHECK(missing.error().code == errc::topic_not_found);
}

TEST_CASE("a draining router refuses, and stopping answers what it was given", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  const auto last = broker.publish("events", {"b"});
  broker.router->drain();
  const auto late = broker.publish("events", {"c"});
  CHECK(broker.got.published.at(late).error().code == errc::draining);
  broker.router->begin_stop();
  broker.settle();
  REQUIRE(broker.got.published.contains(last));
  CHECK(broker.got.published.at(last)->first_seq == sequence{2});
}
