// The hub of an I/O thread with real relay actors, on an actor system without threads.
#include "actors/relay_hub.hpp"

#include "actors/boxed.hpp"

#include "tests/actors/relay/fixture.hpp"
#include "tests/actors/relay/recording_output.hpp"
#include "tests/support/catch.hpp"

#include <caf/event_based_actor.hpp>

using namespace callboard;
using namespace callboard::actors;
using namespace callboard::testing;
using lines = std::vector<std::string>;

namespace {

struct thread_of_one : quiet_system {
  silent_router router;
  config settings;
  manual_clock time;
  metrics counters;
  relay_hub hub{{system, router, loop, settings, time, counters}};
  recording_output output;
  runtime::credit_account credits;

  ~thread_of_one() {
    hub.stop();
    router.forget();
    run();
  }

  std::unique_ptr<topic_subscription>
  subscribe(const std::string& topic, runtime::position from = runtime::from_now{}) {
    auto one = hub.subscribe(
        topic_named(topic), output, runtime::slow_policy::lag, credits, std::move(from));
    one->open();
    return one;
  }

  /// From now, once the hub has asked which there are.
  std::unique_ptr<pattern_subscription> watch_all_of_a() {
    auto watch = hub.subscribe_pattern(
        tenant_name::trusted("acme"),
        topic_pattern::parse("a.*").value(),
        output,
        runtime::slow_policy::lag,
        credits,
        {});
    REQUIRE(watch);
    run();
    return std::move(*watch);
  }

  static relay_attached attached(const std::string& topic, std::uint64_t last) {
    return {
        .topic = topic_named(topic),
        .exists = true,
        .ephemeral = false,
        .epoch = "e",
        .entity = {},
        .first_seq = sequence{1},
        .last_seq = sequence{last}};
  }

  void tick(std::chrono::milliseconds passed = std::chrono::milliseconds{250}) {
    time.advance(passed);
    hub.tick(time.boot());
    run();
  }
};

}  // namespace

TEST_CASE_METHOD(thread_of_one, "one relay per topic, whoever subscribes", "[relay_hub]") {
  auto a = subscribe("orders");
  auto b = subscribe("orders");
  auto c = subscribe("users");
  run();
  REQUIRE(router.attached.size() == 2);
  CHECK(router.attached[0].first.credits == settings.topics.relay_credits);
  CHECK(hub.relay_count() == 2);
}

TEST_CASE_METHOD(
    thread_of_one,
    "credit goes back to the topic after every subscriber had its batch",
    "[relay_hub]") {
  auto subscription = subscribe("orders");
  run();
  const auto relay = router.attached.at(0).second;
  self->send(relay, box(attached("orders", 0)));
  for (std::uint64_t i = 1; i <= 3; ++i) {
    self->send(relay, box(deliver{make_batch(topic_named("orders"), "e", i, i)}));
  }
  run();
  CHECK(output.take() == lines{"started e:0", "e:1", "e:2", "e:3"});
  std::uint32_t granted = 0;
  self->receive([&](boxed<relay_credit>& credit) { granted = credit->credits; });
  CHECK(granted == 3);
}

TEST_CASE_METHOD(thread_of_one, "a relay reads history through the router", "[relay_hub]") {
  auto subscription = subscribe("orders", runtime::from_first{});
  run();
  const auto relay = router.attached.at(0).second;
  self->send(relay, box(attached("orders", 2)));
  run();
  REQUIRE(router.controls.size() == 1);
  const auto& request = router.controls[0].first;
  CHECK(std::get<read_events>(request.body).events_max == settings.limits.page_events_max);
  self->send(
      router.controls[0].second,
      box(control_reply{
          request.correlation,
          event_page{
              make_batch(topic_named("orders"), "e", 1, 2),
              sequence{1},
              sequence{2},
              sequence{3}}}));
  run();
  CHECK(output.take() == lines{"started e:0", "e:1", "e:2", "caught_up"});
}

