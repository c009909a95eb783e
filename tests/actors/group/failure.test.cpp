// Groups and presence when the journal fails under them.
#include "tests/actors/group/group_client.hpp"

namespace callboard::testing {

namespace {

using seq_list = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE_METHOD(
    group_client, "a failed append is told and the group read again", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 3);
  (void)make_group({.group = which, .hold_ms = 1000});
  const auto got = fetch(which, "a", 3);
  advance(500ms);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(actors::ack_deliveries{which, tokens(got), {}}) == errc::outcome_unknown);
  // Its deliveries were recorded, so the tokens are still good.
  CHECK(describe(which).lag == 3);
  CHECK(ack(which, got).lost.empty());
  CHECK(describe(which).floor == sequence{3});
}

TEST_CASE_METHOD(group_client, "an ack that failed but is on disk counts", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 3);
  (void)make_group({.group = which});
  const auto got = fetch(which, "a", 2);
  advance(500ms);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  CHECK(refusal(actors::ack_deliveries{which, tokens(got), {}}) == errc::outcome_unknown);
  CHECK(describe(which).floor == sequence{2});
  CHECK(ack(which, got).lost.size() == 2);
  CHECK(seqs(fetch(which, "a", 5)) == seq_list{3});
}

TEST_CASE_METHOD(
    group_client, "a full queue delays acks, it does not lose them", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  (void)make_group({.group = which});
  const auto got = fetch(which, "a", 1);
  advance(500ms);
  journal.refuse_next({errc::overloaded, "the queue is full"}, 3);
  const auto id = ask(actors::ack_deliveries{which, tokens(got), {}});
  settle();
  CHECK_FALSE(this->got.answered.contains(id));
  advance(1s);
  REQUIRE(this->got.answered.contains(id));
  CHECK(this->got.answered.at(id));
  CHECK(describe(which).lag == 0);
}

TEST_CASE_METHOD(
    group_client, "somebody else's failed append does not harm a group", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  (void)make_group({.group = which});
  const auto got = fetch(which, "a", 2);
  advance(500ms);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  publish("orders", {"lost"});
  run();
  const auto id = ask(actors::ack_deliveries{which, tokens(got), {}});
  settle();
  advance(1s);
  REQUIRE(this->got.answered.contains(id));
  REQUIRE(this->got.answered.at(id));
  CHECK(describe(which).floor == sequence{2});
  // The topic's actor was made anew; the group hears of its events all the same.
  const auto waiting = ask(actors::fetch_deliveries{which, "a", 1, 5000});
  settle();
  publish_event("orders", "after");
  settle();
  REQUIRE(this->got.answered.contains(waiting));
  const auto& list = std::get<actors::delivery_list>(*this->got.answered.at(waiting));
  CHECK(seqs(list.deliveries) == seq_list{3});
}

TEST_CASE_METHOD(
    group_client,
    "a failure that is heard of late begins no second activation",
    "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  (void)make_group({.group = which});
  const auto got = fetch(which, "a", 2);
  advance(500ms);
  int begun = 0;
  journal.on_activation([&] { ++begun; });
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  publish("orders", {"lost"});
  run();
  const auto id = ask(actors::ack_deliveries{which, tokens(got), {}});
  run();
  REQUIRE(journal.queued() == 2);
  // The topic's failure is told, and the group knows the next activation before its own comes.
  journal.commit(1);
  run();
  REQUIRE(begun == 1);
  settle();
  advance(1s);
  CHECK(begun == 1);
  REQUIRE(this->got.answered.contains(id));
  REQUIRE(this->got.answered.at(id));
  CHECK(describe(which).floor == sequence{2});
}

TEST_CASE_METHOD(group_client, "a group that could not be made is not there", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(actors::put_group{.group = which}) == errc::outcome_unknown);
  CHECK(refusal(actors::get_group{which}) == errc::group_not_found);
  CHECK(make_group({.group = which}).created);
}

TEST_CASE_METHOD(
    group_client, "a group that was made though that failed is there", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  CHECK(
      refusal(actors::put_group{.group = which, .from = runtime::from_first{}})
      == errc::outcome_unknown);
  CHECK(describe(which).lag == 2);
  CHECK_FALSE(make_group({.group = which}).created);
  CHECK(seqs(fetch(which, "a", 5)) == seq_list{1, 2});
}

