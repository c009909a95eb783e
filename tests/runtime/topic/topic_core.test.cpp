// Rules of one topic, each as a small story.
#include "tests/runtime/topic/core_fixture.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>

using namespace callboard;
using namespace callboard::runtime;
using callboard::testing::core_fixture;
using callboard::testing::make_event;
using callboard::testing::make_request;

TEST_CASE("events are numbered from 1 and acked only after commit", "[topic]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a"}));
  topic.publish(make_request(2, {"b", "c"}));
  CHECK(topic.replies.empty());
  topic.commit();
  REQUIRE(topic.replies.size() == 1);
  CHECK(topic.replies[0].reply.outcome->first_seq == sequence{1});
  CHECK(topic.replies[0].reply.outcome->reached == durability::synced);
  topic.commit();
  REQUIRE(topic.replies.size() == 2);
  CHECK(topic.replies[1].reply.outcome->first_seq == sequence{2});
  CHECK(topic.core.image().last_seq == sequence{3});
}

TEST_CASE("a retry answers the first seq, but not before that event is durable", "[topic]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a"}));
  topic.publish(make_request(2, {"a"}));
  CHECK(topic.pending.size() == 1);
  CHECK(topic.replies.empty());
  topic.commit();
  REQUIRE(topic.replies.size() == 2);
  const auto& again = *topic.replies[1].reply.outcome;
  CHECK(again.first_seq == sequence{1});
  REQUIRE(again.events.size() == 1);
  CHECK(again.events[0].duplicate);
}

TEST_CASE("a retry whose original fails is not acked", "[topic]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a"}));
  topic.publish(make_request(2, {"a"}));
  topic.fail();
  REQUIRE(topic.replies.size() == 2);
  CHECK_FALSE(topic.replies[0].reply.outcome);
  CHECK_FALSE(topic.replies[1].reply.outcome);
  CHECK(topic.reload);
}

TEST_CASE("a topic that is not made yet is made by its first append", "[topic]") {
  core_fixture f;
  f.core = runtime::topic_core{{.name = f.core.image().name}, {}};
  const auto kinds = [&] {
    std::vector<storage::record_kind> all;
    for (const auto& record : f.pending.front().records)
      all.push_back(record.kind);
    return all;
  };
  using enum storage::record_kind;
  f.publish(make_request(1, {"a"}));
  CHECK(kinds() == std::vector{topic_created, event});
  CHECK(f.core.is_unmade());
  // As at the door of a full journal: the next one makes it.
  const auto refused = f.pending.front().key;
  f.pending.clear();
  f.take(f.core.refused(refused, {errc::overloaded, "full", 0}));
  f.publish(make_request(2, {"a"}));
  CHECK(kinds() == std::vector{topic_created, event});
  CHECK(f.pending.front().records.back().entity_seq == sequence{1});
  // What comes behind needs the id that it gets.
  f.publish(make_request(3, {"b"}));
  REQUIRE(f.pending.size() == 1);
  f.core.made(entity_id{9}, incarnation_id{1});
  f.commit();
  CHECK_FALSE(f.core.is_unmade());
  CHECK(f.core.image().epoch == runtime::format_epoch(entity_id{9}, incarnation_id{1}));
  REQUIRE(f.pending.size() == 1);
  CHECK(kinds() == std::vector{event});
  CHECK(f.pending.front().records.front().entity == entity_id{9});
}

TEST_CASE("the same id with other content is a conflict and stores nothing", "[topic]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a"}));
  topic.commit();
  publish_request other{.correlation = correlation_id{2}};
  other.events.push_back(make_event("b"));
  other.events.push_back(make_event("a", "different"));
  topic.publish(std::move(other));
  REQUIRE(topic.replies.size() == 2);
  CHECK(topic.replies[1].reply.outcome.error().code == errc::id_conflict);
  CHECK(topic.pending.empty());
  topic.publish(make_request(3, {"b"}));
  topic.commit();
  CHECK(topic.replies[2].reply.outcome->first_seq == sequence{2});
}

TEST_CASE("the same id twice in one request counts once", "[topic]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a", "a", "b"}));
  topic.commit();
  const auto& outcome = *topic.replies[0].reply.outcome;
  REQUIRE(outcome.events.size() == 3);
  CHECK(outcome.events[1].duplicate);
  CHECK(outcome.events[1].seq == sequence{1});
  CHECK(outcome.events[2].seq == sequence{2});
  CHECK(topic.stored.size() == 2);
}

