// What those who watch a pattern hear of a topic that they do not follow.
#include "actors/relay_hub.hpp"
#include "actors/unheard_events.hpp"

#include "tests/actors/relay/recording_output.hpp"
#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/asio/io_context.hpp>

#include <algorithm>

using namespace callboard;
using namespace callboard::actors;
using callboard::testing::received;
using callboard::testing::recording_output;
using callboard::testing::virtual_broker;

namespace {

struct watched_broker : virtual_broker {
  received told;
  caf::actor hub = make_probe(told);

  void watch() { router->watch({topic("x").tenant, topic_pattern::parse("room.*").value()}, hub); }

  /// Publishes an ephemeral event.
  void say(const std::string& name, const std::string& id) {
    auto request = testing::make_request(0, {id});
    request.ephemeral = true;
    (void)publish(name, std::move(request));
  }

  void make_ephemeral(const std::string& name) {
    REQUIRE(ask_now(put_topic{topic(name), {.kind = runtime::topic_kind::ephemeral}}));
  }
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
    watched_broker, "an ephemeral event is kept for those who attach because of it", "[actors]") {
  (void)publish("room.1", {"a"});
  settle();
  watch();
  settle();
  say("room.1", "b");
  say("room.1", "c");
  settle();
  REQUIRE(told.active.size() == 2);
  CHECK_FALSE(told.active[1].is_quiet);
  router->attach({topic("room.1"), 10}, hub);
  settle();
  say("room.1", "d");
  settle();
  CHECK(told.attached.at(0).last_seq == sequence{1});
  REQUIRE(told.unheard.size() == 1);
  CHECK(told.unheard[0].batches.size() == 2);
  CHECK(told.unheard[0].news.number == told.active[1].number);
  CHECK(told.delivered.size() == 1);
  // Nobody else may attach because of the same news once the first has let go.
  caf::anon_send(hub, box(release_relay{sequence{1}}));
  settle();
  CHECK(told.released == 0);
  // And it is for a moment only.
  advance(std::chrono::seconds{6});
  caf::anon_send(hub, box(release_relay{sequence{1}}));
  settle();
  CHECK(told.released == 1);
  // Of more than it keeps the last are there, and the others are counted.
  for (std::size_t i = 0; i < unheard_events::batches_max + 3; ++i)
    say("room.1", "e" + std::to_string(i));
  settle();
  router->attach({topic("room.1"), 10}, hub);
  settle();
  REQUIRE(told.unheard.size() == 2);
  CHECK(told.unheard[1].batches.size() == unheard_events::batches_max);
  CHECK(told.unheard[1].dropped == 3);
  advance(std::chrono::seconds{6});
  received late;
  router->attach({topic("room.1"), 10}, make_probe(late));
  settle();
  CHECK(late.attached.size() == 1);
  CHECK(late.unheard.empty());
}

namespace {

/// Somebody follows room.1 on the thread where somebody else watches the pattern.
struct shared_thread : watched_broker {
  boost::asio::io_context loop{1};
  metrics counted;
  relay_hub thread{{*system, *router, loop, settings, time, counted}};
  recording_output direct;
  recording_output by_pattern;
  runtime::credit_account credits;
  std::unique_ptr<topic_subscription> follower;
  std::unique_ptr<pattern_subscription> watcher;

  ~shared_thread() {
    watcher.reset();
    follower.reset();
    thread.stop();
    go();
  }

  void go() {
    do {
      settle();
      loop.restart();
    } while (loop.poll() > 0);
  }

  void follow() {
    follower = thread.subscribe(
        topic("room.1"), direct, runtime::slow_policy::lag, credits, runtime::from_now{});
    follower->open();
  }

  /// From now.
  void watch_rooms() {
    watcher = thread
                  .subscribe_pattern(
                      topic("x").tenant,
                      topic_pattern::parse("room.*").value(),
                      by_pattern,
                      runtime::slow_policy::lag,
                      credits,
                      {})
                  .value();
    go();
    CHECK(by_pattern.take() == std::vector<std::string>{"pattern started"});
  }

  /// But for where it begins, which must be no gap.
  [[nodiscard]] std::vector<std::string> events_of(recording_output& output) {
    auto told = output.take();
    std::erase_if(told, [](const std::string& line) {
      return line.starts_with("started ") && std::ranges::count(line, ' ') == 1;
    });
    return told;
  }
};

}  // namespace

TEST_CASE_METHOD(
    shared_thread, "a pattern gets what somebody gets who follows the topic", "[actors]") {
  const bool keeps_events = GENERATE(true, false);
  INFO("durable: " << keeps_events);
  if (!keeps_events) make_ephemeral("room.1");
  (void)publish("room.1", {"a"});
  follow();
  go();
  watch_rooms();
  (void)direct.take();
  for (int round = 0; round < 2; ++round) {
    say("room.1", "b" + std::to_string(round));
    (void)publish("room.1", {"c" + std::to_string(round)});
    say("room.1", "d" + std::to_string(round));
    go();
    const auto got = events_of(direct);
    CHECK(got.size() == 3);
    CHECK(events_of(by_pattern) == got);
    // Quiet for long enough to be let go of, while the other goes on following.
    for (int i = 0; i < 60; ++i) {
      advance(std::chrono::milliseconds{250});
      thread.tick(time.boot());
      go();
    }
    CHECK(watcher->topic_count() == 0);
  }
}

TEST_CASE_METHOD(
    shared_thread,
    "a pattern gets the event that wakes a topic whoever comes or goes",
    "[actors]") {
  (void)publish("room.1", {"a"});
  go();
  SECTION("a follower who has just left") {
    follow();
    go();
    watch_rooms();
    follower.reset();
    say("room.1", "b");
  }
  SECTION("a follower who comes just behind it") {
    watch_rooms();
    say("room.1", "b");
    follow();
  }
  go();
  // Who came behind it was not there.
  CHECK(events_of(direct).empty());
  CHECK(events_of(by_pattern).size() == 1);
}
