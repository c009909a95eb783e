// The dedupe window from the publisher's side: it outlives memory, the cache and retention.
#include "tests/actors/topic/virtual_broker.hpp"

using namespace callboard;
using namespace callboard::actors;
using callboard::testing::virtual_broker;

namespace {

/// Caches so small that ids soon have to be looked up.
config small_cache() {
  config settings;
  settings.topics.dedupe_cache_ids_max = 16;
  settings.topics.events_in_flight_max = 16;
  settings.topics.passivate_after_ms = 1000;
  settings.topics.retention_check_ms = 200;
  return settings;
}

void check_duplicate(virtual_broker& broker, const std::string& id, std::uint64_t seq) {
  const auto again = broker.publish("events", {id});
  broker.settle();
  REQUIRE(broker.got.published.at(again));
  CHECK(broker.got.published.at(again)->first_seq.raw() == seq);
  REQUIRE(broker.got.published.at(again)->events.size() == 1);
  CHECK(broker.got.published.at(again)->events[0].duplicate);
}

}  // namespace

TEST_CASE("ids beyond the cache are found where they are stored", "[actors][topic]") {
  virtual_broker broker{small_cache()};
  for (int i = 1; i <= 100; ++i) {
    (void)broker.publish("events", {std::to_string(i)});
    broker.settle();
  }
  for (const int i : {1, 2, 50, 83, 84, 85, 99, 100})
    check_duplicate(broker, std::to_string(i), i);
  const auto other = broker.publish("events", [] {
    auto request = callboard::testing::make_request(0, {});
    request.events.push_back(callboard::testing::make_event("3", "other content"));
    return request;
  }());
  broker.settle();
  CHECK(broker.got.published.at(other).error().code == errc::id_conflict);
  const auto fresh = broker.publish("events", {"fresh"});
  broker.settle();
  CHECK(broker.got.published.at(fresh)->first_seq == sequence{101});
}

TEST_CASE("the window is there again after the topic left memory", "[actors][topic]") {
  virtual_broker broker{small_cache()};
  for (int i = 1; i <= 40; ++i) {
    (void)broker.publish("events", {std::to_string(i)});
    if (i % 3 == 0) broker.settle();
  }
  broker.settle();
  broker.advance(std::chrono::seconds{3});
  for (const int i : {1, 20, 40})
    check_duplicate(broker, std::to_string(i), i);
}

TEST_CASE("an id may come again once the window has passed", "[actors][topic]") {
  auto settings = small_cache();
  settings.topics.dedupe_window_s = 2;
  virtual_broker broker{settings};
  (void)broker.publish("events", {"a"});
  broker.settle();
  check_duplicate(broker, "a", 1);
  broker.advance(std::chrono::seconds{4});
  const auto again = broker.publish("events", {"a"});
  broker.settle();
  CHECK(broker.got.published.at(again)->first_seq == sequence{2});
  check_duplicate(broker, "a", 2);
}

TEST_CASE("retention does not shorten the window", "[actors][topic]") {
  auto settings = small_cache();
  settings.topics.retention_events = 5;
  virtual_broker broker{settings};
  for (int i = 1; i <= 60; ++i) {
    (void)broker.publish("events", {std::to_string(i)});
    broker.settle();
  }
  broker.advance(std::chrono::milliseconds{600});
  const auto shown = broker.ask_now(get_topic{virtual_broker::topic("events")});
  REQUIRE(shown);
  CHECK(std::get<topic_description>(*shown).first_seq == sequence{56});
  CHECK(std::get<topic_description>(*shown).events == 5);
  for (const int i : {1, 30, 54})
    check_duplicate(broker, std::to_string(i), i);
  // Also from disk alone.
  broker.advance(std::chrono::seconds{3});
  for (const int i : {1, 30, 54})
    check_duplicate(broker, std::to_string(i), i);
}
