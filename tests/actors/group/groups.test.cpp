// Consumer groups through the real shard, topic and router, on virtual time.
#include "proto/event.pb.h"
#include "runtime/group/group_codec.hpp"

#include "tests/actors/group/group_client.hpp"

#include <algorithm>

namespace callboard::testing {

namespace {

using seq_list = std::vector<std::uint64_t>;

std::size_t count_kind(const std::vector<storage::record>& records, storage::record_kind kind) {
  return static_cast<std::size_t>(std::ranges::count(records, kind, &storage::record::kind));
}

}  // namespace

TEST_CASE_METHOD(
    group_client, "a group is made, described, changed and deleted", "[actors][group]") {
  const auto which = group("orders", "billing");
  CHECK(refusal(actors::put_group{.group = which}) == errc::topic_not_found);
  CHECK(refusal(actors::get_group{which}) == errc::topic_not_found);
  publish_many("orders", 3);
  CHECK(refusal(actors::get_group{which}) == errc::group_not_found);

  auto made = make_group({.group = which, .hold_ms = 1234});
  CHECK(made.created);
  CHECK(made.settings.hold_ms == 1234);
  CHECK(made.lag == 3);
  made = make_group({.group = which});
  CHECK_FALSE(made.created);
  CHECK(made.settings.hold_ms == 1234);
  made = make_group({.group = which, .deliveries_max = 2});
  CHECK(made.settings.deliveries_max == 2);
  CHECK(made.settings.hold_ms == 1234);
  CHECK(refusal(actors::put_group{.group = which, .ordered_by_subject = true}) == errc::exists);
  CHECK(refusal(actors::put_group{.group = which, .hold_ms = 0}) == errc::invalid_setting);
  CHECK(
      refusal(actors::put_group{.group = which, .dead_letter_topic = "orders"})
      == errc::invalid_setting);

  (void)make_group({.group = group("orders", "audit"), .from = runtime::from_now{}});
  const auto list = ask_now(actors::list_groups{topic("orders")});
  REQUIRE(list);
  const auto& groups = std::get<actors::group_list>(*list).groups;
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].group == "audit");
  CHECK(groups[0].lag == 0);
  CHECK(groups[1].lag == 3);

  const auto none = ask_now(actors::list_groups{topic("nothing")});
  REQUIRE_FALSE(none);
  CHECK(none.error().code == errc::topic_not_found);
  CHECK(none.error().detail == "there is no topic 'nothing'");

  REQUIRE(ask_now(actors::delete_group{which}));
  CHECK(refusal(actors::get_group{which}) == errc::group_not_found);
  // Made anew, it knows nothing of its predecessor.
  CHECK(make_group({.group = which}).settings.deliveries_max == settings.groups.deliveries_max);
}

TEST_CASE_METHOD(group_client, "what waits in groups is seen in gauges", "[actors][group]") {
  const auto which = group("orders", "billing");
  const metrics::labels kind{{"kind", "group"}};
  const metrics::labels of_shard{
      {"kind", "group"}, {"shard", std::to_string(shard_of("orders").raw())}};
  const auto waiting = [&] { return gauge("group_backlog_events", kind); };
  const auto age = [&] { return gauge("group_oldest_unacked_age_seconds", of_shard); };
  publish_many("orders", 3);
  (void)make_group({.group = which});
  (void)make_group({.group = group("orders", "audit"), .from = runtime::from_now{}});
  advance(11s);
  CHECK(waiting() == 3);
  CHECK(age() >= 5);
  const auto got = fetch(which, "a", 3);
  (void)ack(which, {got[0], got[2]});
  advance(6s);
  CHECK(waiting() == 2 - 1);
  CHECK(age() >= 11);
  (void)ack(which, {got[1]});
  advance(6s);
  CHECK(waiting() == 0);
  CHECK(age() == 0);

  // Nobody fetches, and nothing is in memory.
  advance(2min);
  publish_many("orders", 2, "later");
  advance(2min);
  CHECK(waiting() == 4);
  CHECK(age() >= 60);
  crash();
  advance(1s);
  CHECK(waiting() == 4);
  CHECK(age() >= 60);
  REQUIRE(ask_now(actors::delete_group{which}));
  REQUIRE(ask_now(actors::delete_group{group("orders", "audit")}));
  advance(6s);
  CHECK(waiting() == 0);
  CHECK(age() == 0);
}

