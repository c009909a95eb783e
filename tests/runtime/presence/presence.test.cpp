#include "proto/event.pb.h"
#include "proto/journal.pb.h"
#include "runtime/presence/presence_codec.hpp"
#include "runtime/presence/presence_core.hpp"
#include "runtime/presence/presence_projection.hpp"

#include "tests/support/catch.hpp"

#include <map>
#include <random>

namespace callboard::runtime {

namespace {

using namespace std::chrono_literals;

constexpr presence_limits limits{30s, 15s, 3};
constexpr boot_time start = 1h;

std::vector<presence_event> kinds(const presence_batch& batch) {
  std::vector<presence_event> all;
  for (const auto& change : batch.changes)
    all.push_back(change.what);
  return all;
}

presence_core joined_core() {
  presence_core core{limits, {}, 10, start};
  REQUIRE(core.join("ann", R"({"typing":true})", start));
  CHECK(kinds(core.take_changes()) == std::vector{presence_event::joined});
  return core;
}

bool present(const presence_core& core) {
  const auto list = core.list();
  REQUIRE(list.size() == 1);
  return list.front().present;
}

class map_writer final : public storage::view_writer {
public:
  void put(storage::view_id, std::string_view key, std::string_view value) override {
    rows[std::string{key}] = value;
  }

  void erase(storage::view_id, std::string_view key) override { rows.erase(std::string{key}); }

  void erase_range(storage::view_id, std::string_view first, std::string_view last) override {
    rows.erase(rows.lower_bound(std::string{first}), rows.lower_bound(std::string{last}));
  }

  std::optional<std::string> get(storage::view_id, std::string_view key) override {
    const auto it = rows.find(std::string{key});
    return it == rows.end() ? std::nullopt : std::optional{it->second};
  }

  void report_damage(const storage::record&, const error& why) override { damage = why; }