TEST_CASE("what comes while two appends are open goes into the next one together", "[topic]") {
  core_fixture topic;
  for (std::uint64_t i = 1; i <= 5; ++i)
    topic.publish(make_request(i, {std::to_string(i)}), i);
  REQUIRE(topic.pending.size() == 2);
  topic.commit();
  REQUIRE(topic.pending.size() == 2);
  CHECK(topic.pending.back().records.size() == 3);
  topic.commit_all();
  REQUIRE(topic.replies.size() == 5);
  for (std::uint64_t i = 1; i <= 5; ++i) {
    CHECK(topic.replies[i - 1].publisher == publisher_key{i});
    CHECK(topic.replies[i - 1].reply.outcome->first_seq == sequence{i});
  }
}

TEST_CASE("what was gathered fails with the append before it, and can be retried", "[topic]") {
  core_fixture topic;
  for (std::uint64_t i = 1; i <= 3; ++i)
    topic.publish(make_request(i, {std::to_string(i)}));
  topic.fail();
  REQUIRE(topic.replies.size() == 3);
  CHECK(topic.replies[0].reply.outcome.error().code == errc::outcome_unknown);
  CHECK(topic.replies[2].reply.outcome.error().code == errc::overloaded);
  CHECK(topic.core.is_settled());
}

TEST_CASE("expected_seq is compared with what was handed out, and answers wait", "[topic]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a"}));
  auto stale = make_request(2, {"b"});
  stale.expected = sequence{0};
  topic.publish(std::move(stale));
  auto right = make_request(3, {"c"});
  right.expected = sequence{1};
  topic.publish(std::move(right));
  CHECK(topic.replies.empty());  // the refusal rests on an event that may yet fail
  topic.commit_all();
  REQUIRE(topic.replies.size() == 3);
  CHECK(topic.replies[0].reply.outcome);
  CHECK(topic.replies[1].reply.outcome.error().code == errc::sequence_conflict);
  CHECK(topic.replies[2].reply.outcome->first_seq == sequence{2});
}

TEST_CASE("work in flight is bounded and the refusal says when to retry", "[topic]") {
  core_fixture topic{{}, {.events_in_flight_max = 3}};
  topic.publish(make_request(1, {"a", "b", "c"}));
  topic.publish(make_request(2, {"d"}));
  topic.commit();
  REQUIRE(topic.replies.size() == 2);
  CHECK(topic.replies[1].reply.outcome.error().code == errc::overloaded);
  CHECK(topic.replies[1].reply.outcome.error().retry_after_ms > 0);
  topic.publish(make_request(3, {"d"}));
  topic.commit();
  CHECK(topic.replies[2].reply.outcome->first_seq == sequence{4});
}

TEST_CASE("what is never taken is not to be tried again", "[topic]") {
  core_fixture topic{{}, {.events_in_flight_max = 3}};
  topic.publish(make_request(1, {"a", "b", "c", "d"}));
  topic.publish(make_request(2, {"a"}));
  topic.publish(make_request(3, {"b", "c", "d", "e"}));
  topic.commit_all();
  REQUIRE(topic.replies.size() == 3);
  CHECK(topic.replies[0].reply.outcome.error().code == errc::too_large);
  CHECK_THAT(
      topic.replies[0].reply.outcome.error().detail,
      Catch::Contains("4 events") && Catch::Contains("topics.events_in_flight_max = 3"));
  const auto taken = std::ranges::count_if(
      topic.replies, [](const auto& one) { return one.reply.outcome.has_value(); });
  CHECK(taken == 1);
}

TEST_CASE("without a dedupe window a batch that is larger than the bound passes alone", "[topic]") {
  core_fixture topic{{.dedupe_window_s = 0}, {.events_in_flight_max = 2}};
  topic.publish(make_request(1, {"a"}));
  topic.publish(make_request(2, {"b", "c", "d"}));
  topic.commit();
  REQUIRE(topic.replies.size() == 2);
  CHECK(topic.replies[1].reply.outcome.error().code == errc::overloaded);
  topic.publish(make_request(3, {"b", "c", "d"}));
  topic.commit();
  REQUIRE(topic.replies.size() == 3);
  CHECK(topic.replies[2].reply.outcome->first_seq == sequence{2});
}

