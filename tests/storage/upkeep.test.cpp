// Space given back, views rebuilt, damage found by the scrub.
#include "storage/offline.hpp"

#include "tests/storage/upkeep_fixture.hpp"
#include "tests/support/catch.hpp"

#include <atomic>
#include <filesystem>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

TEST_CASE("a trim takes records away and gives their space back", "[storage][upkeep]") {
  upkeep_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  std::uint64_t seq = 0;
  const auto fill = [&](std::uint64_t count) {
    std::vector<pending_append> pending;
    for (std::uint64_t i = 0; i < count; ++i) {
      ++seq;
      std::string payload(20'000, '\0');
      for (auto& c : payload)
        c = static_cast<char>(std::rand());
      pending.push_back(f.start(shard_id{0}, {event(topic, seq, std::move(payload))}));
    }
    for (auto& append : pending)
      REQUIRE(append.wait());
  };
  fill(1000);
  REQUIRE(f.append(shard_id{0}, {trim(topic, 900, seq)}, true));
  const auto span = f.journal->read(shard_id{0}).value()->entity_span(topic).value();
  REQUIRE(span);
  CHECK(span->first == sequence{901});
  CHECK(f.read(shard_id{0}, topic).value().size() == 100);
  // Something newer must follow: the newest block always stays.
  fill(1);
  CHECK(f.read(shard_id{0}, topic).value().size() == 101);
  upkeep_fixture::wait_for([&] {
    const auto bytes = f.table_bytes();
    return bytes > 0 && bytes < 6'000'000;
  });
  f.expect_sound();
  f.open();
  CHECK(f.read(shard_id{0}, topic).value().size() == 101);
  CHECK(f.append(shard_id{0}, {event(topic, seq + 1, "next")}));
}

TEST_CASE("what lives among the dead stays, in smaller blocks", "[storage][upkeep]") {
  upkeep_fixture f{GENERATE(passes::of_one_block, passes::of_all_there_is)};
  f.open();
  const auto dying = f.make_topic(shard_id{0}, "dying");
  const auto living = f.make_topic(shard_id{0}, "living");
  for (std::uint64_t seq = 1; seq <= 100; ++seq) {
    REQUIRE(f.append(
        shard_id{0},
        {event(dying, seq, std::string(500, 'd')), event(living, seq, "l" + std::to_string(seq))}));
  }
  REQUIRE(f.append(shard_id{0}, {trim(dying, 100, 100)}, true));
  REQUIRE(f.append(shard_id{0}, {event(living, 101, "l101")}));
  f.wait_no_reclaim();
  const auto living_now = f.read(shard_id{0}, living).value();
  CHECK(living_now.size() == 101);
  CHECK(living_now.front() == "l1");
  CHECK(f.read(shard_id{0}, dying).value().empty());
  const auto lsns = f.log_lsns(shard_id{0});
  // Two topics, 101 living events, one trim.
  CHECK(lsns.size() == 104);
  f.expect_sound();
  f.open();
  CHECK(f.read(shard_id{0}, living, 50).value().size() == 52);
  REQUIRE(f.append(shard_id{0}, {event(dying, 101, "again")}));
  CHECK(f.read(shard_id{0}, dying).value() == std::vector<std::string>{"again"});
}

TEST_CASE("how a workflow was goes with what it was then", "[storage][upkeep]") {
  upkeep_fixture f{GENERATE(passes::of_one_block, passes::of_all_there_is)};
  f.open();
  const auto run = f.make_topic(shard_id{0}, "workflow.w");
  const auto other = f.make_topic(shard_id{0}, "other");
  const auto progress = [&](std::uint64_t seq) {
    return draft(record_kind::workflow_progress, run, seq, std::string(400, 'p'));
  };
  for (std::uint64_t seq = 1; seq <= 100; ++seq) {
    std::vector<record_draft> transition{event(run, seq, std::string(100, 'e')), progress(seq)};
    // In a block with a record that stays, and is most of it.
    if (seq % 5 == 0) transition.push_back(event(other, seq / 5, std::string(3000, 'o')));
    REQUIRE(f.append(shard_id{0}, std::move(transition)));
    if (seq % 10 == 0) REQUIRE(f.append(shard_id{0}, {progress(seq)}));
  }
  REQUIRE(f.append(shard_id{0}, {trim(run, 60, 100)}, true));
  REQUIRE(f.append(shard_id{0}, {event(run, 101, "e"), progress(101)}));
  f.wait_no_reclaim();
  CHECK(f.read(shard_id{0}, run).value().size() == 41);
  CHECK(f.read(shard_id{0}, other).value().size() == 20);
  // Two creations, 20 of the other; of the run 41 events with 41 and 4 more of how it was, a trim,
  // and what is dead in blocks that live for the other.
  CHECK(f.log_lsns(shard_id{0}).size() == 2 + 20 + 41 + 41 + 4 + 1 + 2 * 12);
  f.expect_sound();

  // All events may go: how it is now stays.
  f.open();
  REQUIRE(f.append(shard_id{0}, {trim(run, 101, 101)}, true));
  REQUIRE(f.append(shard_id{0}, {event(other, 21, "o")}));
  f.wait_no_reclaim();
  std::vector<std::uint64_t> left;
  f.close();
  REQUIRE(
      dump_directory(f.settings.data_dir, shard_id{0}, lsn{1}, [&](shard_id, const record& next) {
        if (next.kind != record_kind::workflow_progress) return true;
        if (next.entity_seq.raw() % 5 != 0) left.push_back(next.entity_seq.raw());
        return true;
      }));
  CHECK(left == std::vector<std::uint64_t>{101});
  f.expect_sound();

  f.open();
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::topic_deleted, run, 101, "workflow.w")}, true));
  REQUIRE(f.append(shard_id{0}, {event(other, 22, "o")}));
  f.wait_no_reclaim();
  CHECK(f.log_lsns(shard_id{0}).size() == 1 + 22 + 2 * 20);
  f.expect_sound();

  // It does not come back by a repair.
  REQUIRE(repair_directory(f.settings.data_dir, f.views, {}));
  CHECK(f.log_lsns(shard_id{0}).size() == 1 + 22);
  f.expect_sound();
  f.open();
  CHECK(f.read(shard_id{0}, run).value().empty());
  CHECK(f.read(shard_id{0}, other).value().size() == 22);
}

