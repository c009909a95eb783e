#include "runtime/topic/broker_projection.hpp"

#include "runtime/topic/topic_codec.hpp"
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

  void erase(view_id view, std::string_view key) override {
    rows.erase({view, std::string{key}});
  }

  void erase_range(view_id view, std::string_view first, std::string_view last) override {
    rows.erase(
        rows.lower_bound({view, std::string{first}}), rows.lower_bound({view, std::string{last}}));
  }

  std::optional<std::string> get(view_id view, std::string_view key) override {
    const auto found = rows.find({view, std::string{key}});
    if (found == rows.end()) return std::nullopt;
    return found->second;
  }

  std::map<std::pair<view_id, std::string>, std::string> rows;
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
    all.push_back(make_record(
        1 + i, record_kind::event, i, testing::make_event(std::to_string(i)).stored));
  }
  all.push_back(make_record(8, record_kind::trimmed, 6, encode_trimmed(sequence{2}, 50)));
  topic_settings changed;
  changed.retention_events = 9;
  all.push_back(
      make_record(9, record_kind::topic_configured, 6, encode_topic_configured(name, changed)));
  return all;
}

} // namespace

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
  for (const auto& one : all) broker_projection{}.apply({&one, 1}, single);
  const auto counters = [](map_writer& out) {
    return *out.get(view_id::topic_state, entity_key(entity_id{1}));
  };
  CHECK(counters(whole) == counters(single));
  CHECK(*whole.get(view_id::catalogue, catalogue_key(name))
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