TEST_CASE("an append that is refused at the door leaves no trace", "[topic]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a"}));
  topic.publish(make_request(2, {"b"}));
  const auto key = topic.pending.back().key;
  topic.pending.pop_back();
  topic.take(topic.core.refused(key, {errc::storage_full, "full", 1000}));
  REQUIRE(topic.replies.size() == 1);
  CHECK(topic.replies[0].reply.outcome.error().code == errc::storage_full);
  topic.publish(make_request(3, {"b"}));
  topic.commit_all();
  REQUIRE(topic.replies.size() == 3);
  CHECK(topic.replies[2].reply.outcome->first_seq == sequence{2});
  CHECK(topic.replies[2].reply.outcome->events.empty());
}

TEST_CASE("what is gathered for one append is bounded in bytes", "[topic]") {
  const auto event_bytes = make_event("a").stored.size();
  core_fixture topic{{}, {.append_bytes_max = 3 * event_bytes}};
  // Two appends are under way; the rest is gathered.
  for (int i = 1; i <= 12; ++i)
    topic.publish(make_request(i, {std::to_string(i)}));
  std::size_t events = 0;
  for (const auto& one : topic.pending) {
    CHECK(one.records.size() <= 3);
    events += one.records.size();
  }
  CHECK(events >= 8);
  topic.commit_all();
  REQUIRE(topic.replies.size() == 12);
  for (std::uint64_t i = 0; i < 12; ++i)
    CHECK(topic.replies[i].reply.outcome->first_seq == sequence{i + 1});
  // A single publish may have more.
  topic.publish(make_request(20, {"A", "B", "C", "D", "E"}));
  REQUIRE(topic.pending.size() == 1);
  CHECK(topic.pending[0].records.size() == 5);
}

TEST_CASE("what stands behind a refused append goes with it", "[topic]") {
  const auto event_bytes = make_event("a").stored.size();
  core_fixture topic{{}, {.append_bytes_max = 2 * event_bytes}};
  topic.publish(make_request(1, {"1"}));
  std::vector<publish_request> many;
  for (int i = 2; i <= 6; ++i)
    many.push_back(make_request(i, {std::to_string(i)}));
  auto effects = topic.core.publish(publisher_key{1}, std::move(many), topic.now);
  REQUIRE(effects.appends.size() >= 2);
  const auto key = effects.appends.front().key;
  topic.take(topic.core.refused(key, {errc::overloaded, "full", 50}));
  REQUIRE(topic.replies.size() == 5);
  for (const auto& one : topic.replies)
    CHECK(one.reply.outcome.error().code == errc::overloaded);
  topic.commit();
  CHECK(topic.core.is_settled());
  topic.publish(make_request(7, {"6"}));
  topic.publish(make_request(8, {"2"}));
  topic.commit_all();
  REQUIRE(topic.replies.size() == 8);
  CHECK(topic.replies[6].reply.outcome->first_seq == sequence{2});
  CHECK(topic.replies[7].reply.outcome->first_seq == sequence{3});
  CHECK(topic.replies[7].reply.outcome->events.empty());
}

TEST_CASE("no conflict is told with an event that is not stored", "[topic]") {
  core_fixture topic;
  publish_request other{.correlation = correlation_id{2}};
  other.events.push_back(make_event("a", "different"));
  auto third = make_request(3, {"b"});
  third.expected = sequence{0};
  std::vector<publish_request> together;
  together.push_back(make_request(1, {"a"}));
  together.push_back(other);
  together.push_back(third);
  topic.take(topic.core.publish(publisher_key{1}, std::move(together), topic.now));
  REQUIRE(topic.pending.size() == 1);
  const auto key = topic.pending.front().key;
  topic.pending.clear();
  topic.take(topic.core.refused(key, {errc::overloaded, "full", 50}));
  REQUIRE(topic.replies.size() == 3);
  for (const auto& one : topic.replies)
    CHECK(one.reply.outcome.error().code == errc::overloaded);
  // As it is told, it can be sent again.
  topic.publish(std::move(other));
  topic.commit();
  CHECK(topic.replies.back().reply.outcome->first_seq == sequence{1});
}