TEST_CASE("who was present goes when all were written again", "[storage][upkeep]") {
  upkeep_fixture f{GENERATE(passes::of_one_block, passes::of_all_there_is)};
  f.open();
  const auto room = f.make_topic(shard_id{0}, "room");
  const auto other = f.make_topic(shard_id{0}, "other");
  const auto changed = [&] {
    return draft(record_kind::presence_changed, room, 0, std::string(400, 'p'));
  };
  const auto change = [&](int times) {
    for (int i = 0; i < times; ++i)
      REQUIRE(f.append(shard_id{0}, {changed()}));
  };
  const auto restate = [&](std::uint64_t dead_before) {
    REQUIRE(f.append(
        shard_id{0}, {draft(record_kind::presence_restated, room, dead_before, "presence")}));
  };
  // Lsns 3 to 102.
  change(100);
  restate(90);
  REQUIRE(f.append(shard_id{0}, {event(other, 1, "o")}));
  f.wait_no_reclaim();
  CHECK(f.log_lsns(shard_id{0}).size() == 2 + 13 + 1 + 1);
  f.expect_sound();

  // Lsns 105 to 204, two by two in one block with another.
  f.open();
  for (std::uint64_t i = 1; i <= 50; ++i)
    REQUIRE(f.append(shard_id{0}, {changed(), changed()}));
  restate(150);
  REQUIRE(f.append(shard_id{0}, {event(other, 2, "o")}));
  f.wait_no_reclaim();
  // Of the block of two that the floor is in the middle of, the second stays.
  CHECK(f.log_lsns(shard_id{0}).size() == 2 + 55 + 1 + 2);
  f.expect_sound();

  f.open();
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::topic_deleted, room, 0, "room")}, true));
  REQUIRE(f.append(shard_id{0}, {event(other, 3, "o")}));
  f.wait_no_reclaim();
  CHECK(f.log_lsns(shard_id{0}).size() == 1 + 3);
  f.expect_sound();
}