TEST_CASE_METHOD(
    group_client, "events are delivered, acked durably and not again", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 5);
  (void)make_group({.group = which});
  const auto got = fetch(which, "a", 3);
  CHECK(seqs(got) == seq_list{1, 2, 3});
  CHECK(got[0].attempt == 1);
  CHECK(describe(which).in_flight == 3);

  const auto id = ask(actors::ack_deliveries{which, tokens(got), {}});
  run();
  // Not durable, not answered.
  CHECK_FALSE(this->got.answered.contains(id));
  settle();
  REQUIRE(this->got.answered.contains(id));
  const auto& answer = this->got.answered.at(id);
  REQUIRE(answer);
  CHECK(std::get<actors::ack_result>(*answer).floor == sequence{3});
  CHECK(std::get<actors::ack_result>(*answer).lost.empty());
  CHECK(ack(which, got).lost == tokens(got));
  CHECK(seqs(fetch(which, "b", 10)) == seq_list{4, 5});
}

TEST_CASE_METHOD(group_client, "acks that come together are one record", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 50);
  (void)make_group({.group = which});
  const auto got = fetch(which, "a", 50);
  advance(1s);
  const auto shard = shard_of("orders");
  const auto before = count_kind(journal.records(shard), storage::record_kind::group_progress);
  std::vector<std::uint64_t> ids;
  for (const auto& one : got)
    ids.push_back(ask(actors::ack_deliveries{which, {one.token}, {}}));
  settle();
  for (const auto id : ids)
    REQUIRE(this->got.answered.at(id));
  // The first goes alone, the rest while it is written.
  CHECK(count_kind(journal.records(shard), storage::record_kind::group_progress) - before <= 2);
  CHECK(describe(which).floor == sequence{50});
}

TEST_CASE_METHOD(group_client, "a waiting fetch gets what is published", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  (void)make_group({.group = which, .from = runtime::from_now{}});
  const auto waiting = ask(actors::fetch_deliveries{which, "a", 10, 5000});
  settle();
  advance(1s);
  CHECK_FALSE(got.answered.contains(waiting));
  CHECK(describe(which).members == 1);
  publish("orders", {"late"});
  settle();
  REQUIRE(got.answered.contains(waiting));
  const auto& list = std::get<actors::delivery_list>(*got.answered.at(waiting));
  CHECK(seqs(list.deliveries) == seq_list{2});
  CHECK_FALSE(list.epoch.empty());

  const auto empty = ask(actors::fetch_deliveries{which, "a", 10, 500});
  settle();
  advance(600ms);
  REQUIRE(got.answered.contains(empty));
  CHECK(std::get<actors::delivery_list>(*got.answered.at(empty)).deliveries.empty());
}