TEST_CASE("records without an event are an append of their own, in their place", "[topic]") {
  core_fixture f;
  publish_request rows{.correlation = correlation_id{2}};
  rows.with.push_back({.kind = storage::record_kind::workflow_progress});
  f.publish(make_request(1, {"a"}));
  f.publish(rows);
  f.publish(make_request(3, {"b"}));
  REQUIRE(f.pending.size() >= 2);
  REQUIRE(f.pending[1].records.size() == 1);
  CHECK(f.pending[1].records[0].kind == storage::record_kind::workflow_progress);
  CHECK(f.pending[1].records[0].entity_seq == sequence{1});
  f.commit();
  CHECK(f.replies.size() == 1);
  f.commit();
  CHECK(f.replies.size() == 2);
  f.commit_all();
  REQUIRE(f.replies.size() == 3);
  CHECK(f.replies[2].reply.outcome->first_seq == sequence{2});
  CHECK(f.core.image().last_seq == sequence{2});
  // Refused at the door it leaves nothing behind.
  f.publish(rows);
  f.take(f.core.refused(f.pending.front().key, {errc::overloaded, "full", 0}));
  f.pending.clear();
  CHECK_FALSE(f.replies.back().reply.outcome);
  CHECK(f.core.is_settled());
}

TEST_CASE("written acks leave before the fsync, the others after it", "[topic]") {
  core_fixture topic;
  auto fast = make_request(1, {"a"});
  fast.level = durability::written;
  std::vector<publish_request> both;
  both.push_back(std::move(fast));
  both.push_back(make_request(2, {"b"}));
  topic.take(topic.core.publish(publisher_key{1}, std::move(both), topic.now));
  REQUIRE(topic.pending.size() == 1);
  CHECK(topic.pending[0].tell_written);
  topic.take(topic.core.written(topic.pending[0].key));
  REQUIRE(topic.replies.size() == 1);
  CHECK(topic.replies[0].reply.outcome->reached == durability::written);
  CHECK(topic.deliveries.empty());
  topic.commit();
  CHECK(topic.replies.size() == 2);
}

TEST_CASE("ids that cannot be read refuse who asked and nobody else", "[topic][dedupe]") {
  core_fixture topic{{}, {.events_in_flight_max = 2, .recent_ids_max = 2}};
  for (int i = 1; i <= 6; ++i) {
    topic.publish(make_request(i, {"id" + std::to_string(i)}));
    topic.commit();
  }
  topic.replies.clear();
  topic.publish(make_request(9, {"under way"}));
  topic.publish(make_request(10, {"id1"}));
  REQUIRE(topic.core.is_parked());
  topic.asked.clear();
  topic.take(topic.core.candidates_unread({errc::io_error, "no disk", 0}));
  REQUIRE(topic.replies.size() == 1);
  CHECK(topic.replies[0].reply.correlation == correlation_id{10});
  CHECK(topic.replies[0].reply.outcome.error().code == errc::io_error);
  CHECK_FALSE(topic.reload);
  topic.commit_all();
  REQUIRE(topic.replies.size() == 2);
  CHECK(topic.replies[1].reply.outcome->first_seq == sequence{7});
  // Asked again, it is looked up again.
  topic.publish(make_request(11, {"id1"}));
  topic.answer_candidates();
  REQUIRE(topic.replies.size() == 3);
  CHECK(topic.replies[2].reply.outcome->first_seq == sequence{1});
}

TEST_CASE("an old id is looked up before anything behind it is decided", "[topic][dedupe]") {
  core_fixture topic{{}, {.events_in_flight_max = 2, .recent_ids_max = 2}};
  for (int i = 1; i <= 6; ++i) {
    topic.publish(make_request(i, {"id" + std::to_string(i)}));
    topic.commit();
  }
  topic.replies.clear();
  topic.publish(make_request(10, {"id1"}));
  topic.publish(make_request(11, {"new"}));
  CHECK(topic.asked == std::vector<sequence>{sequence{1}});
  CHECK(topic.pending.empty());
  topic.answer_candidates();
  topic.commit_all();
  REQUIRE(topic.replies.size() == 2);
  CHECK(topic.replies[0].reply.outcome->events.at(0).duplicate);
  CHECK(topic.replies[0].reply.outcome->first_seq == sequence{1});
  CHECK(topic.replies[1].reply.outcome->first_seq == sequence{7});
}