TEST_CASE_METHOD(
    thread_of_one, "a relay lingers for clients that come back, then leaves", "[relay_hub]") {
  auto subscription = subscribe("orders");
  run();
  subscription.reset();
  tick();
  CHECK(hub.relay_count() == 1);
  subscription = subscribe("orders");
  tick(std::chrono::seconds{5});
  CHECK(router.attached.size() == 1);
  subscription.reset();
  tick();
  tick(std::chrono::seconds{3});
  CHECK(hub.relay_count() == 0);
  CHECK(router.detached == std::vector{topic_named("orders")});
}

TEST_CASE_METHOD(thread_of_one, "a topic's actor that died is attached to again", "[relay_hub]") {
  auto topic = system.spawn([](caf::event_based_actor*) -> caf::behavior { return {[](int) {}}; });
  auto subscription = subscribe("orders");
  run();
  const auto relay = router.attached.at(0).second;
  caf::send_as(topic, relay, box(attached("orders", 1)));
  run();
  caf::anon_send_exit(topic, caf::exit_reason::kill);
  run();
  tick();
  REQUIRE(router.attached.size() == 2);
  CHECK(router.attached[1].second == relay);
}

TEST_CASE_METHOD(
    thread_of_one, "a pattern is watched once for all who subscribe to it", "[relay_hub]") {
  const auto tenant = tenant_name::trusted("acme");
  const auto pattern = topic_pattern::parse("a.*").value();
  recording_output other;
  auto first =
      hub.subscribe_pattern(tenant, pattern, output, runtime::slow_policy::lag, credits, {});
  REQUIRE(first);
  CHECK(router.watched == std::vector<std::string>{"a.*"});
  run();
  REQUIRE(router.controls.size() == 1);
  CHECK(std::get<list_topics>(router.controls[0].first.body).after == "a.");
  const auto hub_actor = router.controls[0].second;
  self->send(hub_actor, box(control_reply{router.controls[0].first.correlation, topic_list{}}));
  self->send(hub_actor, box(topic_active{topic_named("a.x"), "e", sequence{4}}));
  run();
  CHECK(output.take() == lines{"pattern started"});
  CHECK(router.attached.size() == 1);

  auto second =
      hub.subscribe_pattern(tenant, pattern, other, runtime::slow_policy::lag, credits, {});
  REQUIRE(second);
  CHECK(router.watched.size() == 2);
  topic_list known;
  known.topics.emplace_back();
  known.topics[0].topic = "a.x";
  known.topics[0].epoch = "e";
  known.topics[0].last_seq = sequence{6};
  self->send(hub_actor, box(control_reply{router.controls[1].first.correlation, known}));
  run();
  self->send(router.attached[0].second, box(attached("a.x", 6)));
  // How far it is says nothing new; an event does, which begins where the list says.
  self->send(hub_actor, box(topic_active{topic_named("a.x"), "e", sequence{6}, true}));
  run();
  CHECK(other.take() == lines{"pattern started"});
  self->send(hub_actor, box(topic_active{topic_named("a.x"), "e", sequence{6}}));
  run();
  CHECK(other.take() == lines{"started e:6"});
  CHECK(output.take() == lines{"started e:4"});

  first->reset();
  CHECK(router.unwatched.empty());
  second->reset();
  CHECK(router.unwatched == std::vector<std::string>{"a.*"});
}