TEST_CASE_METHOD(
    group_client, "large events that are due again are read a few at a time", "[actors][group]") {
  const auto which = group("orders", "billing");
  for (int i = 1; i <= 6; ++i)
    publish_event("orders", "e" + std::to_string(i), 400'000);
  settle();
  (void)make_group({.group = which});
  std::vector<actors::delivery> taken;
  while (taken.size() < 6) {
    auto some = fetch(which, "a", 10);
    REQUIRE_FALSE(some.empty());
    taken.insert(taken.end(), some.begin(), some.end());
  }
  (void)nack(which, taken, 0);
  std::vector<std::uint64_t> again;
  while (again.size() < 6) {
    const auto some = fetch(which, "a", 10);
    REQUIRE_FALSE(some.empty());
    // A read ends with 1 MiB.
    CHECK(some.size() <= 3);
    for (const auto& one : some) {
      CHECK(one.attempt == 2);
      again.push_back(one.event.seq.raw());
    }
  }
  CHECK(again == seq_list{1, 2, 3, 4, 5, 6});
}

TEST_CASE_METHOD(group_client, "holds run out and members who leave release", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  (void)make_group({.group = which, .hold_ms = 1000});
  const auto first = fetch(which, "a", 1);
  const auto second = fetch(which, "b", 1);
  REQUIRE(ask_now(actors::leave_group{which, "b"}));
  const auto again = fetch(which, "c", 5);
  CHECK(seqs(again) == seq_list{2});
  CHECK(again[0].attempt == 2);
  advance(1100ms);
  CHECK(seqs(fetch(which, "c", 5)) == seq_list{1, 2});
  CHECK(ack(which, first).lost.size() == 1);
}

TEST_CASE_METHOD(
    group_client, "what a fetch was given that nobody saw has had no attempt", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  (void)make_group({.group = which});
  REQUIRE(ask_now(actors::fetch_deliveries{which, "a", 1, 0, 0, 7}));
  REQUIRE(ask_now(actors::leave_group{which, "a", {7}}));
  const auto again = fetch(which, "b", 5);
  REQUIRE(seqs(again) == seq_list{1});
  CHECK(again[0].attempt == 1);
}

TEST_CASE_METHOD(
    group_client, "who leaves is given nothing that is read for it later", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  (void)make_group({.group = which});
  settings.topics.passivate_after_ms = 1000;
  advance(3s);
  // It has left memory.
  const auto waiting = ask(actors::fetch_deliveries{which, "a", 1, 20'000, 0, 7});
  REQUIRE(ask_now(actors::leave_group{which, "a", {7}}));
  settle();
  REQUIRE(got.answered.contains(waiting));
  CHECK(std::get<actors::delivery_list>(*got.answered.at(waiting)).deliveries.empty());
  const auto taken = fetch(which, "b", 5);
  REQUIRE(seqs(taken) == seq_list{1});
  CHECK(taken[0].attempt == 1);
}

TEST_CASE_METHOD(group_client, "a nacked event comes after its delay", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  (void)make_group({.group = which});
  CHECK(nack(which, fetch(which, "a", 1), 2000).lost.empty());
  CHECK(describe(which).parked == 1);
  advance(1900ms);
  CHECK(fetch(which, "a", 1).empty());
  advance(200ms);
  CHECK(fetch(which, "a", 1).size() == 1);
}

TEST_CASE_METHOD(
    group_client, "what cannot be handled goes to the dead-letter topic", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  (void)make_group({.group = which, .deliveries_max = 2});
  (void)nack(which, fetch(which, "a", 1), 0);
  const auto last = fetch(which, "b", 1);
  CHECK(seqs(last) == seq_list{1});
  (void)nack(which, last, 0);
  advance(1s);
  const auto described = describe(which);
  CHECK(described.dead_lettered == 1);
  CHECK(described.floor == sequence{1});

  const auto page = ask_now(
      actors::read_events{topic("orders.billing.dead"), runtime::from_first{}, 10, 1 << 20});
  REQUIRE(page);
  const auto& batch = *std::get<actors::event_page>(*page).batch;
  REQUIRE(batch.events.size() == 1);
  v1::Event event;
  const auto bytes = runtime::event_proto(batch.events[0].stored);
  REQUIRE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  const auto history = std::ranges::find_if(
      event.extensions(), [](const auto& one) { return one.name() == "deadletterhistory"; });
  REQUIRE(history != event.extensions().end());
  CHECK_THAT(history->text(), Catch::Contains("no luck") && Catch::Contains("\"member\":\"b\""));
  CHECK(seqs(fetch(which, "a", 5)) == seq_list{2});
}

TEST_CASE_METHOD(group_client, "groups begin where they are told", "[actors][group]") {
  publish_many("orders", 4);
  const auto lag_from = [&](const std::string& name, runtime::position from) {
    return make_group({.group = group("orders", name), .from = std::move(from)}).lag;
  };
  CHECK(lag_from("now", runtime::from_now{}) == 0);
  CHECK(lag_from("first", runtime::from_first{}) == 4);
  CHECK(lag_from("seq", runtime::from_seq{sequence{3}}) == 2);
  CHECK(lag_from("ahead", runtime::from_seq{sequence{300}}) == 0);
  CHECK(lag_from("old", runtime::from_time{time_ms{}}) == 4);
  advance(1s);
  CHECK(lag_from("new", runtime::from_time{time.wall()}) == 0);
  CHECK(
      refusal(actors::put_group{
          .group = group("orders", "foreign"),
          .from = runtime::after_cursor{{"other", sequence{1}}}})
      == errc::cursor_expired);
}

TEST_CASE_METHOD(
    group_client, "a new group has not missed what went before it", "[actors][group]") {
  publish_many("orders", 10);
  // From here on the groups know the topic, but not what it lets go.
  (void)make_group({.group = group("orders", "early")});
  actors::put_topic put{.topic = topic("orders")};
  put.patch.retention_events = 3;
  REQUIRE(ask_now(put));
  advance(std::chrono::milliseconds{2 * settings.topics.retention_check_ms});
  const auto late = group("orders", "late");
  const auto position =
      GENERATE(as<runtime::position>{}, runtime::from_first{}, runtime::from_seq{sequence{2}});
  // What is asked behind it waits until it is there.
  const auto made = ask(actors::put_group{.group = late, .from = position});
  const auto taken = ask(actors::fetch_deliveries{late, "a", 10, 0});
  settle();
  REQUIRE(got.answered.contains(made));
  REQUIRE(got.answered.at(made));
  REQUIRE(got.answered.contains(taken));
  REQUIRE(got.answered.at(taken));
  CHECK(
      seqs(std::get<actors::delivery_list>(*got.answered.at(taken)).deliveries)
      == seq_list{8, 9, 10});
  CHECK(describe(late).missed == 0);
  const auto read = ask_now(actors::get_topic{topic("orders")}).value();
  const auto epoch = std::get<actors::topic_description>(read).epoch;
  const runtime::after_cursor expired{{epoch, sequence{2}}};
  CHECK(
      refusal(actors::put_group{.group = group("orders", "expired"), .from = expired})
      == errc::cursor_expired);
}

TEST_CASE_METHOD(group_client, "the age of the oldest unacked event is told", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  advance(2s);
  publish_many("orders", 1, "later");
  (void)make_group({.group = which});
  advance(1s);
  CHECK(describe(which).oldest_unacked_age_ms >= 3000);
  CHECK(describe(which).oldest_unacked_age_ms < 3500);
  (void)ack(which, fetch(which, "a", 1));
  CHECK(describe(which).oldest_unacked_age_ms < 1500);
}

TEST_CASE_METHOD(
    group_client, "an idle group leaves memory and comes back as it was", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 4);
  (void)make_group({.group = which, .hold_ms = 1000});
  const auto got = fetch(which, "a", 3);
  (void)ack(which, {got[0]});
  (void)nack(which, {got[1]}, 0);
  // Holds run out, then nothing happens for longer than it takes to leave.
  advance(2s);
  settings.topics.passivate_after_ms = 1000;
  advance(3s);
  const auto again = fetch(which, "a", 10);
  CHECK(seqs(again) == seq_list{2, 3, 4});
  CHECK(again[0].attempt == 2);
  CHECK(again[1].attempt == 2);
  CHECK(again[2].attempt == 1);
}

TEST_CASE_METHOD(group_client, "groups go with their topic", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 4);
  (void)make_group({.group = which});
  const auto waiting = ask(actors::fetch_deliveries{group("orders", "billing"), "a", 10, 0});
  settle();
  REQUIRE(got.answered.contains(waiting));
  REQUIRE(ask_now(actors::delete_topic{topic("orders")}));
  CHECK(refusal(actors::get_group{which}) == errc::topic_not_found);
  publish_many("orders", 2, "anew");
  CHECK(refusal(actors::get_group{which}) == errc::group_not_found);
  CHECK(make_group({.group = which}).lag == 2);
}

TEST_CASE_METHOD(group_client, "replay is bounded by snapshots", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 600);
  (void)make_group({.group = which});
  for (int i = 0; i < 560; ++i)
    (void)ack(which, fetch(which, "a", 1));
  const auto records = journal.records(shard_of("orders"));
  const auto snapshots = count_kind(records, storage::record_kind::snapshot);
  CHECK(snapshots >= 2);
  CHECK(snapshots <= 4);
  settings.topics.passivate_after_ms = 1000;
  advance(3s);
  const auto described = describe(which);
  CHECK(described.floor == sequence{560});
  CHECK(described.lag == 40);
  CHECK(seqs(fetch(which, "a", 1)) == seq_list{561});
}