TEST_CASE("who was present before all were written again is not repaired", "[storage][upkeep]") {
  upkeep_fixture f{GENERATE(passes::of_one_block, passes::of_all_there_is)};
  f.open();
  const auto room = f.make_topic(shard_id{0}, "room");
  const auto other = f.make_topic(shard_id{0}, "other");
  // What is dead in its block stays there beside the event.
  REQUIRE(f.append(
      shard_id{0},
      {draft(record_kind::presence_changed, room, 0, "joined"),
       event(other, 1, std::string(1000, 'o'))}));
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::presence_changed, room, 0, "left")}));
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::presence_restated, room, 6, "presence")}));
  REQUIRE(f.append(shard_id{0}, {event(other, 2, "o")}));
  f.wait_no_reclaim();
  CHECK(f.log_lsns(shard_id{0}) == std::vector<std::uint64_t>{1, 2, 3, 4, 6, 7});
  REQUIRE(repair_directory(f.settings.data_dir, f.views, {}));
  CHECK(f.log_lsns(shard_id{0}) == std::vector<std::uint64_t>{1, 2, 4, 6, 7});
  f.expect_sound();
}

TEST_CASE(
    "a store with more than one log is repaired, also without the first", "[storage][upkeep]") {
  upkeep_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  std::uint64_t seq = 0;
  // Giving space back writes tables out, and with them logs end that others still need.
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 50; ++i)
      REQUIRE(f.append(shard_id{0}, {event(topic, ++seq, std::string(1000, 'e'))}));
    REQUIRE(f.append(shard_id{0}, {trim(topic, seq - 10, seq)}, true));
    REQUIRE(f.append(shard_id{0}, {event(topic, ++seq, "e")}));
    f.wait_no_reclaim();
  }
  f.close();
  const auto logs = [&] {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator{f.settings.data_dir + "/db"}) {
      if (entry.path().extension() == ".log") found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
  };
  REQUIRE(logs().size() > 1);
  const auto whole = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(whole);
  CHECK(whole->damage.empty());
  f.open();
  CHECK(f.read(shard_id{0}, topic).value().size() == 11);
  f.close();

  // As the damaged store was.
  const std::filesystem::path before{f.settings.data_dir + ".damaged-1"};
  std::filesystem::remove_all(f.settings.data_dir);
  std::filesystem::rename(before, f.settings.data_dir);
  std::filesystem::remove(logs().front());
  const auto report = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(report);
  CHECK_FALSE(report->damage.empty());
  f.open();
  CHECK(f.journal->read(shard_id{0}));
}

TEST_CASE("a deleted topic leaves nothing behind", "[storage][upkeep]") {
  upkeep_fixture f{GENERATE(passes::of_one_block, passes::of_all_there_is)};
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  for (std::uint64_t seq = 1; seq <= 50; ++seq) {
    REQUIRE(f.append(shard_id{0}, {event(topic, seq, "x")}));
  }
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::topic_deleted, topic, 50, "t")}, true));
  CHECK(f.read(shard_id{0}, topic).value().empty());
  CHECK_FALSE(f.journal->read(shard_id{0}).value()->entity_span(topic).value());
  const auto other = f.make_topic(shard_id{0}, "other");
  f.wait_no_reclaim();
  CHECK(f.log_lsns(shard_id{0}) == std::vector<std::uint64_t>{other.raw()});
  f.expect_sound();
  f.open();
  CHECK(f.read(shard_id{0}, topic).value().empty());
  CHECK_FALSE(f.journal->read(shard_id{0}).value()->get(view_id::catalogue, "t").value());
}

TEST_CASE("group progress below a snapshot and replaced snapshots go", "[storage][upkeep]") {
  upkeep_fixture f{GENERATE(passes::of_one_block, passes::of_all_there_is)};
  f.open();
  const entity_id group{
      f.append(shard_id{0}, {draft(record_kind::group_created, entity_id{}, 0, "g")})
          .value()
          .first.raw()};
  std::uint64_t seq = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 10; ++i) {
      ++seq;
      REQUIRE(f.append(shard_id{0}, {draft(record_kind::group_progress, group, seq, "p")}));
    }
    REQUIRE(f.append(shard_id{0}, {draft(record_kind::snapshot, group, seq, "s")}, true));
  }
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::group_progress, group, seq + 1, "p")}));
  f.wait_no_reclaim();
  // Creation, last snapshot, what came after it.
  CHECK(f.log_lsns(shard_id{0}).size() == 3);
  f.expect_sound();
  f.open();
  CHECK(f.journal->read(shard_id{0}).value()->snapshot(group).value()->covered == sequence{200});
  CHECK(f.read(shard_id{0}, group).value().size() == 1);
}

