// Topics from the router to the journal and back.
#include "tests/actors/topic/broker_fixture.hpp"

using namespace callboard;
using namespace callboard::actors;
using callboard::testing::broker_fixture;
using callboard::testing::patience;

namespace {

template <class T>
T get(result<control_answer> answer) {
  if (!answer) FAIL(answer.error().detail);
  return std::get<T>(std::move(*answer));
}

/// Receives messages of one kind that relays and hubs get.
template <class T>
T next(broker_fixture& broker) {
  std::optional<T> got;
  (*broker.client)
      ->receive(
          [&](boxed<T>& message) { got = std::move(*message); },
          caf::after(patience) >> [] { FAIL("an expected message did not come"); });
  return std::move(*got);
}

}  // namespace

TEST_CASE_METHOD(broker_fixture, "the first publish makes the topic", "[actors][topic]") {
  const auto first = publish("events", {"a", "b"});
  REQUIRE(first);
  CHECK(first->first_seq == sequence{1});
  CHECK(first->reached == durability::synced);
  const auto second = publish("events", {"c"});
  REQUIRE(second);
  CHECK(second->first_seq == sequence{3});
  CHECK(*second->epoch == *first->epoch);
  const auto again = publish("events", {"b"});
  REQUIRE(again);
  CHECK(again->first_seq == sequence{2});
  CHECK(again->events.at(0).duplicate);
  const auto page = get<event_page>(ask(read_events{topic("events"), runtime::from_first{}, 10}));
  CHECK(page.batch->events.size() == 3);
  CHECK(page.last_seq == sequence{3});
  CHECK(page.next_from == sequence{4});
}

TEST_CASE_METHOD(broker_fixture, "a restart forgets nothing", "[actors][topic]") {
  const auto before = publish("events", {"a", "b"});
  REQUIRE(before);
  restart();
  const auto again = publish("events", {"b"});
  REQUIRE(again);
  CHECK(again->first_seq == sequence{2});
  CHECK(again->events.at(0).duplicate);
  const auto after = publish("events", {"c"});
  REQUIRE(after);
  CHECK(after->first_seq == sequence{3});
  CHECK(*after->epoch == *before->epoch);
}

TEST_CASE_METHOD(
    broker_fixture, "topics are made, changed, listed and deleted", "[actors][topic]") {
  put_topic put{.topic = topic("orders")};
  put.patch.retention_events = 10;
  auto made = get<topic_description>(ask(put));
  CHECK(made.created);
  CHECK(made.settings.retention_events == 10);
  put.patch.retention_events = 20;
  auto changed = get<topic_description>(ask(put));
  CHECK_FALSE(changed.created);
  CHECK(changed.settings.retention_events == 20);
  put.patch.kind = runtime::topic_kind::ephemeral;
  const auto refused = ask(put);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::exists);
  REQUIRE(publish("alpha", {"x"}));
  CHECK(publish("workflow.1", {"x"}).error().code == errc::forbidden);
  REQUIRE(ask(start_workflow{topic("workflow.1"), "test.waiting", "1", {}, {}}));
  list_topics list{.tenant = topic("x").tenant};
  CHECK(get<topic_list>(ask(list)).topics.size() == 2);
  list.with_run_channels = true;
  const auto all = get<topic_list>(ask(list)).topics;
  REQUIRE(all.size() == 3);
  CHECK(all[0].topic == "alpha");
  CHECK(all[1].topic == "orders");
  list.limit = 1;
  const auto page = get<topic_list>(ask(list));
  CHECK(page.topics.size() == 1);
  CHECK(page.next_after == "alpha");
  list.after = page.next_after;
  CHECK(get<topic_list>(ask(list)).topics.at(0).topic == "orders");
  (void)get<done>(ask(delete_topic{topic("orders")}));
  const auto gone = ask(get_topic{topic("orders")});
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == errc::topic_not_found);
  const auto missing = ask(delete_topic{topic("orders")});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == errc::topic_not_found);
}

TEST_CASE_METHOD(broker_fixture, "a topic made anew has another epoch", "[actors][topic]") {
  const auto old = publish("events", {"a", "b"});
  REQUIRE(old);
  (void)get<done>(ask(delete_topic{topic("events")}));
  const auto fresh = publish("events", {"a"});
  REQUIRE(fresh);
  CHECK(fresh->first_seq == sequence{1});
  CHECK(fresh->events.empty());
  CHECK(*fresh->epoch != *old->epoch);
  const auto stale =
      ask(read_events{topic("events"), runtime::after_cursor{{*old->epoch, sequence{1}}}, 10});
  REQUIRE_FALSE(stale);
  CHECK(stale.error().code == errc::cursor_expired);
  restart();
  CHECK(publish("events", {"b"})->first_seq == sequence{2});
}

TEST_CASE_METHOD(
    broker_fixture, "a relay hears of every event, also of a later topic", "[actors]") {
  router->attach({topic("later"), 10}, self());
  CHECK_FALSE(next<relay_attached>(*this).exists);
  actors::publish_batch batch{.topic = topic("later")};
  batch.requests.push_back(testing::make_request(77, {"a"}));
  REQUIRE(router->publish(std::move(batch), self()));
  const auto attached = next<relay_attached>(*this);
  CHECK(attached.exists);
  CHECK(attached.last_seq == sequence{0});
  CHECK(next<deliver>(*this).batch->events.at(0).seq == sequence{1});
  CHECK(next<publish_replies>(*this).replies.at(0).outcome);
}