TEST_CASE_METHOD(group_client, "requests that make no sense are refused", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  (void)make_group({.group = which});
  CHECK(refusal(actors::fetch_deliveries{which, std::string(256, 'm'), 1, 0}) == errc::bad_request);
  CHECK(
      refusal(actors::ack_deliveries{which, std::vector<std::string>(10'001, "x"), {}})
      == errc::too_large);
  actors::put_topic flow{.topic = topic("flow")};
  flow.patch.kind = runtime::topic_kind::ephemeral;
  REQUIRE(ask_now(flow));
  CHECK(refusal(actors::put_group{.group = group("flow", "billing")}) == errc::wrong_kind);
  settings.groups.groups_per_topic_max = 1;
  CHECK(refusal(actors::put_group{.group = group("orders", "second")}) == errc::too_large);
}

TEST_CASE_METHOD(
    group_client, "a topic takes its groups with it, also over a crash", "[actors][group]") {
  publish_many("orders", 3);
  const auto billing = group("orders", "billing");
  const auto before = make_group({.group = billing});
  (void)make_group({.group = group("orders", "audit")});
  CHECK(fetch(billing, "a", 2).size() == 2);
  REQUIRE(before.created);
  const auto deleted = [&] {
    const auto all = journal.records(shard_of("orders"));
    return std::ranges::count(all, storage::record_kind::group_deleted, &storage::record::kind);
  };
  const bool dies_between = GENERATE(false, true);
  (void)ask(actors::delete_topic{topic("orders")});
  if (dies_between) {
    run();
    REQUIRE(journal.commit(1) == 1);
    REQUIRE(deleted() == 0);
    crash();
  }
  settle();
  CHECK(deleted() == 2);
  crash();
  settle();
  CHECK(deleted() == 2);

  publish_many("orders", 5);
  CHECK(ask_now(actors::get_group{billing}).error().code == errc::group_not_found);
  const auto after = make_group({.group = billing, .from = runtime::from_first{}});
  CHECK(after.created);
  CHECK(ack(billing, fetch(billing, "a", 10)).lost.empty());
  crash();
  CHECK(describe(billing).floor == sequence{5});
  CHECK(deleted() == 2);
}

}  // namespace callboard::testing
