// The journal's contract when nothing goes wrong: order, groups, fences, reads, reopening.
#include "storage/shard_tail.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"

#include <set>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

TEST_CASE("appends are numbered in order and read back after a restart", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{1}, "orders");
  CHECK(topic == entity_id{1});
  std::vector<std::string> sent;
  for (std::uint64_t seq = 1; seq <= 300; ++seq) {
    sent.push_back("event " + std::to_string(seq));
    const auto receipt = f.append(shard_id{1}, {event(topic, seq, sent.back())});
    REQUIRE(receipt);
    CHECK(receipt->first == lsn{seq + 1});
  }
  CHECK(f.read(shard_id{1}, topic).value() == sent);
  f.close();
  f.open();
  CHECK(f.journal->state(shard_id{1}).committed == lsn{301});
  CHECK(f.read(shard_id{1}, topic).value() == sent);
  const std::vector<std::string> rest{sent.begin() + 99, sent.end()};
  CHECK(f.read(shard_id{1}, topic, 100).value() == rest);
  CHECK(f.read(shard_id{1}, topic, 301).value().empty());
}

TEST_CASE("one append spans blocks and stays in order", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "big");
  std::vector<record_draft> records;
  std::vector<std::string> sent;
  for (std::uint64_t seq = 1; seq <= 100; ++seq) {
    sent.emplace_back(seq == 50 ? 200'000 : 5'000, static_cast<char>('a' + seq % 26));
    records.push_back(event(topic, seq, sent.back()));
  }
  REQUIRE(f.append(shard_id{0}, std::move(records)));
  CHECK(f.read(shard_id{0}, topic).value() == sent);
  f.close();
  f.open();
  CHECK(f.read(shard_id{0}, topic).value() == sent);
}

TEST_CASE("what the cache lets go of while it is read comes from the store", "[storage][journal]") {
  journal_fixture f;
  f.settings.tail_cache_bytes_max = 64 << 10;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto other = f.make_topic(shard_id{0}, "other");
  std::vector<std::string> sent;
  // Each in a block of its own, more than are taken from the cache at a time.
  for (std::uint64_t seq = 1; seq <= 40; ++seq) {
    sent.push_back("event " + std::to_string(seq));
    REQUIRE(f.append(shard_id{0}, {event(topic, seq, sent.back())}));
  }
  const auto reader = f.journal->read(shard_id{0}).value();
  std::vector<std::string> seen;
  REQUIRE(reader->visit_entity(topic, sequence{1}, [&](const record& next) {
    if (seen.empty()) {
      for (std::uint64_t seq = 1; seq <= 20; ++seq) {
        f.wait_applied(shard_id{0});
        REQUIRE(f.append(shard_id{0}, {event(other, seq, std::string(16 << 10, 'x'))}));
      }
    }
    seen.emplace_back(next.payload.view());
    return true;
  }));
  CHECK(seen == sent);
}

TEST_CASE("entities of one shard are read apart, from cache and from disk", "[storage][journal]") {
  journal_fixture f;
  f.settings.tail_cache_bytes_max = GENERATE(0ULL, 4096ULL, 64ULL << 20);
  f.open();
  const auto a = f.make_topic(shard_id{2}, "a");
  const auto b = f.make_topic(shard_id{2}, "b");
  std::vector<std::string> of_a;
  std::vector<std::string> of_b;
  std::vector<pending_append> pending;
  for (std::uint64_t seq = 1; seq <= 500; ++seq) {
    of_a.push_back("a" + std::to_string(seq));
    of_b.push_back("b" + std::to_string(seq));
    pending.push_back(
        f.start(shard_id{2}, {event(a, seq, of_a.back()), event(b, seq, of_b.back())}));
  }
  for (auto& append : pending)
    REQUIRE(append.wait());
  CHECK(f.read(shard_id{2}, a).value() == of_a);
  CHECK(f.read(shard_id{2}, b).value() == of_b);
  const auto reader = f.journal->read(shard_id{2}).value();
  const auto span = reader->entity_span(a).value();
  REQUIRE(span);
  CHECK(span->first == sequence{1});
  CHECK(span->last == sequence{500});
  CHECK_FALSE(reader->entity_span(entity_id{77}).value());
}

TEST_CASE("a reader does not see what commits after it was made", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  REQUIRE(f.append(shard_id{0}, {event(topic, 1, "one")}));
  const auto before = f.journal->read(shard_id{0}).value();
  REQUIRE(f.append(shard_id{0}, {event(topic, 2, "two")}));
  int seen = 0;
  REQUIRE(before->visit_entity(topic, sequence{1}, [&](const record&) { return ++seen > 0; }));
  CHECK(seen == 1);
  CHECK(before->committed() == lsn{2});
}

