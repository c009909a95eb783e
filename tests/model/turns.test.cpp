// Who may wait at a provider, and whose turn it is there.
#include "model/turn_queue.hpp"
#include "model/waiting_room.hpp"

#include "tests/support/catch.hpp"

#include <string>
#include <vector>

using namespace callboard::model;

namespace {

std::vector<std::uint64_t> taken(turn_queue& from) {
  std::vector<std::uint64_t> all;
  while (const auto id = from.take([](const std::string&) { return true; }))
    all.push_back(id->raw());
  return all;
}

}  // namespace

TEST_CASE("tenants take turns, the calls of each the oldest first", "[model][turns]") {
  turn_queue queue;
  for (const std::uint64_t id : {4, 1, 2, 3})
    queue.add("x", "a", call_id{id});
  queue.add("x", "b", call_id{5});
  queue.add("x", "c", call_id{6});
  queue.add("x", "c", call_id{7});
  CHECK(queue.size() == 7);
  CHECK(queue.calls().begin()->raw() == 1);
  CHECK(taken(queue) == std::vector<std::uint64_t>{1, 5, 6, 2, 7, 3, 4});
}

TEST_CASE("who comes to a queue has a turn within one round", "[model][turns]") {
  turn_queue queue;
  for (const std::uint64_t id : {1, 2, 3})
    queue.add("x", "m", call_id{id});
  CHECK(queue.take([](const std::string&) { return true; }) == call_id{1});
  queue.add("x", "a", call_id{4});
  queue.add("x", "z", call_id{5});
  queue.add("x", "gone", call_id{6});
  queue.remove("x", "gone", call_id{6});
  CHECK(taken(queue) == std::vector<std::uint64_t>{5, 4, 2, 3});
}

TEST_CASE("a model without room holds up no other", "[model][turns]") {
  turn_queue queue;
  queue.add("full", "a", call_id{1});
  queue.add("free", "a", call_id{2});
  queue.add("full", "b", call_id{3});
  queue.add("free", "c", call_id{4});
  queue.add("free", "a", call_id{5});
  const auto free_only = [](const std::string& model) { return model == "free"; };
  for (const std::uint64_t id : {2, 4, 5})
    CHECK(queue.take(free_only) == call_id{id});
  CHECK_FALSE(queue.take(free_only).has_value());
  CHECK(queue.size() == 2);
  // What was taken elsewhere is no turn here.
  CHECK(taken(queue) == std::vector<std::uint64_t>{1, 3});
}

TEST_CASE("turns go by tenant, however many models it asks for", "[model][turns]") {
  turn_queue queue;
  for (std::uint64_t id = 1; id <= 4; ++id)
    queue.add("m" + std::to_string(id), "a", call_id{id});
  queue.add("m1", "b", call_id{5});
  queue.add("m9", "b", call_id{6});
  CHECK(taken(queue) == std::vector<std::uint64_t>{1, 6, 2, 5, 3, 4});
}

TEST_CASE("turns at one model are no turns at another", "[model][turns]") {
  turn_queue queue;
  std::uint64_t last = 0;
  const auto add = [&](const char* model, const char* tenant) {
    queue.add(model, tenant, call_id{++last});
    return call_id{last};
  };
  for (int i = 0; i < 10; ++i)
    (void)add("slow", "a");
  const auto waits = add("slow", "b");
  // `slow` has room once in three turns of `fast`, whose tenant's name lies behind.
  std::size_t opened = 0;
  for (std::optional<call_id> at_slow; at_slow != waits; ++opened) {
    REQUIRE(opened < 2);
    for (int i = 0; i < 3; ++i) {
      const auto fast = add("fast", "c");
      CHECK(queue.take([](const std::string& model) { return model == "fast"; }) == fast);
    }
    at_slow = queue.take([](const std::string& model) { return model == "slow"; });
  }
}

TEST_CASE(
    "who waits behind a tenant does not wait for what that asks elsewhere", "[model][turns]") {
  turn_queue queue;
  for (std::uint64_t id = 1; id <= 10; ++id)
    queue.add("x", "a", call_id{id});
  queue.add("y", "a", call_id{11});
  queue.add("y", "b", call_id{12});
  CHECK(taken(queue) == std::vector<std::uint64_t>{1, 11, 12, 2, 3, 4, 5, 6, 7, 8, 9, 10});
}

TEST_CASE("who comes anew gets no turn before those that wait", "[model][turns]") {
  turn_queue queue;
  const auto any = [](const std::string&) { return true; };
  queue.add("y", "c", call_id{100});
  queue.add("y", "c", call_id{101});
  CHECK(queue.take(any) == call_id{100});
  // Each of these has one call at a time.
  queue.add("x", "a", call_id{1});
  queue.add("x", "b", call_id{2});
  CHECK(queue.take(any) == call_id{1});
  queue.add("x", "a", call_id{3});
  CHECK(queue.take(any) == call_id{101});
  CHECK(queue.take(any) == call_id{2});
}

TEST_CASE("a waiting room is bounded in calls and bytes, for each tenant too", "[model][turns]") {
  waiting_room room{{.calls_max = 10, .bytes_max = 1000, .tenant_percent = 30}};
  for (int i = 0; i < 3; ++i)
    CHECK(room.enter("a", 10));
  CHECK_FALSE(room.enter("a", 10));
  CHECK(room.enter("b", 250));
  CHECK_FALSE(room.enter("b", 60));
  CHECK(room.enter("b", 50));
  room.leave("a", 10);
  CHECK(room.enter("a", 10));
  // What comes back fits, and counts.
  room.come_back("a", 10);
  room.leave("a", 10);
  CHECK_FALSE(room.enter("a", 10));

  SECTION("of which one call always fits") {
    waiting_room small{{.calls_max = 1, .bytes_max = 10, .tenant_percent = 1}};
    CHECK(small.enter("a", 100));
    CHECK_FALSE(small.enter("b", 1));
    small.leave("a", 100);
    CHECK(small.enter("b", 1));
  }
  SECTION("and what all have together") {
    CHECK(room.enter("c", 300));
    CHECK_FALSE(room.enter("d", 400));
    for (const auto* tenant : {"d", "e", "f", "g"})
      CHECK(room.enter(tenant, 1));
    CHECK_FALSE(room.enter("h", 1));
  }
}