TEST_CASE("another projection version rebuilds views while serving", "[storage][upkeep]") {
  upkeep_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  for (std::uint64_t seq = 1; seq <= 30; ++seq) {
    REQUIRE(f.append(shard_id{0}, {event(topic, seq, "x")}));
  }
  f.close();
  f.views = std::make_shared<counting_projection>(2);
  f.open();
  // Version 2 counts every event as two.
  const auto count = [&] {
    const auto row = f.journal->read(shard_id{0})
                         .value()
                         ->get(view_id::topic_state, std::to_string(topic.raw()));
    return row.value().value_or("0");
  };
  upkeep_fixture::wait_for([&] { return count() == "60"; });
  REQUIRE(f.append(shard_id{0}, {event(topic, 31, "x")}));
  f.wait_applied(shard_id{0});
  CHECK(count() == "62");
  f.close();
  f.open();
  CHECK(count() == "62");
  CHECK(f.journal->read(shard_id{0}).value()->get(view_id::catalogue, "t").value());
}

namespace {

/// Counts every event as two, and stops at an event whose payload is a gate until that is opened.
class gated_projection final : public projection {
public:
  [[nodiscard]] std::uint32_t version() const override { return 2; }

  void apply(std::span<const record> block, view_writer& out) const override {
    for (const auto& next : block) {
      if (next.payload.view() == "upkeep") pass(upkeep, 1);
      if (next.payload.view() == "pass") pass(projecting, 1);
      // The first time it is projected to the rows that there are.
      if (next.payload.view() == "switch") pass(switching, 2);
    }
    rows_.apply(block, out);
  }

  struct gate {
    std::atomic<int> times{0};
    std::atomic<bool> is_open{false};

    void wait_reached(int count) {
      upkeep_fixture::wait_for([&] { return times >= count; });
    }

    void open() {
      is_open = true;
      is_open.notify_all();
    }
  };

  /// Also when the test fails.
  struct release {
    const gated_projection& of;

    ~release() {
      for (auto* one : {&of.upkeep, &of.projecting, &of.switching})
        one->open();
    }
  };

  mutable gate upkeep;
  mutable gate projecting;
  mutable gate switching;

private:
  static void pass(gate& at, int stops_at) {
    if (++at.times == stops_at) at.is_open.wait(false);
  }

  counting_projection rows_{2};
};

}  // namespace

TEST_CASE("what comes while rebuilt views are switched to counts once", "[storage][upkeep]") {
  upkeep_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto other = f.make_topic(shard_id{1}, "other");
  std::uint64_t seq = 0;
  const auto append_many = [&](std::uint64_t count, const std::string& last) {
    std::vector<record_draft> records;
    for (std::uint64_t i = 1; i < count; ++i)
      records.push_back(event(topic, ++seq, "x"));
    records.push_back(event(topic, ++seq, last));
    REQUIRE(f.append(shard_id{0}, std::move(records)));
  };
  append_many(1500, "upkeep");
  f.close();
  const auto views = std::make_shared<gated_projection>();
  f.views = views;
  f.open();
  const gated_projection::release at_the_end{*views};
  views->upkeep.wait_reached(1);
  // The pass goes on when the switch waits behind it, and more than is left to the switch.
  auto held = f.start(shard_id{1}, {event(other, 1, "pass")});
  views->projecting.wait_reached(1);
  views->upkeep.open();
  upkeep_fixture::wait_for([&, until = f.rounds + 3] { return f.rounds >= until; });
  append_many(1200, "switch");
  // A group is handed on before the next one is answered.
  REQUIRE(f.append(shard_id{1}, {event(other, 2, "x")}));
  views->projecting.open();
  views->switching.wait_reached(2);
  upkeep_fixture::wait_for([&, until = f.rounds + 3] { return f.rounds >= until; });
  views->switching.open();
  const auto count = [&] {
    const auto row = f.journal->read(shard_id{0})
                         .value()
                         ->get(view_id::topic_state, std::to_string(topic.raw()));
    return row.value().value_or("0");
  };
  upkeep_fixture::wait_for([&] { return std::stoull(count()) >= 2 * seq; });
  upkeep_fixture::wait_for([&, until = f.rounds + 3] { return f.rounds >= until; });
  CHECK(count() == std::to_string(2 * seq));
  CHECK(held.wait());
}

