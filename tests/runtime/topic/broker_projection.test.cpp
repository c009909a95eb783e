#include "runtime/topic/broker_projection.hpp"

#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/run_row.hpp"

#include "tests/runtime/topic/core_fixture.hpp"
#include "tests/support/catch.hpp"

#include <map>

using namespace callboard;
using namespace callboard::runtime;
using storage::record;
using storage::record_kind;
using storage::view_id;

namespace {

class map_writer final : public storage::view_writer {
public:
  void put(view_id view, std::string_view key, std::string_view value) override {
    rows[{view, std::string{key}}] = value;
  }

  void erase(view_id view, std::string_view key) override { rows.erase({view, std::string{key}}); }

  void erase_range(view_id view, std::string_view first, std::string_view last) override {
    ++ranges;
    rows.erase(
        rows.lower_bound({view, std::string{first}}), rows.lower_bound({view, std::string{last}}));
  }

  std::optional<std::string> get(view_id view, std::string_view key) override {
    const auto found = rows.find({view, std::string{key}});
    if (found == rows.end()) return std::nullopt;
    return found->second;
  }

  void report_damage(const record&, const error& why) override { damage = why; }

  std::map<std::pair<view_id, std::string>, std::string> rows;
  std::optional<error> damage;
  std::size_t ranges = 0;
};

const topic_ref name{tenant_name::trusted("acme"), topic_name::trusted("events")};

record make_record(std::uint64_t at, record_kind kind, std::uint64_t seq, shared_bytes payload) {
  return {
      .lsn = lsn{at},
      .time = time_ms{std::chrono::milliseconds{1000 + at}},
      .entity = entity_id{1},
      .entity_seq = sequence{seq},
      .kind = kind,
      .payload = std::move(payload)};
}

std::vector<record> history() {
  std::vector<record> all;
  all.push_back(make_record(1, record_kind::topic_created, 0, encode_topic_created(name, {})));
  for (std::uint64_t i = 1; i <= 6; ++i) {
    all.push_back(
        make_record(1 + i, record_kind::event, i, testing::make_event(std::to_string(i)).stored));
  }
  all.push_back(make_record(8, record_kind::trimmed, 6, encode_trimmed(sequence{2}, 50)));
  topic_settings changed;
  changed.retention_events = 9;
  all.push_back(
      make_record(9, record_kind::topic_configured, 6, encode_topic_configured(name, changed)));
  return all;
}

}  // namespace

TEST_CASE("views tell a topic's settings, counters and ids", "[projection]") {
  map_writer out;
  const auto all = history();
  broker_projection{}.apply(all, out);
  const auto key = catalogue_key(name);
  const auto value = out.get(view_id::catalogue, key);
  REQUIRE(value);
  const auto row = decode_catalogue_row(key, *value);
  REQUIRE(row);
  CHECK(row->name == name);
  CHECK(row->entity == entity_id{1});
  CHECK(row->settings.retention_events == 9);
  const auto counters = decode_counters(*out.get(view_id::topic_state, entity_key(entity_id{1})));
  CHECK(counters.last_seq == sequence{6});
  CHECK(counters.trimmed_up_to == sequence{2});
  CHECK(counters.bytes == 6 * 25 - 50);
}

TEST_CASE("counters do not depend on how records were cut into blocks", "[projection]") {
  const auto all = history();
  map_writer whole;
  broker_projection{}.apply(all, whole);
  map_writer single;
  for (const auto& one : all)
    broker_projection{}.apply({&one, 1}, single);
  const auto counters = [](map_writer& out) {
    return *out.get(view_id::topic_state, entity_key(entity_id{1}));
  };
  CHECK(counters(whole) == counters(single));
  CHECK(
      *whole.get(view_id::catalogue, catalogue_key(name))
      == *single.get(view_id::catalogue, catalogue_key(name)));
}