TEST_CASE("views and tail together show every committed record once", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  for (std::uint64_t seq = 1; seq <= 200; ++seq) {
    REQUIRE(f.append(shard_id{0}, {event(topic, seq, "x")}));
    const auto reader = f.journal->read(shard_id{0}).value();
    const auto row = reader->get(view_id::topic_state, std::to_string(topic.raw())).value();
    std::uint64_t count = row ? std::stoull(*row) : 0;
    auto expected = reader->applied();
    REQUIRE(reader->visit_tail([&](const record& next) {
      expected = expected.next();
      CHECK(next.lsn == expected);
      if (next.kind == record_kind::event) ++count;
      return true;
    }));
    CHECK(expected == reader->committed());
    CHECK(count == seq);
  }
}

TEST_CASE("of the tail each entity's records can be had alone", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto a = f.make_topic(shard_id{0}, "a");
  const auto b = f.make_topic(shard_id{0}, "b");
  for (std::uint64_t seq = 1; seq <= 100; ++seq) {
    REQUIRE(f.append(
        shard_id{0}, {event(a, seq, "x"), event(b, 2 * seq - 1, "y"), event(b, 2 * seq, "z")}));
    if (seq % 3 == 0) {
      REQUIRE(f.append(shard_id{0}, {event(f.make_topic(shard_id{0}, "c"), 1, "w")}));
    }
    const auto reader = f.journal->read(shard_id{0}).value();
    for (const auto& of : {a, b, entity_id{12'345}}) {
      std::vector<lsn> expected;
      std::vector<lsn> seen;
      REQUIRE(reader->visit_tail([&](const record& next) {
        if (next.entity == of) expected.push_back(next.lsn);
        return true;
      }));
      REQUIRE(reader->visit_tail_of(of, [&](const record& next) {
        CHECK(next.entity == of);
        seen.push_back(next.lsn);
        return true;
      }));
      CHECK(seen == expected);
    }
  }
}

TEST_CASE("records carry term, time, chain and checksum", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto a = f.make_topic(shard_id{0}, "a");
  const auto b = f.make_topic(shard_id{0}, "b");
  f.time.advance(std::chrono::milliseconds{1234});
  const auto receipt =
      f.append(shard_id{0}, {event(a, 1, "x"), event(b, 1, "y"), event(a, 2, "z")});
  REQUIRE(receipt);
  CHECK(receipt->time == f.time.wall());
  f.wait_applied(shard_id{0});
  std::vector<record> found;
  const auto reader = f.journal->read(shard_id{0}).value();
  REQUIRE(reader->visit_entity(a, sequence{1}, [&](const record& next) {
    found.push_back(next);
    return true;
  }));
  REQUIRE(found.size() == 2);
  CHECK(found[0].previous == lsn{a.raw()});
  CHECK(found[1].previous == found[0].lsn);
  CHECK(found[1].time == f.time.wall());
  CHECK(found[1].term == term_id{1});
  CHECK(reader->first_at_or_after(a, f.time.wall()).value() == sequence{1});
  CHECK_FALSE(reader->first_at_or_after(a, f.time.wall() + std::chrono::milliseconds{1}).value());
}

TEST_CASE("appends of an older activation are refused", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto old = f.activation(shard_id{0});
  f.activate_anew(shard_id{0});
  const auto refused = f.journal->append(
      {.shard = shard_id{0}, .activation = old, .records = {event(topic, 1, "x")}});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::stale_term);
  CHECK(f.append(shard_id{0}, {event(topic, 1, "x")}));
}

TEST_CASE("a sequence that does not follow is refused and fences the shard", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  REQUIRE(f.append(shard_id{0}, {event(topic, 1, "x")}));
  const auto wrong = f.append(shard_id{0}, {event(topic, 3, "x")});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == errc::sequence_conflict);
  const auto behind = f.append(shard_id{0}, {event(topic, 2, "x")});
  REQUIRE_FALSE(behind);
  CHECK(behind.error().code == errc::stale_term);
  f.activate_anew(shard_id{0});
  CHECK(f.append(shard_id{0}, {event(topic, 2, "x")}));
  CHECK(f.read(shard_id{0}, topic).value().size() == 2);
}

TEST_CASE("an entity is made and written to in one append", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto make = draft(record_kind::topic_created, entity_id{}, 0, "t");
  const auto progress = draft(record_kind::workflow_progress, entity_id{}, 2, "p");
  const auto made = f.append(
      shard_id{0}, {make, event(entity_id{}, 1, "a"), event(entity_id{}, 2, "b"), progress});
  REQUIRE(made);
  const entity_id topic{made->first.raw()};
  REQUIRE(f.append(shard_id{0}, {event(topic, 3, "c")}));
  CHECK(f.read(shard_id{0}, topic).value() == std::vector<std::string>{"a", "b", "c"});
  f.close();
  f.open();
  CHECK(f.read(shard_id{0}, topic).value() == std::vector<std::string>{"a", "b", "c"});
  // Its sequence begins at 1.
  const auto wrong = f.append(shard_id{0}, {make, event(entity_id{}, 2, "a")});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == errc::sequence_conflict);
}