TEST_CASE_METHOD(
    broker_fixture, "a relay of a deleted topic is attached to the next one", "[actors]") {
  REQUIRE(publish("events", {"a"}));
  router->attach({topic("events"), 10}, self());
  const auto first = next<relay_attached>(*this);
  CHECK(first.last_seq == sequence{1});
  REQUIRE(router->control({correlation_id{900}, delete_topic{topic("events")}}, self()));
  CHECK(next<topic_gone>(*this).topic == topic("events"));
  CHECK(next<control_reply>(*this).outcome);
  CHECK_FALSE(next<relay_attached>(*this).exists);
  actors::publish_batch batch{.topic = topic("events")};
  batch.requests.push_back(testing::make_request(77, {"a"}));
  REQUIRE(router->publish(std::move(batch), self()));
  const auto second = next<relay_attached>(*this);
  CHECK(second.exists);
  CHECK(second.epoch != first.epoch);
  CHECK(second.last_seq == sequence{0});
  CHECK(next<deliver>(*this).batch->events.at(0).seq == sequence{1});
  (void)next<publish_replies>(*this);
}

TEST_CASE_METHOD(broker_fixture, "a pattern hears of active and of later topics", "[actors]") {
  REQUIRE(publish("room.1", {"a"}));
  router->watch({topic("x").tenant, topic_pattern::parse("room.*").value()}, self());
  CHECK(next<topic_active>(*this).topic == topic("room.1"));
  actors::publish_batch batch{.topic = topic("room.2")};
  batch.requests.push_back(testing::make_request(78, {"a"}));
  REQUIRE(router->publish(std::move(batch), self()));
  const auto active = next<topic_active>(*this);
  CHECK(active.topic == topic("room.2"));
  CHECK(active.last_seq == sequence{0});
  (void)next<publish_replies>(*this);
}

TEST_CASE_METHOD(
    broker_fixture, "a topic tells of its next event once its relay was released", "[actors]") {
  REQUIRE(publish("room.1", {"a"}));
  router->watch({topic("x").tenant, topic_pattern::parse("room.*").value()}, self());
  CHECK(next<topic_active>(*this).is_quiet);
  const auto send = [&](const char* text, std::uint64_t correlation) {
    actors::publish_batch batch{.topic = topic("room.1")};
    batch.requests.push_back(testing::make_request(correlation, {text}));
    REQUIRE(router->publish(std::move(batch), self()));
  };
  // Once for all who watch: then it waits until somebody has nothing of it.
  send("b", 81);
  const auto told = next<topic_active>(*this);
  CHECK(told.last_seq == sequence{1});
  CHECK_FALSE(told.is_quiet);
  (void)next<publish_replies>(*this);
  router->attach({topic("room.1"), 10}, self());
  CHECK(next<relay_attached>(*this).last_seq == sequence{2});
  send("c", 82);
  caf::actor the_topic;
  (*client)->receive(
      [&](boxed<deliver>& message) {
        CHECK(message->batch->events.at(0).seq == sequence{3});
        the_topic = caf::actor_cast<caf::actor>((*client)->current_sender());
      },
      caf::after(patience) >> [] { FAIL("no event"); });
  (void)next<publish_replies>(*this);
  // Something came that the relay has not heard of: it stays.
  caf::anon_send(the_topic, box(release_relay{sequence{2}}), self());
  send("d", 83);
  CHECK(next<deliver>(*this).batch->events.at(0).seq == sequence{4});
  (void)next<publish_replies>(*this);
  caf::anon_send(the_topic, box(release_relay{sequence{4}}), self());
  (void)next<relay_released>(*this);
  send("e", 84);
  CHECK(next<topic_active>(*this).last_seq == sequence{4});
  (void)next<publish_replies>(*this);
}

TEST_CASE_METHOD(
    broker_fixture, "retention lets old events go, also of passive topics", "[actors]") {
  settings.topics.retention_check_ms = 20;
  settings.topics.passivate_after_ms = 20;
  restart();
  put_topic put{.topic = topic("short")};
  put.patch.retention_events = 3;
  (void)get<topic_description>(ask(put));
  for (int i = 0; i < 10; ++i)
    REQUIRE(publish("short", {std::to_string(i)}));
  // Publishing nothing: only the clock moves it.
  topic_description seen;
  const auto until = std::chrono::steady_clock::now() + patience;
  do {
    seen = get<topic_description>(ask(get_topic{topic("short")}));
  } while (seen.first_seq != sequence{8} && std::chrono::steady_clock::now() < until);
  CHECK(seen.first_seq == sequence{8});
  CHECK(seen.events == 3);
  const auto gone = ask(read_events{topic("short"), runtime::from_seq{sequence{2}}, 10});
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == errc::cursor_expired);
  restart();
  CHECK(get<topic_description>(ask(get_topic{topic("short")})).first_seq == sequence{8});
  CHECK(publish("short", {"z"})->first_seq == sequence{11});
}

TEST_CASE_METHOD(broker_fixture, "what is above the shard's bound is refused at once", "[actors]") {
  settings.topics.shard_in_flight_max = 2;
  restart();
  const auto refused = publish("events", {"a", "b", "c"});
  REQUIRE_FALSE(refused);
  // Trying again would not help.
  CHECK(refused.error().code == errc::too_large);
  CHECK_THAT(refused.error().detail, Catch::Contains("topics.shard_in_flight_max = 2"));
  CHECK(publish("events", {"a", "b"}));
  CHECK(publish("events", {"a", "b"}));
}