TEST_CASE_METHOD(
    group_client, "settings of a group are what the journal has of them", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  REQUIRE(make_group({.group = which, .deliveries_max = 5, .from = runtime::from_now{}}).created);
  const bool is_kept = GENERATE(true, false);
  const auto waiting = ask(actors::fetch_deliveries{which, "a", 1, 20'000});
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, is_kept);
  CHECK(refusal(actors::put_group{.group = which, .deliveries_max = 7}) == errc::outcome_unknown);
  CHECK(describe(which).settings.deliveries_max == (is_kept ? 7 : 5));
  // Whoever waits need not know.
  CHECK_FALSE(got.answered.contains(waiting));
  publish_many("orders", 1, "later");
  CHECK(got.answered.contains(waiting));
}

TEST_CASE_METHOD(
    group_client, "a group that was deleted though that failed is gone", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 3);
  REQUIRE(make_group({.group = which, .from = runtime::from_first{}}).created);
  CHECK(ack(which, fetch(which, "a", 3)).lost.empty());
  int begun = 0;
  journal.on_activation([&] { ++begun; });
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  const auto waiting = ask(actors::fetch_deliveries{which, "a", 3, 20'000});
  settle();
  CHECK(refusal(actors::delete_group{which}) == errc::outcome_unknown);
  REQUIRE(got.answered.contains(waiting));
  CHECK(got.answered.at(waiting).error().code == errc::group_not_found);
  CHECK(refusal(actors::fetch_deliveries{which, "a", 3, 0}) == errc::group_not_found);
  CHECK(refusal(actors::get_group{which}) == errc::group_not_found);
  const auto anew = make_group({.group = which, .from = runtime::from_now{}});
  CHECK(anew.created);
  CHECK(anew.lag == 0);
  advance(1s);
  CHECK(begun == 1);
}

TEST_CASE_METHOD(
    group_client, "a group whose deletion failed works on as it was", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  REQUIRE(make_group({.group = which, .from = runtime::from_now{}}).created);
  const auto waiting = ask(actors::fetch_deliveries{which, "a", 1, 20'000});
  settle();
  const auto deleted = ask(actors::delete_group{which});
  run();
  REQUIRE(journal.queued() == 1);
  // Nobody is told that it is gone before it is.
  CHECK_FALSE(got.answered.contains(waiting));
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  settle();
  REQUIRE(got.answered.contains(deleted));
  CHECK(got.answered.at(deleted).error().code == errc::outcome_unknown);
  CHECK_FALSE(got.answered.contains(waiting));
  publish_many("orders", 1, "later");
  REQUIRE(got.answered.contains(waiting));
  REQUIRE(got.answered.at(waiting));
  const auto& list = std::get<actors::delivery_list>(*got.answered.at(waiting));
  CHECK(seqs(list.deliveries) == seq_list{2});
  CHECK(ack(which, list.deliveries).lost.empty());
}

TEST_CASE_METHOD(
    group_client, "a group that may be there is looked for until it can be", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  REQUIRE(make_group({.group = which}).created);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  journal.refuse_reads(shard_of("orders"), error{errc::overloaded, "being opened again", 100});
  CHECK(refusal(actors::delete_group{which}) == errc::outcome_unknown);
  const auto early = ask(actors::get_group{which});
  advance(500ms);
  CHECK_FALSE(got.answered.contains(early));
  journal.refuse_reads(shard_of("orders"), std::nullopt);
  advance(500ms);
  REQUIRE(got.answered.contains(early));
  CHECK(got.answered.at(early).error().code == errc::group_not_found);
}

TEST_CASE_METHOD(
    group_client, "groups of a deleted topic are deleted when it is possible", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  REQUIRE(make_group({.group = which}).created);
  const auto deleted = [&] {
    const auto all = journal.records(shard_of("orders"));
    return std::ranges::count(all, storage::record_kind::group_deleted, &storage::record::kind);
  };
  const bool is_refused = GENERATE(true, false);
  (void)ask(actors::delete_topic{topic("orders")});
  run();
  REQUIRE(journal.commit(1) == 1);
  if (is_refused) {
    journal.refuse_next({errc::storage_full, "the disk is full"}, 1);
  } else {
    run();
    journal.fail_next({errc::io_error, "no luck"});
  }
  settle();
  REQUIRE(deleted() == 0);
  // Another one of its name does not hide it.
  publish_many("orders", 2, "anew");
  REQUIRE(make_group({.group = which}).created);
  advance(2s);
  CHECK(deleted() == 1);
  crash();
  settle();
  CHECK(describe(which).last_seq == sequence{2});
  CHECK(deleted() == 1);
}

TEST_CASE_METHOD(
    group_client, "groups of a topic that was deleted though that failed go", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  REQUIRE(make_group({.group = which}).created);
  const auto waiting = ask(actors::fetch_deliveries{group("orders", "billing"), "a", 1, 20'000});
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  CHECK(refusal(actors::delete_topic{topic("orders")}) == errc::outcome_unknown);
  settle();
  CHECK(got.answered.contains(waiting));
  CHECK(refusal(actors::get_group{which}) == errc::topic_not_found);
  publish_many("orders", 1, "anew");
  CHECK(refusal(actors::get_group{which}) == errc::group_not_found);
}

TEST_CASE_METHOD(
    group_client,
    "a node that stood still ends no hold that was acked in time",
    "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  REQUIRE(make_group({.group = which, .hold_ms = 30'000}).created);
  const auto held = fetch(which, "a", 1);
  advance(20s);
  tick(1h);
  settle();
  // What comes before the tick has nothing end either.
  advance(5s);
  CHECK(describe(which).in_flight == 1);
  SECTION("what the consumer sent counts") {
    CHECK(ack(which, held).lost.empty());
  }
  SECTION("it ends when it would have ended") {
    advance(6s);
    CHECK(describe(which).in_flight == 0);
    CHECK(ack(which, held).lost.size() == 1);
  }
}

TEST_CASE_METHOD(
    group_client, "who leaves while its group is read gets nothing of it", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 2);
  REQUIRE(make_group({.group = which}).created);
  crash();
  settle();
  const bool is_topic_read = GENERATE(false, true);
  if (is_topic_read) REQUIRE(ask_now(actors::get_topic{topic("orders")}));
  const auto gone = ask(actors::fetch_deliveries{which, "gone", 1, 20'000});
  const auto there = ask(actors::fetch_deliveries{which, "there", 1, 20'000});
  // The topic is attached to, then the group is read, or is to be.
  while (step()) {
  }
  (void)ask(actors::leave_group{which, "gone"});
  settle();
  REQUIRE(got.answered.contains(gone));
  REQUIRE(got.answered.at(gone));
  CHECK(std::get<actors::delivery_list>(*got.answered.at(gone)).deliveries.empty());
  REQUIRE(got.answered.contains(there));
  CHECK(seqs(std::get<actors::delivery_list>(*got.answered.at(there)).deliveries) == seq_list{1});
  CHECK(describe(which).in_flight == 1);
}

TEST_CASE_METHOD(
    group_client,
    "a dead letter is published once, however long the node was down",
    "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  REQUIRE(ask_now(actors::put_topic{topic("grave"), {}}));
  (void)make_group({.group = which, .deliveries_max = 1, .dead_letter_topic = "grave"});
  const auto held = fetch(which, "a", 1);
  advance(500ms);
  (void)ask(actors::nack_deliveries{which, tokens(held), 0, "no luck"});
  run();
  // The record that it is dead, and the letter, of which nothing is recorded yet.
  REQUIRE(journal.queued() == 2);
  const bool is_published = GENERATE(true, false);
  REQUIRE(journal.commit(is_published ? 2 : 1) == (is_published ? 2 : 1));
  const auto letters = [&] {
    const auto page =
        ask_now(actors::read_events{topic("grave"), runtime::from_first{}, 10, 1 << 20});
    REQUIRE(page);
    return std::get<actors::event_page>(*page).batch->events.size();
  };
  time.advance(24h);
  crash();
  settle();
  // Nobody asks for the group.
  advance(10s);
  CHECK(letters() == 1);
  CHECK(describe(which).dead_lettered == 1);
  CHECK(letters() == 1);
}

TEST_CASE_METHOD(group_client, "a dead letter waits for its topic", "[actors][group]") {
  const auto which = group("orders", "billing");
  publish_many("orders", 1);
  (void)make_group({.group = which, .deliveries_max = 1, .dead_letter_topic = "grave"});
  const auto got = fetch(which, "a", 1);
  advance(500ms);
  (void)nack(which, got, 0);
  advance(200ms);
  CHECK(describe(which).dead_lettered == 1);
  const auto page =
      ask_now(actors::read_events{topic("grave"), runtime::from_first{}, 10, 1 << 20});
  REQUIRE(page);
  CHECK(std::get<actors::event_page>(*page).batch->events.size() == 1);
}

}  // namespace callboard::testing