TEST_CASE("an id is forgotten when its window has passed", "[topic][dedupe]") {
  topic_settings settings;
  settings.dedupe_window_s = 10;
  core_fixture topic{settings};
  topic.publish(make_request(1, {"a"}));
  topic.commit();
  topic.now += std::chrono::seconds{9};
  topic.publish(make_request(2, {"a"}));
  CHECK(topic.replies.back().reply.outcome->events.at(0).duplicate);
  topic.now += std::chrono::seconds{2};
  topic.publish(make_request(3, {"a"}));
  topic.commit();
  CHECK(topic.replies.back().reply.outcome->first_seq == sequence{2});
}

TEST_CASE("a relay gets every event once or is told what it must read", "[topic][relay]") {
  core_fixture topic;
  topic.publish(make_request(1, {"a"}));
  topic.commit();
  const auto image = topic.core.attach(relay_key{5}, 1);
  CHECK(image.last_seq == sequence{1});
  topic.publish(make_request(2, {"b"}));
  topic.commit();
  REQUIRE(topic.deliveries.size() == 1);
  CHECK(topic.deliveries[0].batch->events.at(0).seq == sequence{2});
  topic.publish(make_request(3, {"c"}));
  topic.publish(make_request(4, {"d"}));
  topic.commit_all();
  CHECK(topic.deliveries.size() == 1);
  topic.take(topic.core.credit(relay_key{5}, 2));
  REQUIRE(topic.skips.size() == 1);
  CHECK(topic.skips[0].last_seq == sequence{4});
  topic.publish(make_request(5, {"e"}));
  topic.commit();
  REQUIRE(topic.deliveries.size() == 2);
  CHECK(topic.deliveries[1].batch->events.at(0).seq == sequence{5});
}

TEST_CASE("ephemeral events have no seq, are not stored, and drops are counted", "[topic]") {
  core_fixture topic;
  (void)topic.core.attach(relay_key{5}, 1);
  auto one = make_request(1, {"x"});
  one.ephemeral = true;
  topic.publish(std::move(one));
  CHECK(topic.pending.empty());
  REQUIRE(topic.deliveries.size() == 1);
  CHECK(topic.deliveries[0].batch->ephemeral);
  CHECK(topic.replies.at(0).reply.outcome->first_seq == sequence{0});
  auto two = make_request(2, {"y"});
  two.ephemeral = true;
  topic.publish(std::move(two));
  CHECK(topic.deliveries.size() == 1);
  topic.take(topic.core.credit(relay_key{5}, 1));
  REQUIRE(topic.skips.size() == 1);
  CHECK(topic.skips[0].dropped == 1);
}

TEST_CASE("retention asks for what is above its limits and trims once", "[topic][retention]") {
  topic_settings settings;
  settings.retention_events = 2;
  core_fixture topic{settings};
  for (int i = 1; i <= 5; ++i)
    topic.publish(make_request(i, {std::to_string(i)}));
  topic.commit_all();
  topic.take(topic.core.tick(topic.now));
  REQUIRE(topic.plan);
  CHECK(topic.plan->up_to_by_count == sequence{3});
  topic.plan.reset();
  topic.take(topic.core.tick(topic.now));
  CHECK_FALSE(topic.plan);  // one trim at a time
  topic.take(topic.core.trim_planned(sequence{3}, 75));
  REQUIRE(topic.pending.size() == 1);
  CHECK(topic.pending[0].frees_space);
  CHECK(topic.pending[0].records.at(0).kind == storage::record_kind::trimmed);
  topic.commit();
  CHECK(topic.core.image().first_seq == sequence{4});
  topic.take(topic.core.tick(topic.now));
  CHECK_FALSE(topic.plan);
}

TEST_CASE("events that are kept for longer than there is time stay", "[topic][retention]") {
  topic_settings settings;
  settings.retention_age_s = GENERATE(UINT64_MAX, UINT64_MAX / 1000, INT64_MAX);
  core_fixture topic{settings};
  topic.publish(make_request(1, {"1"}));
  topic.commit_all();
  topic.take(topic.core.tick(topic.now));
  REQUIRE(topic.plan);
  CHECK(topic.plan->older_than == time_ms{});
}