namespace {

/// As counting_projection, and who is in a room, by name; waits at "gate" when views are rebuilt.
class room_projection final : public projection {
public:
  [[nodiscard]] std::uint32_t version() const override { return 2; }

  void apply(std::span<const record> block, view_writer& out) const override {
    rows_.apply(block, out);
    for (const auto& next : block) {
      const auto text = next.payload.view();
      if (text == "gate") {
        is_reached = true;
        is_open.wait(false);
      }
      if (!is_of_presence(next.kind)) continue;
      if (text.starts_with('+')) out.put(view_id::presence, text.substr(1), "here");
      if (text.starts_with('-')) out.erase(view_id::presence, text.substr(1));
    }
  }

  void open() const {
    is_open = true;
    is_open.notify_all();
  }

  /// Also when the test fails.
  struct release {
    const room_projection& of;

    ~release() { of.open(); }
  };

  mutable std::atomic<bool> is_reached{false};
  mutable std::atomic<bool> is_open{false};

private:
  counting_projection rows_{2};
};

}  // namespace

TEST_CASE("a rebuild keeps to who counted when it began", "[storage][upkeep]") {
  upkeep_fixture f;
  f.open();
  const auto room = f.make_topic(shard_id{0}, "room");
  std::uint64_t seq = 0;
  const auto append_many = [&](int count) {
    std::vector<record_draft> records;
    for (int i = 0; i < count; ++i)
      records.push_back(event(room, ++seq, "x"));
    REQUIRE(f.append(shard_id{0}, std::move(records)));
  };
  REQUIRE(f.append(shard_id{0}, {draft(record_kind::presence_changed, room, 0, "+ann")}));
  append_many(10'000);
  REQUIRE(f.append(shard_id{0}, {event(room, ++seq, "gate")}));
  append_many(11'000);
  // Not in the first step any more.
  const auto left =
      f.append(shard_id{0}, {draft(record_kind::presence_changed, room, seq, "-ann")});
  REQUIRE(left);
  append_many(2'000);
  f.close();
  const auto views = std::make_shared<room_projection>();
  f.views = views;
  f.open();
  const room_projection::release at_the_end{*views};
  upkeep_fixture::wait_for([&] { return views->is_reached.load(); });
  REQUIRE(f.append(
      shard_id{0}, {draft(record_kind::presence_restated, room, left->first.raw() + 1, "+bob")}));
  f.wait_applied(shard_id{0});
  views->open();
  const auto get = [&](view_id view, const std::string& key) {
    return f.journal->read(shard_id{0}).value()->get(view, key).value();
  };
  upkeep_fixture::wait_for([&] {
    return get(view_id::topic_state, std::to_string(room.raw())) == std::to_string(2 * seq);
  });
  CHECK(get(view_id::presence, "bob"));
  CHECK_FALSE(get(view_id::presence, "ann"));
}

TEST_CASE("a journal that rests gives memory back", "[storage][upkeep]") {
  upkeep_fixture f;
  f.settings.tail_cache_bytes_max = 64 << 20;
  f.options.compact_after_bytes = 1ULL << 40;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const std::string payload(256 << 10, 'x');
  for (std::uint64_t seq = 1; seq <= 100; ++seq)
    REQUIRE(f.append(shard_id{0}, {event(topic, seq, payload)}));
  const auto memory = [&] {
    f.time.advance(std::chrono::milliseconds{200});
    const auto text = f.counters->expose();
    const std::string name = "\ncallboard_journal_memory_bytes ";
    const auto at = text.find(name);
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(at + name.size()));
  };
  // In the tail cache and in the memtables.
  upkeep_fixture::wait_for([&] { return memory() > 40e6; });
  f.time.advance(std::chrono::seconds{11});
  upkeep_fixture::wait_for([&] { return memory() < 4e6; });
  CHECK(f.read(shard_id{0}, topic).value() == std::vector<std::string>(100, payload));
  REQUIRE(f.append(shard_id{0}, {event(topic, 101, "y")}));
  CHECK(f.read(shard_id{0}, topic, 101).value() == std::vector<std::string>{"y"});
}