TEST_CASE_METHOD(
    thread_of_one,
    "a pattern lets go of a quiet topic and hears of its next event",
    "[relay_hub]") {
  auto topic = self->spawn([](caf::event_based_actor*) -> caf::behavior {
    return {
        [](const boxed<relay_credit>&) {},
        [](const boxed<release_relay>& message, const caf::actor& relay) {
          if (message->heard == sequence{6}) caf::anon_send(relay, box(relay_released{}));
        }};
  });
  const auto watch = watch_all_of_a();
  const auto hub_actor = router.controls[0].second;
  self->send(hub_actor, box(control_reply{router.controls[0].first.correlation, topic_list{}}));
  self->send(hub_actor, box(topic_active{topic_named("a.x"), "e", sequence{4}}));
  run();
  const auto relay = router.attached.at(0).second;
  caf::send_as(topic, relay, box(attached("a.x", 4)));
  caf::send_as(topic, relay, box(deliver{make_batch(topic_named("a.x"), "e", 5, 5)}));
  run();
  CHECK(output.take() == lines{"pattern started", "started e:4", "e:5"});
  tick();
  tick(std::chrono::seconds{11});
  CHECK(watch->topic_count() == 0);
  // An event for a relay that nobody reads is told of, and offered at once.
  caf::send_as(topic, relay, box(deliver{make_batch(topic_named("a.x"), "e", 6, 6)}));
  run();
  CHECK(output.take() == lines{"started e:5", "e:6"});
  tick();
  tick(std::chrono::seconds{11});
  CHECK(watch->topic_count() == 0);
  // It stays until the topic has let it go.
  tick(std::chrono::seconds{3});
  CHECK(hub.relay_count() == 1);
  run();
  tick(std::chrono::seconds{3});
  CHECK(hub.relay_count() == 0);
  self->send(hub_actor, box(topic_active{topic_named("a.x"), "e", sequence{6}}));
  run();
  REQUIRE(router.attached.size() == 2);
  caf::send_as(topic, router.attached[1].second, box(attached("a.x", 6)));
  caf::send_as(
      topic, router.attached[1].second, box(deliver{make_batch(topic_named("a.x"), "e", 7, 7)}));
  run();
  CHECK(output.take() == lines{"started e:6", "e:7"});
  caf::anon_send_exit(topic, caf::exit_reason::kill);
}

TEST_CASE_METHOD(
    thread_of_one, "news of a topic come before its event, and count once", "[relay_hub]") {
  auto topic = self->spawn(
      [](caf::event_based_actor*) -> caf::behavior { return {[](const boxed<relay_credit>&) {}}; });
  const auto watch = watch_all_of_a();
  const auto hub_actor = router.controls[0].second;
  self->send(hub_actor, box(control_reply{router.controls[0].first.correlation, topic_list{}}));
  recording_output direct;
  auto follower = hub.subscribe(
      topic_named("a.x"), direct, runtime::slow_policy::lag, credits, runtime::from_now{});
  follower->open();
  run();
  const auto relay = router.attached.at(0).second;
  caf::send_as(topic, relay, box(attached("a.x", 4)));
  const topic_active news{topic_named("a.x"), "e", sequence{4}, false, 7};
  caf::send_as(topic, relay, box(topic_active{news}));
  caf::send_as(topic, relay, box(deliver{make_batch(topic_named("a.x"), "e", 1, 1, true)}));
  caf::send_as(topic, relay, box(deliver{make_batch(topic_named("a.x"), "e", 5, 5)}));
  run();
  CHECK(output.take() == lines{"pattern started", "started e:4", "ephemeral 1", "e:5"});
  CHECK(direct.take() == lines{"started e:4", "ephemeral 1", "e:5"});
  tick();
  tick(std::chrono::seconds{11});
  CHECK(watch->topic_count() == 0);
  // By way of the shard they come when all that they tell of was sent.
  self->send(hub_actor, box(topic_active{news}));
  run();
  CHECK(watch->topic_count() == 0);
  self->send(hub_actor, box(topic_active{topic_named("a.x"), "e", sequence{5}, false, 8}));
  run();
  CHECK(watch->topic_count() == 1);
  CHECK(output.take() == lines{"started e:5"});
  caf::anon_send_exit(topic, caf::exit_reason::kill);
}