  std::map<std::string, std::string> rows;
  std::optional<error> damage;
};

}  // namespace

TEST_CASE("a split shorter than lease and grace is seen by nobody", "[runtime][presence]") {
  auto core = joined_core();
  core.leave("ann", true, start + 1s);
  CHECK_FALSE(present(core));
  core.tick(start + 1s + 14s);
  CHECK_FALSE(core.has_changes());
  REQUIRE(core.join("ann", R"({"typing":true})", start + 15s));
  CHECK(present(core));
  CHECK_FALSE(core.has_changes());
  core.tick(start + 44s);
  CHECK(present(core));
}

TEST_CASE("a lease that runs out makes unknown, then left exactly once", "[runtime][presence]") {
  auto core = joined_core();
  core.tick(start + 30s);
  CHECK_FALSE(present(core));
  CHECK_FALSE(core.has_changes());
  core.tick(start + 45s - 1ns);
  CHECK_FALSE(core.has_changes());
  core.tick(start + 45s);
  const auto batch = core.take_changes();
  CHECK(kinds(batch) == std::vector{presence_event::left});
  CHECK(batch.left == std::vector<std::string>{"ann"});
  core.leave("ann", false, start + 46s);
  core.tick(start + 10min);
  CHECK_FALSE(core.has_changes());
  CHECK(core.renew("ann", start + 10min).error().code == errc::not_found);
  CHECK(core.empty());
}

TEST_CASE("a late tick does not prolong the grace", "[runtime][presence]") {
  auto core = joined_core();
  core.tick(start + 5min);
  CHECK(core.has_changes());
  CHECK(core.list().empty());
}

TEST_CASE("a renewal within the grace brings a member back silently", "[runtime][presence]") {
  auto core = joined_core();
  core.tick(start + 31s);
  REQUIRE(core.renew("ann", start + 44s));
  core.tick(start + 73s);
  CHECK(present(core));
  CHECK_FALSE(core.has_changes());
}

TEST_CASE("vanishing twice does not prolong the grace", "[runtime][presence]") {
  auto core = joined_core();
  core.leave("ann", true, start + 1s);
  core.leave("ann", true, start + 10s);
  core.tick(start + 16s);
  CHECK(core.list().empty());
}

TEST_CASE(
    "after a restart members are unknown until they come or the grace ends",
    "[runtime][presence]") {
  presence_core core{limits, {{"ann", "{}", 4, true}, {"bob", "{}", 7, true}}, 100, start};
  REQUIRE(core.list().size() == 2);
  CHECK_FALSE(core.list()[0].present);
  REQUIRE(core.join("ann", "{}", start + 5s));
  CHECK_FALSE(core.has_changes());
  core.tick(start + 15s);
  const auto batch = core.take_changes();
  CHECK(batch.version == 101);
  CHECK(batch.left == std::vector<std::string>{"bob"});
  CHECK(present(core));
}

TEST_CASE("an explicit leave is at once, and updates are told", "[runtime][presence]") {
  auto core = joined_core();
  REQUIRE(core.join("ann", R"({"typing":false})", start));
  core.leave("ann", false, start);
  const auto batch = core.take_changes();
  CHECK(kinds(batch) == std::vector{presence_event::updated, presence_event::left});
  // The record tells the end of it, not the way.
  CHECK(batch.joined_or_updated.empty());
  CHECK(batch.left.size() == 1);
}

TEST_CASE("presence refuses what breaks its bounds", "[runtime][presence]") {
  auto core = joined_core();
  CHECK(core.join("", "{}", start).error().code == errc::bad_request);
  CHECK(core.join(std::string(256, 'x'), "{}", start).error().code == errc::bad_request);
  CHECK(core.join("x", "[]", start).error().code == errc::bad_request);
  CHECK(core.join("x", '{' + std::string(5000, ' '), start).error().code == errc::too_large);
  REQUIRE(core.join("bob", "", start));
  REQUIRE(core.join("cyd", "", start));
  CHECK(core.join("dan", "", start).error().code == errc::overloaded);
  REQUIRE(core.join("cyd", R"({"a":1})", start));
}

TEST_CASE(
    "every member joins once and leaves once in any schedule", "[runtime][presence][property]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random{seed};
  for (int round = 0; round < 50; ++round) {
    presence_core core{limits, {}, 0, start};
    auto now = start;
    std::map<std::string, bool> here;
    std::map<std::string, boot_time> last_sign;
    std::uint64_t version = 0;
    for (int step = 0; step < 300; ++step) {
      now += std::chrono::milliseconds{random() % 9000};
      core.tick(now);
      const std::string who(1, static_cast<char>('a' + random() % 3));
      const auto action = random() % 4;
      if (action == 0 && core.join(who, "{}", now)) last_sign[who] = now;
      if (action == 1 && core.renew(who, now)) last_sign[who] = now;
      if (action == 2) core.leave(who, random() % 2 == 0, now);
      if (random() % 2 == 0) continue;
      if (!core.has_changes()) continue;
      const auto batch = core.take_changes();
      REQUIRE(batch.version > version);
      version = batch.version;
      for (const auto& change : batch.changes) {
        auto& is_here = here[change.member];
        REQUIRE(is_here == (change.what != presence_event::joined));
        is_here = change.what != presence_event::left;
      }
      for (const auto& one : core.list()) {
        REQUIRE(here[one.member]);
        REQUIRE(now - last_sign[one.member] < limits.lease + limits.grace);
      }
    }
  }
}

TEST_CASE("presence rows follow the records", "[runtime][presence]") {
  map_writer view;
  const topic_ref topic{tenant_name::trusted("acme"), topic_name::trusted("room")};
  storage::record record;
  record.kind = storage::record_kind::presence_changed;
  record.entity = entity_id{5};
  presence_batch batch;
  batch.joined_or_updated = {{"ann", R"({"a":1})", 8, true}, {"bob", "{}", 8, true}};
  record.payload = shared_bytes{encode_presence_changed(topic, batch)};
  apply_presence_record(record, view);
  REQUIRE(view.rows.size() == 3);
  CHECK(*decode_presence_topic(view.rows.at(presence_topic_key(entity_id{5}))) == topic);
  const auto ann = decode_presence_member(view.rows.at(presence_member_key(entity_id{5}, "ann")));
  CHECK(*ann == presence_entry{"ann", R"({"a":1})", 8, false});
  const auto key = parse_presence_key(presence_member_key(entity_id{5}, "ann"));
  CHECK(key->entity == entity_id{5});
  CHECK(key->member == "ann");

  record.payload = shared_bytes{encode_presence_changed(topic, {9, {}, {}, {"ann"}})};
  apply_presence_record(record, view);
  CHECK(view.rows.size() == 2);
  // Nobody is called so; in a damaged store it must not take the topic's row.
  for (const auto& nobody :
       {presence_batch{10, {}, {{"", "{}", 10, true}}, {}}, presence_batch{11, {}, {}, {""}}}) {
    record.payload = shared_bytes{encode_presence_changed(topic, nobody)};
    apply_presence_record(record, view);
    CHECK(decode_presence_topic(view.rows.at(presence_topic_key(entity_id{5}))) == topic);
  }
  record.kind = storage::record_kind::topic_deleted;
  apply_presence_record(record, view);
  CHECK(view.rows.empty());
}

TEST_CASE("what presence no longer needs is bounded by who is there", "[runtime][presence]") {
  const topic_ref topic{tenant_name::trusted("acme"), topic_name::trusted("room")};
  std::mt19937 random{7};
  presence_core core{{1h, 1h, 200}, {}, 10, start};
  std::vector<storage::record> records;
  lsn dead_before{};
  std::size_t longest = 0;
  for (std::uint64_t at = 1; at <= 10'000; ++at) {
    // A few change all the time, the others hardly ever.
    const auto number = random() % 20 == 0 ? random() % 200 : random() % 5;
    const auto name = "m" + std::to_string(number);
    if (random() % 50 == 0) {
      core.leave(name, false, start);
    } else {
      REQUIRE(core.join(name, R"({"n":)" + std::to_string(at) + "}", start));
    }
    if (!core.has_changes()) continue;
    const auto batch = core.take_changes();
    storage::record record;
    record.kind = batch.dead_before == lsn{} ? storage::record_kind::presence_changed
                                             : storage::record_kind::presence_restated;
    record.lsn = lsn{at};
    record.entity = entity_id{5};
    record.payload = shared_bytes{encode_presence_changed(topic, batch)};
    CHECK(batch.dead_before >= (batch.dead_before == lsn{} ? lsn{} : dead_before));
    records.push_back(std::move(record));
    core.committed(lsn{at});
    if (batch.dead_before == lsn{}) continue;
    dead_before = batch.dead_before;
    std::erase_if(records, [&](const auto& one) { return one.lsn < dead_before; });
    longest = std::max(longest, records.size());
    map_writer view;
    for (const auto& one : records)
      apply_presence_record(one, view);
    auto expected = core.list();
    REQUIRE(view.rows.size() == expected.size() + 1);
    for (auto& one : expected) {
      one.present = false;
      const auto row = view.rows.at(presence_member_key(entity_id{5}, one.member));
      REQUIRE(*decode_presence_member(row) == one);
    }
  }
  CHECK(dead_before > lsn{7000});
  CHECK(longest < 1300);
}

TEST_CASE("who leaves brings nobody into the record", "[runtime][presence]") {
  std::vector<presence_entry> known;
  for (int n = 0; n < 40; ++n)
    known.push_back({"m" + std::to_string(100 + n), "{}", 4, true});
  presence_core core{{30s, 15s, 100}, known, 100, start};
  const auto leave = [&](const std::string& name) {
    core.leave(name, false, start);
    const auto batch = core.take_changes();
    core.committed(lsn{batch.version});
    CHECK(batch.left == std::vector<std::string>{name});
    return batch.joined_or_updated.empty() && batch.dead_before == lsn{};
  };
  CHECK(leave("m100"));
  // A join begins to write all again; who leaves meanwhile is still alone.
  REQUIRE(core.join("new", "{}", start));
  CHECK(core.take_changes().joined_or_updated.size() == 1 + 16);
  core.committed(lsn{200});
  CHECK(leave("m139"));
  REQUIRE(core.join("new", R"({"n":2})", start));
  CHECK(core.take_changes().joined_or_updated.size() == 1 + 16);
  REQUIRE(core.join("new", R"({"n":3})", start));
  CHECK(core.take_changes().dead_before == lsn{200});
}

TEST_CASE("what is written again with many changes is bounded in bytes", "[runtime][presence]") {
  const auto state = [](char fill) { return R"({"s":")" + std::string(4000, fill) + R"("})"; };
  std::vector<presence_entry> known;
  for (int n = 0; n < 2000; ++n)
    known.push_back({"m" + std::to_string(1000 + n), state('a'), 4, true});
  presence_core core{{30s, 15s, 2000}, known, 100, start};
  // The first half of them changes again and again; all are written again all the same.
  lsn dead_before{};
  for (char round = 'b'; round < 'z' && dead_before == lsn{}; ++round) {
    for (int n = 0; n < 1000; ++n)
      REQUIRE(core.join("m" + std::to_string(1000 + n), state(round), start));
    const auto batch = core.take_changes();
    CHECK(batch.joined_or_updated.size() < 1000 + 300);
    core.committed(lsn{batch.version});
    dead_before = batch.dead_before;
  }
  CHECK(dead_before == lsn{101});
}

TEST_CASE("a presence event is a CloudEvent about its member", "[runtime][presence]") {
  const auto made = make_presence_event(
      topic_name::trusted("room.1"), {presence_event::updated, "a\"b", R"({"x":1})"}, 12, "id-1");
  v1::Event event;
  const auto proto = event_proto(made.stored);
  REQUIRE(event.ParseFromArray(proto.data(), static_cast<int>(proto.size())));
  CHECK(event.type() == "presence.updated");
  CHECK(event.source() == "/presence/room.1");
  CHECK(event.subject() == "a\"b");
  CHECK(event.json() == R"({"member":"a\"b","state":{"x":1},"version":12})");
}

}  // namespace callboard::runtime