TEST_CASE("a deleted topic leaves no row behind", "[projection]") {
  map_writer out;
  auto all = history();
  all.push_back(
      make_record(10, record_kind::topic_deleted, 6, encode_topic_deleted(name, sequence{6})));
  broker_projection{}.apply(all, out);
  CHECK(out.rows.empty());
}

namespace {

record event_at(std::uint64_t seq, std::chrono::seconds time) {
  auto event = make_record(
      1 + seq, record_kind::event, seq, testing::make_event(std::to_string(seq)).stored);
  event.time = time_ms{time};
  return event;
}

std::vector<std::uint64_t> dedupe_rows(map_writer& out) {
  std::vector<std::uint64_t> firsts;
  for (const auto& [key, value] : out.rows) {
    if (key.first != view_id::dedupe) continue;
    const auto row = dedupe_row::read(key.second, value);
    REQUIRE(row);
    firsts.push_back(row->first().raw());
  }
  return firsts;
}

}  // namespace

TEST_CASE("the progress of no workflow makes no row", "[projection]") {
  for (const auto* topic : {"", "events", "workflow"}) {
    workflow_progress progress;
    progress.channel = {name.tenant, topic_name::trusted(topic)};
    progress.row.needs_wake = true;
    const auto payload = encode_workflow_progress(progress);
    CHECK_FALSE(decode_workflow_progress(payload.view()));
    map_writer out;
    const auto one = make_record(1, record_kind::workflow_progress, 1, payload);
    broker_projection{}.apply({&one, 1}, out);
    CHECK(out.rows.empty());
  }
}

TEST_CASE("a dedupe row has the ids of a block and goes with its window", "[projection]") {
  map_writer out;
  topic_settings settings;
  settings.dedupe_window_s = 10;
  const std::vector<record> made{
      make_record(1, record_kind::topic_created, 0, encode_topic_created(name, settings))};
  broker_projection{}.apply(made, out);
  const std::vector<record> first{
      event_at(1, std::chrono::seconds{100}), event_at(2, std::chrono::seconds{100})};
  broker_projection{}.apply(first, out);
  const auto key = dedupe_key(entity_id{1}, sequence{1});
  const auto value = out.get(view_id::dedupe, key);
  REQUIRE(value);
  const auto row = dedupe_row::read(key, *value);
  REQUIRE(row);
  REQUIRE(row->count() == 2);
  CHECK(row->time() == time_ms{std::chrono::seconds{100}});
  CHECK(row->entry(1) == testing::make_event("2").stored.view().substr(0, 24));

  std::uint64_t seq = 3;
  for (const int time : {101, 102, 103, 104, 110}) {
    const std::vector<record> block{event_at(seq++, std::chrono::seconds{time})};
    broker_projection{}.apply(block, out);
  }
  // Exactly as old as the window is not older.
  CHECK(dedupe_rows(out) == std::vector<std::uint64_t>{1, 3, 4, 5, 6, 7});
  const std::vector<record> later{event_at(8, std::chrono::seconds{113})};
  broker_projection{}.apply(later, out);
  CHECK(dedupe_rows(out) == std::vector<std::uint64_t>{5, 6, 7, 8});
  const std::vector<record> much_later{event_at(9, std::chrono::seconds{500})};
  broker_projection{}.apply(much_later, out);
  CHECK(dedupe_rows(out) == std::vector<std::uint64_t>{9});
}

TEST_CASE(
    "a trim keeps ids for their window, and the last seq when events are gone", "[projection]") {
  map_writer out;
  const std::vector<record> made{
      make_record(1, record_kind::topic_created, 0, encode_topic_created(name, {})),
      event_at(1, std::chrono::seconds{1}),
      event_at(2, std::chrono::seconds{1}),
      make_record(4, record_kind::trimmed, 2, encode_trimmed(sequence{2}, 50))};
  broker_projection{}.apply(made, out);
  CHECK(dedupe_rows(out) == std::vector<std::uint64_t>{1});

  // Views made anew from what is left of the journal.
  map_writer anew;
  const std::vector<record> left{made[0], made[3]};
  broker_projection{}.apply(left, anew);
  const auto counters = decode_counters(*anew.get(view_id::topic_state, entity_key(entity_id{1})));
  CHECK(counters.last_seq == sequence{2});
  CHECK(counters.trimmed_up_to == sequence{2});
}

