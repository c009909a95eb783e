#include "runtime/group/delivery_token.hpp"
#include "runtime/group/group_codec.hpp"
#include "runtime/group/group_projection.hpp"

#include "tests/support/catch.hpp"

#include <map>

namespace callboard::runtime {

namespace {

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

group_definition definition(const std::string& topic, const std::string& group) {
  group_definition made;
  made.topic = {tenant_name::trusted("acme"), topic_name::trusted(topic)};
  made.group = group_name::trusted(group);
  made.topic_entity = entity_id{7};
  made.start_after = sequence{3};
  made.settings.hold_ms = 1234;
  return made;
}

storage::record record_of(storage::record_kind kind, std::uint64_t lsn, std::string payload) {
  storage::record record;
  record.kind = kind;
  record.lsn = callboard::lsn{lsn};
  record.payload = shared_bytes{std::move(payload)};
  return record;
}

}  // namespace

TEST_CASE("a token is read back only as it was written", "[runtime][group]") {
  const delivery_token token{sequence{0x1234}, 20, 0xdeadbeef};
  CHECK(format_token(token) == "1234.14.deadbeef");
  CHECK(parse_token("1234.14.deadbeef") == token);
  for (const auto* bad :
       {"",
        "1234",
        "1234.14",
        "1234.14.",
        "1234.14.DEADBEEF",
        "01234.14.deadbeef",
        "1234.14.deadbeef0",
        "1234.14.deadbeef ",
        "-1.1.1",
        "1..1"}) {
    INFO(bad);
    CHECK_FALSE(parse_token(bad));
  }
}

TEST_CASE("a ledger survives its snapshot", "[runtime][group]") {
  group_progress progress;
  progress.nonce = 9;
  progress.delivered = {{sequence{1}, sequence{6}}};
  progress.acked = {{sequence{2}, sequence{2}}, {sequence{4}, sequence{5}}};
  progress.pending = {
      {sequence{3}, 2, time_ms{std::chrono::milliseconds{50}}, {{1, {}, "m", "nack", "why"}}, 0}};
  group_ledger ledger;
  ledger.apply(progress);
  const auto back = decode_group_snapshot(encode_group_snapshot(ledger, {}));
  REQUIRE(back);
  CHECK(*back == ledger);
  CHECK(back->pending().at(sequence{1}).nonce == 9);
  CHECK(back->lag(sequence{10}) == 7);
}

TEST_CASE("what was replaced is settled with what has its place", "[runtime][group]") {
  group_progress progress;
  progress.acked = {{sequence{2}, sequence{3}}};
  progress.replaced = {{sequence{7}, sequence{2}}};
  const auto read = decode_group_progress(encode_group_progress(progress));
  REQUIRE(read);
  CHECK(read->replaced == progress.replaced);
  group_ledger ledger;
  ledger.apply(*read);
  auto back = decode_group_snapshot(encode_group_snapshot(ledger, {}));
  REQUIRE(back);
  CHECK(*back == ledger);
  CHECK_FALSE(back->is_settled(sequence{2}));
  CHECK(back->is_settled(sequence{3}));
  progress = {};
  progress.acked = {{sequence{7}, sequence{7}}};
  back->apply(progress);
  CHECK(back->is_settled(sequence{2}));
  CHECK(back->roots().empty());
}

TEST_CASE("a text that is no UTF-8 makes no record unreadable", "[runtime][group]") {
  group_progress progress;
  progress.pending = {{sequence{3}, 2, {}, {{1, {}, "\xff", "nack", "\xc3"}}, 0}};
  const auto back = decode_group_progress(encode_group_progress(progress));
  REQUIRE(back);
  CHECK(back->pending == progress.pending);
}

TEST_CASE("a group that cannot be read is damage", "[runtime][group]") {
  map_writer view;
  apply_group_record(record_of(storage::record_kind::group_created, 10, "\xff"), view);
  REQUIRE(view.damage);
  CHECK(view.damage->code == errc::corruption);
}

TEST_CASE("unreadable bytes are corruption", "[runtime][group]") {
  CHECK(decode_group_progress("\xff\xff").error().code == errc::corruption);
  CHECK(decode_group_snapshot("\xff\xff").error().code == errc::corruption);
  CHECK(decode_group_row("\xff\xff").error().code == errc::corruption);
}

TEST_CASE("the catalogue follows groups from creation to their topic's end", "[runtime][group]") {
  using storage::record_kind;
  map_writer view;
  const auto first = definition("orders", "billing");
  auto second = definition("orders", "audit");
  const auto other = definition("orders.eu", "billing");
  apply_group_record(record_of(record_kind::group_created, 10, encode_group_created(first)), view);
  apply_group_record(record_of(record_kind::group_created, 11, encode_group_created(second)), view);
  apply_group_record(record_of(record_kind::group_created, 12, encode_group_created(other)), view);
  REQUIRE(view.rows.size() == 3);
  const auto row = decode_group_row(view.rows.at(group_row_key(first.topic, first.group)));
  REQUIRE(row);
  CHECK(row->entity == entity_id{10});
  CHECK(row->topic_entity == entity_id{7});
  CHECK(row->start_after == sequence{3});
  CHECK(row->settings == first.settings);

  second.settings.deliveries_max = 2;
  apply_group_record(
      record_of(record_kind::group_configured, 13, encode_group_configured(second)), view);
  const auto changed = decode_group_row(view.rows.at(group_row_key(second.topic, second.group)));
  CHECK(changed->settings.deliveries_max == 2);
  CHECK(changed->entity == entity_id{11});

  auto deletion = record_of(record_kind::group_deleted, 14, encode_group_deleted(second));
  // Of one that had the name before.
  deletion.entity = entity_id{9};
  apply_group_record(deletion, view);
  CHECK(view.rows.size() == 3);
  deletion.entity = entity_id{11};
  apply_group_record(deletion, view);
  REQUIRE(view.rows.size() == 2);
  CHECK_FALSE(view.rows.contains(group_row_key(second.topic, second.group)));
}

}  // namespace callboard::runtime