TEST_CASE("a trim goes before what is gathered, and a refusal of that stops nothing") {
  topic_settings settings;
  settings.retention_events = 1;
  core_fixture topic{settings};
  topic.publish(make_request(1, {"a"}));
  topic.commit_all();
  topic.publish(make_request(2, {"b"}));
  topic.commit_all();
  // Two appends are open; the third publish is gathered behind them.
  topic.publish(make_request(3, {"c"}));
  topic.publish(make_request(4, {"d"}));
  topic.publish(make_request(5, {"e"}));
  topic.take(topic.core.tick(topic.now));
  REQUIRE(topic.plan);
  topic.take(topic.core.trim_planned(sequence{1}, 25));
  topic.commit_all();
  CHECK(topic.core.image().first_seq == sequence{2});
  CHECK(topic.core.image().last_seq == sequence{5});
  CHECK(topic.core.is_settled());
  CHECK(topic.replies.size() == 5);
}

TEST_CASE("a channel waits for groups, for so many events at most", "[topic][retention]") {
  core_fixture topic{topic_settings{}};
  for (std::uint64_t i = 1; i <= 9; ++i)
    topic.publish(make_request(i, {std::to_string(i)}));
  topic.commit_all();
  const kept_events kept{.count = 2, .held_count = 5};
  auto effects = topic.core.tick(topic.now, kept);
  CHECK(effects.asks_groups);
  CHECK_FALSE(effects.trim);
  CHECK_FALSE(topic.core.is_idle());
  CHECK_FALSE(topic.core.tick(topic.now, kept).asks_groups);
  topic.core.held(GENERATE(as<std::optional<sequence>>{}, std::nullopt, sequence{1}, sequence{6}));
  CHECK(topic.core.is_idle());
}

TEST_CASE("a channel whose groups cannot be read rests and asks again", "[topic][retention]") {
  core_fixture topic{topic_settings{}};
  for (std::uint64_t i = 1; i <= 9; ++i)
    topic.publish(make_request(i, {std::to_string(i)}));
  topic.commit_all();
  const kept_events kept{.count = 2, .held_count = 5};
  CHECK(topic.core.tick(topic.now, kept).asks_groups);
  topic.core.groups_unknown();
  CHECK(topic.core.is_idle());
  const auto again = topic.core.tick(topic.now, kept);
  CHECK(again.asks_groups);
  CHECK_FALSE(again.trim);
}

TEST_CASE("a channel lets go what groups no longer need", "[topic][retention]") {
  const auto [floor, up_to] = GENERATE(table<std::optional<sequence>, std::uint64_t>(
      {{std::nullopt, 9}, {sequence{1}, 4}, {sequence{6}, 6}, {sequence{0}, 4}}));
  core_fixture topic{topic_settings{}};
  for (std::uint64_t i = 1; i <= 9; ++i)
    topic.publish(make_request(i, {std::to_string(i)}));
  topic.commit_all();
  topic.core.held(floor);
  const auto effects = topic.core.tick(topic.now, {.count = 2, .held_count = 5});
  REQUIRE(effects.trim);
  CHECK(effects.trim->up_to_max == sequence{up_to});
  CHECK(effects.trim->up_to_by_count == sequence{7});
}

TEST_CASE("a group that is behind holds retention and then publishes", "[topic][retention]") {
  topic_settings settings;
  settings.retention_bytes = 60;
  settings.hold_for_groups = true;
  core_fixture topic{settings};
  topic.publish(make_request(1, {"a"}));
  topic.publish(make_request(2, {"b"}));
  topic.publish(make_request(3, {"c"}));
  topic.commit_all();
  topic.take(topic.core.tick(topic.now));
  CHECK_FALSE(topic.plan);  // the groups have not spoken yet
  topic.core.held(sequence{1});
  topic.publish(make_request(4, {"d"}));
  REQUIRE_FALSE(topic.replies.back().reply.outcome);
  CHECK(topic.replies.back().reply.outcome.error().code == errc::held_by_group);
  topic.take(topic.core.tick(topic.now));
  REQUIRE(topic.plan);
  CHECK(topic.plan->up_to_max == sequence{1});
  topic.core.held(std::nullopt);
  topic.publish(make_request(5, {"d"}));
  topic.commit_all();
  CHECK(topic.replies.back().reply.outcome);
}