TEST_CASE("the ids of a topic that fell silent go with its events", "[projection]") {
  map_writer out;
  topic_settings settings;
  settings.dedupe_window_s = 10;
  const auto trim = [](std::uint64_t up_to, std::chrono::seconds time) {
    auto one = make_record(1 + up_to, record_kind::trimmed, 20, encode_trimmed(sequence{up_to}, 1));
    one.time = time_ms{time};
    return one;
  };
  const auto apply = [&](record one) { broker_projection{}.apply({&one, 1}, out); };
  apply(make_record(1, record_kind::topic_created, 0, encode_topic_created(name, settings)));
  for (std::uint64_t seq = 1; seq <= 20; ++seq)
    apply(event_at(seq, std::chrono::seconds{100}));
  apply(trim(5, std::chrono::seconds{110}));
  CHECK(dedupe_rows(out).size() == 20);
  CHECK(out.ranges == 0);
  apply(trim(10, std::chrono::seconds{111}));
  CHECK(dedupe_rows(out).empty());
  apply(trim(15, std::chrono::seconds{112}));
  CHECK(out.ranges == 0);
  apply(event_at(21, std::chrono::seconds{113}));
  apply(event_at(22, std::chrono::seconds{130}));
  CHECK(dedupe_rows(out) == std::vector<std::uint64_t>{22});
  // As a version wrote it that did not know when the newest was.
  auto& state = out.rows.at({view_id::topic_state, entity_key(entity_id{1})});
  state.resize(48);
  apply(trim(22, std::chrono::seconds{500}));
  CHECK(dedupe_rows(out) == std::vector<std::uint64_t>{22});
}

TEST_CASE("ids of a topic go by range only where they are many", "[projection]") {
  map_writer out;
  const auto [events, ranges] =
      GENERATE(table<std::uint64_t, std::size_t>({{0, 0}, {1, 0}, {64, 0}, {65, 1}, {200, 1}}));
  const bool is_deleted = GENERATE(false, true);
  topic_settings settings;
  settings.dedupe_window_s = 10;
  const auto apply = [&](record one) { broker_projection{}.apply({&one, 1}, out); };
  apply(make_record(1, record_kind::topic_created, 0, encode_topic_created(name, settings)));
  for (std::uint64_t seq = 1; seq <= events; ++seq)
    apply(event_at(seq, std::chrono::seconds{100}));
  auto last =
      is_deleted
          ? make_record(
                300,
                record_kind::topic_deleted,
                events,
                encode_topic_deleted(name, sequence{events}))
          : make_record(300, record_kind::trimmed, events, encode_trimmed(sequence{events}, 1));
  last.time = time_ms{std::chrono::seconds{111}};
  apply(last);
  CHECK(dedupe_rows(out).empty());
  CHECK(out.rows.empty() == is_deleted);
  CHECK(out.ranges == ranges);
}

TEST_CASE("a topic without a window has no dedupe rows", "[projection]") {
  map_writer out;
  topic_settings settings;
  settings.dedupe_window_s = 0;
  const std::vector<record> all{
      make_record(1, record_kind::topic_created, 0, encode_topic_created(name, {})),
      event_at(1, std::chrono::seconds{1}),
      make_record(3, record_kind::topic_configured, 1, encode_topic_configured(name, settings)),
      event_at(2, std::chrono::seconds{1})};
  broker_projection{}.apply(all, out);
  CHECK(dedupe_rows(out).empty());
}