TEST_CASE("the queue is bounded and says so", "[storage][journal]") {
  journal_fixture f;
  f.settings.journal_queue_bytes_max = 1 << 20;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto never = f.append(shard_id{0}, {event(topic, 1, std::string(2 << 20, 'x'))});
  REQUIRE_FALSE(never);
  CHECK(never.error().code == errc::too_large);
}

TEST_CASE("snapshots are found in the tail and after a restart", "[storage][journal]") {
  journal_fixture f;
  f.open();
  const auto made = f.append(shard_id{0}, {draft(record_kind::group_created, entity_id{}, 0, "g")});
  const entity_id group{made.value().first.raw()};
  for (std::uint64_t seq = 1; seq <= 5; ++seq) {
    REQUIRE(f.append(
        shard_id{0}, {draft(record_kind::group_progress, group, seq, std::to_string(seq))}));
  }
  CHECK_FALSE(f.journal->read(shard_id{0}).value()->snapshot(group).value());
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::snapshot, group, 3, "state at 3")}));
  const auto check = [&] {
    const auto reader = f.journal->read(shard_id{0}).value();
    const auto row = reader->snapshot(group).value();
    REQUIRE(row);
    CHECK(row->covered == sequence{3});
    CHECK(row->state.view() == "state at 3");
    const auto span = reader->entity_span(group).value();
    REQUIRE(span);
    CHECK(span->first == sequence{4});
    CHECK(span->last == sequence{5});
    CHECK(f.read(shard_id{0}, group, 1).value() == std::vector<std::string>{"4", "5"});
  };
  check();
  f.wait_applied(shard_id{0});
  check();
  f.close();
  f.open();
  check();
}

TEST_CASE("presence written again leaves the topic as it is", "[storage][journal]") {
  shard_tail tail;
  const entity_id topic{7};
  auto block = std::make_shared<tail_block>();
  block->first = lsn{8};
  block->span = 2;
  block->entries = {
      {.entity = topic, .is_sequenced = true, .first = 1, .count = 1, .runs = {}},
      {.entity = topic, .is_sequenced = false, .first = 9, .count = 1, .runs = {}}};
  block->changes = {
      {.kind = record_kind::presence_restated,
       .entity = topic,
       .lsn = lsn{9},
       .up_to = sequence{3}}};
  tail.push(block);
  CHECK(tail.first_cached(topic) == sequence{1});
  CHECK(tail.blocks_of(topic, sequence{1}, 10).size() == 1);

  journal_fixture f;
  f.views = std::make_shared<held_projection>();
  const held_projection::release at_the_end{static_cast<const held_projection&>(*f.views)};
  f.open();
  const auto room = f.make_topic(shard_id{0}, "room");
  REQUIRE(f.append(
      shard_id{0},
      {draft(record_kind::snapshot, room, 0, "state"),
       draft(record_kind::presence_restated, room, 1, "presence")}));
  const auto row = f.journal->read(shard_id{0}).value()->snapshot(room).value();
  REQUIRE(row);
  CHECK(row->state.view() == "state");
}

TEST_CASE("another shard count is refused with instructions", "[storage][journal]") {
  journal_fixture f;
  f.open();
  f.close();
  f.settings.shard_count = 8;
  const auto opened = f.try_open();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == errc::incompatible);
  CHECK_THAT(opened.error().detail, Catch::Contains("storage.shard_count = 4"));
}

TEST_CASE("one process, one journal per data directory", "[storage][journal]") {
  journal_fixture f;
  f.open();
  metrics counters;
  const auto second = storage::journal::open(f.settings, f.views, f.time, counters);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::locked);
  CHECK_THAT(second.error().detail, Catch::Contains("in use by another process"));
}

TEST_CASE("commits do not wait for the rows of those before them", "[storage][journal]") {
  journal_fixture f;
  const auto views = std::make_shared<held_projection>();
  f.views = views;
  f.open();
  const held_projection::release at_the_end{*views};
  const auto topic = f.make_topic(shard_id{0}, "t");
  std::vector<std::string> sent;
  for (std::uint64_t seq = 1; seq <= 50; ++seq) {
    sent.push_back(std::to_string(seq));
    REQUIRE(f.append(shard_id{0}, {event(topic, seq, sent.back())}));
  }
  CHECK(f.journal->state(shard_id{0}).committed == lsn{51});
  CHECK(f.journal->state(shard_id{0}).applied == lsn{0});
  // Found in memory until then.
  CHECK(f.read(shard_id{0}, topic).value() == sent);
  views->let();
  f.wait_applied(shard_id{0});
  CHECK(f.read(shard_id{0}, topic).value() == sent);
  const auto count = [&] {
    return f.journal->read(shard_id{0})
        .value()
        ->get(view_id::topic_state, std::to_string(topic.raw()))
        .value();
  };
  CHECK(count() == "50");
  f.close();
  f.open();
  CHECK(count() == "50");
}
