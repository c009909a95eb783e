// What those who watch a pattern hear of a topic that they do not follow.
#include "tests/actors/topic/virtual_broker.hpp"

using namespace callboard;
using namespace callboard::actors;
using callboard::testing::received;
using callboard::testing::virtual_broker;

namespace {

struct watched_broker : virtual_broker {
  received told;
  caf::actor hub = make_probe(told);

  void watch() { router->watch({topic("x").tenant, topic_pattern::parse("room.*").value()}, hub); }
};

}  // namespace

TEST_CASE_METHOD(watched_broker, "an event under way is told to who begins to watch", "[actors]") {
  (void)publish("room.1", {"a"});
  settle();
  (void)publish("room.1", {"b"});
  run();
  watch();
  run();
  REQUIRE(told.active.size() == 1);
  CHECK(told.active[0].last_seq == sequence{1});
  CHECK_FALSE(told.active[0].is_quiet);
  settle();
  watch();
  settle();
  REQUIRE(told.active.size() == 2);
  CHECK(told.active[1].last_seq == sequence{2});
  CHECK(told.active[1].is_quiet);
}

TEST_CASE_METHOD(
    watched_broker, "an ephemeral event reaches those who attach because of it", "[actors]") {
  const auto say = [this](const char* text) {
    auto request = testing::make_request(0, {text});
    request.ephemeral = true;
    (void)publish("room.1", std::move(request));
  };
  (void)publish("room.1", {"a"});
  settle();
  watch();
  settle();
  say("b");
  say("c");
  settle();
  REQUIRE(told.active.size() == 2);
  CHECK_FALSE(told.active[1].is_quiet);
  router->attach({topic("room.1"), 10, true}, hub);
  settle();
  say("d");
  settle();
  CHECK(told.delivered.size() == 3);
  CHECK(told.attached.at(0).last_seq == sequence{1});
  // Who was not told was not there.
  received late;
  router->attach({topic("room.1"), 10}, make_probe(late));
  settle();
  CHECK(late.attached.size() == 1);
  CHECK(late.delivered.empty());
  // And it is for a moment only.
  advance(std::chrono::seconds{6});
  received later;
  router->attach({topic("room.1"), 10, true}, make_probe(later));
  settle();
  CHECK(later.delivered.empty());
}