TEST_CASE_METHOD(
    thread_of_one, "what a relay missed goes to those whom the news concern", "[relay_hub]") {
  const auto watch = watch_all_of_a();
  const auto hub_actor = router.controls[0].second;
  self->send(hub_actor, box(control_reply{router.controls[0].first.correlation, topic_list{}}));
  recording_output direct;
  auto follower = hub.subscribe(
      topic_named("a.x"), direct, runtime::slow_policy::lag, credits, runtime::from_now{});
  follower->open();
  run();
  const topic_active news{topic_named("a.x"), "e", sequence{4}, false, 7};
  // Whichever comes first.
  const bool is_late = GENERATE(true, false);
  if (!is_late) self->send(hub_actor, box(topic_active{news}));
  run();
  const auto relay = router.attached.at(0).second;
  self->send(relay, box(attached("a.x", 4)));
  self->send(
      relay,
      box(unheard_since{
          news,
          {{make_batch(topic_named("a.x"), "e", 9, 9, true), 6},
           {make_batch(topic_named("a.x"), "e", 1, 1, true), 7}}}));
  run();
  if (is_late) self->send(hub_actor, box(topic_active{news}));
  run();
  CHECK(router.attached.size() == 1);
  CHECK(output.take() == lines{"pattern started", "started e:4", "ephemeral 1"});
  CHECK(direct.take() == lines{"started e:4"});
}

TEST_CASE_METHOD(thread_of_one, "a pattern says that shards were left out", "[relay_hub]") {
  const auto watch = watch_all_of_a();
  topic_list known;
  known.shards_left_out = {1};
  const auto& [request, hub_actor] = router.controls.at(0);
  self->send(hub_actor, box(control_reply{request.correlation, known}));
  run();
  CHECK(output.take() == lines{"pattern started in part", "left out a.*"});
}

TEST_CASE_METHOD(thread_of_one, "everything ready is flushed once, at the end", "[relay_hub]") {
  struct counted final : flushable {
    int flushes = 0;

    void flush() override { ++flushes; }
  };

  counted kept;
  auto gone = std::make_unique<counted>();
  hub.request_flush(kept);
  hub.request_flush(kept);
  hub.request_flush(*gone);
  hub.cancel_flush(*gone);
  gone.reset();
  CHECK(kept.flushes == 0);
  run();
  CHECK(kept.flushes == 1);
}

TEST_CASE_METHOD(thread_of_one, "members may leave while they are told", "[relay_hub]") {
  struct member final : thread_member {
    relay_hub* hub = nullptr;
    int ticks = 0;

    void on_tick(boot_time) override {
      ++ticks;
      if (hub != nullptr) hub->leave(*this);
    }

    void on_drain(std::chrono::milliseconds) override {}

    void on_stop() override {}
  };

  member stays;
  member leaves;
  member last;
  leaves.hub = &hub;
  hub.join(stays);
  hub.join(leaves);
  hub.join(last);
  tick();
  tick();
  CHECK(stays.ticks == 2);
  CHECK(leaves.ticks == 1);
  CHECK(last.ticks == 2);
  CHECK(hub.member_count() == 2);
  hub.leave(stays);
  hub.leave(last);
}

TEST_CASE_METHOD(thread_of_one, "a member hears what came before it", "[relay_hub]") {
  struct member final : thread_member {
    int drains = 0;
    int stops = 0;

    void on_tick(boot_time) override {}

    void on_drain(std::chrono::milliseconds) override { ++drains; }

    void on_stop() override { ++stops; }
  };

  member early;
  hub.join(early);
  hub.catch_up(early);
  CHECK(early.drains == 0);
  hub.drain(std::chrono::milliseconds{10});
  CHECK(early.drains == 1);
  member late;
  hub.join(late);
  hub.catch_up(late);
  CHECK(late.drains == 1);
  hub.stop();
  CHECK(late.stops == 1);
  member last;
  hub.join(last);
  hub.catch_up(last);
  CHECK(last.stops == 1);
  for (auto* one : {&early, &late, &last})
    hub.leave(*one);
}
