// Letters that were to take another's place and have not: an edit wrote them, and could not be
// noted or was cut short. None of them may be counted that is not shown.
#include "tests/actors/binding/bound_node.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// With one dead letter, which the rule of now would hand on.
struct edited_node : bound_node {
  explicit edited_node(config with = {}) : bound_node{std::move(with)} {
    bind(R"({"target":{"workflow":{"type":"absent","id":"w-{id}"}}})");
    publish("x", 1);
    broker.advance(5s);
    REQUIRE(dead().size() == 1);
    bind(R"({"target":{"workflow":{"type":"test.echo","id":"w-{id}"}}})");
  }

  std::uint64_t edit() {
    return broker.ask(edit_binding_dead{binding(), sequence{1}, R"({"n":2})", "ann"});
  }

  /// One group of appends.
  void commit() {
    broker.run();
    broker.journal.commit();
    broker.run();
  }

  std::uint64_t counted() { return get<group_description>(get_binding{binding()}).dead.value(); }

  /// Of the topic of dead letters; some may be none.
  std::uint64_t written() {
    const auto topic = get<topic_description>(get_topic{virtual_broker::topic(
        runtime::binding_dead_topic(binding().topic.topic, binding().group).str())});
    return topic.events;
  }
};

}  // namespace

TEST_CASE("a dead letter whose edit could not be noted is not counted", "[actors][binding]") {
  std::size_t orphans = 0;
  for (const bool is_kept : {false, true}) {
    for (int commits = 0; commits < 8; ++commits) {
      INFO("fails after commit " << commits << ", on disk all the same: " << is_kept);
      edited_node here;
      const auto asked = here.edit();
      for (int i = 0; i < commits; ++i)
        here.commit();
      here.broker.run();
      if (here.broker.got.answered.contains(asked)) break;
      here.broker.journal.fail_next(error{errc::io_error, "the disk", 0}, is_kept);
      here.broker.advance(15s);
      CHECK(here.counted() == 1);
      const auto left = here.dead();
      REQUIRE(left.size() == 1);
      orphans += left.front() == 1 && here.written() == 2 ? 1 : 0;
      CHECK(here.get<binding_redrive>(redrive_binding{here.binding(), {}, "ann"}).events == 1);
      here.broker.advance(5s);
      CHECK(here.counted() == 0);
      CHECK(here.dead().empty());
    }
  }
  CHECK(orphans > 0);
}

TEST_CASE("an edit that was cut short leaves no letter that counts", "[actors][binding]") {
  std::size_t orphans = 0;
  for (int commits = 0; commits < 8; ++commits) {
    INFO("dies after commit " << commits);
    edited_node here;
    (void)here.edit();
    for (int i = 0; i < commits; ++i)
      here.commit();
    here.broker.crash();
    here.broker.advance(1s);
    // Whatever is asked first.
    if (commits % 2 == 0) CHECK(here.dead().size() == 1);
    CHECK(here.counted() == 1);
    const auto left = here.dead();
    REQUIRE(left.size() == 1);
    const bool is_orphaned = left.front() == 1 && here.written() == 2;
    orphans += is_orphaned ? 1 : 0;
    if (is_orphaned) {
      // It can be edited again, and what that writes has its place.
      const auto again = here.get<binding_edited>(
          edit_binding_dead{here.binding(), sequence{1}, R"({"n":3})", "ann"});
      CHECK(here.dead() == std::vector{again.seq.raw()});
      CHECK(here.counted() == 1);
    }
    CHECK(here.get<binding_redrive>(redrive_binding{here.binding(), {}, "ann"}).events == 1);
    here.broker.advance(5s);
    CHECK(here.counted() == 0);
    CHECK(here.dead().empty());
    if (is_orphaned) CHECK_THAT(here.shown("w-e1"), Catch::Contains(R"("n":3)"));
  }
  CHECK(orphans > 0);
}

TEST_CASE("letters are counted while one is edited", "[actors][binding]") {
  edited_node here;
  const auto asked = here.edit();
  // Before it has its place, and without taking that from it.
  for (int i = 0; i < 8 && !here.broker.got.answered.contains(asked); ++i) {
    here.commit();
    (void)here.broker.ask(get_binding{here.binding()});
    (void)here.broker.ask(list_binding_dead{here.binding()});
    here.broker.run();
  }
  here.broker.settle();
  REQUIRE(here.broker.got.answered.contains(asked));
  CHECK(here.broker.got.answered.at(asked));
  CHECK(here.dead() == std::vector<std::uint64_t>{2});
  CHECK(here.counted() == 1);
}

TEST_CASE(
    "a letter that is written after its edit was given up does not count", "[actors][binding]") {
  std::size_t orphans = 0;
  for (int commits = 0; commits < 8; ++commits) {
    INFO("the disk is slow after commit " << commits);
    edited_node here;
    const auto asked = here.edit();
    for (int i = 0; i < commits; ++i)
      here.commit();
    if (here.broker.got.answered.contains(asked)) break;
    for (int i = 0; i < 50; ++i) {
      here.broker.tick(500ms);
      here.broker.run();
    }
    REQUIRE(here.broker.got.answered.contains(asked));
    (void)here.broker.ask(get_binding{here.binding()});
    here.broker.run();
    here.broker.settle();
    here.broker.advance(1s);
    CHECK(here.counted() == 1);
    REQUIRE(here.dead().size() == 1);
    orphans += here.dead().front() == 1 && here.written() == 2 ? 1 : 0;
  }
  CHECK(orphans > 0);
}

}  // namespace callboard::testing
