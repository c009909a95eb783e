// Index rows that stand for several blocks: what they are, that reads find everything by them, and
// that each of their blocks goes as if it had a row of its own.
#include "storage/index_pass.hpp"
#include "storage/index_row.hpp"
#include "storage/keys.hpp"
#include "storage/offline.hpp"
#include "storage/record_codec.hpp"
#include "storage/stopped_store.hpp"
#include "storage/tail_block.hpp"

#include "tests/storage/upkeep_fixture.hpp"
#include "tests/support/catch.hpp"

#include <rocksdb/write_batch.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <optional>
#include <random>
#include <set>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

namespace {

namespace fs = std::filesystem;

constexpr shard_id shard{0};

/// As every version up to now wrote it.
std::string row_of_one_block(const index_segment& of) {
  std::string row{'\1'};
  append_little(row, of.block.raw());
  append_little(row, of.span);
  append_little(row, std::int64_t{of.time.time_since_epoch().count()});
  append_little(row, of.count);
  return row + std::string{of.runs};
}

/// Each with `runs_size` bytes of runs, far from or close to the one before.
std::vector<index_segment>
some_segments(std::size_t count, std::size_t runs_size, std::mt19937_64& random) {
  static const std::string runs(10'000, 'r');
  std::vector<index_segment> made;
  std::uint64_t number = 1;
  std::uint64_t at = 1;
  for (std::size_t i = 0; i < count; ++i) {
    const auto span = static_cast<std::uint32_t>(1 + random() % 1000);
    const auto gap = random() % 3 == 0 ? random() >> (24 + random() % 40) : random() % 3;
    number += gap;
    at += gap;
    made.push_back(
        {.number = number,
         .block = lsn{at},
         .span = span,
         .time = time_ms{std::chrono::milliseconds{random() % 4'000'000'000'000}},
         .count = static_cast<std::uint32_t>(1 + random() % span),
         .runs = std::string_view{runs}.substr(0, runs_size)});
    number += made.back().count;
    at += span;
  }
  return made;
}

/// What the store says of an entity's blocks.
struct stored_index {
  /// Segments in each row.
  std::vector<std::size_t> rows;
  std::set<std::uint64_t> blocks;
  std::set<std::uint64_t> lsns;
};

stored_index index_of(const std::string& data_dir, entity_id entity, keys::index_class kind) {
  const auto opened = open_stopped(data_dir, open_mode::read_only);
  REQUIRE(opened);
  stored_index found;
  const auto rows = opened->db->iterate(family::index, nullptr, nullptr);
  for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
    const auto key = rows->key().ToStringView();
    if (!keys::is_index_row(key, shard, entity, kind)) continue;
    const auto row = decode_index_row(keys::number_of_index_row(key), rows->value().ToStringView());
    REQUIRE(row);
    found.rows.push_back(row->size());
    for (const auto& segment : *row) {
      found.blocks.insert(segment.block.raw());
      run_reader positions{segment.block, segment.span, segment.runs};
      for (auto at = positions.next(); at; at = positions.next())
        found.lsns.insert(at->raw());
    }
  }
  return found;
}

enum class layout { as_written, row_for_each_block, both };

/// Writes rows of a closed store as earlier versions did: all, or every other one. With `runs`, if
/// any, instead of theirs.
void lay_out(const std::string& data_dir, layout how, const std::optional<std::string>& runs = {}) {
  if (how == layout::as_written) return;
  const auto opened = open_stopped(data_dir, open_mode::read_write);
  REQUIRE(opened);
  rocksdb::WriteBatch changes;
  auto* index = opened->db->handle(family::index);
  const auto rows = opened->db->iterate(family::index, nullptr, nullptr);
  bool is_kept = false;
  for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
    const auto key = rows->key().ToStringView();
    const auto kind = keys::class_of_index_row(key);
    if (kind != keys::index_class::others && kind != keys::index_class::sequenced) continue;
    is_kept = how == layout::both && !is_kept;
    if (is_kept) continue;
    const auto row = decode_index_row(keys::number_of_index_row(key), rows->value().ToStringView());
    REQUIRE(row);
    for (auto segment : *row) {
      if (runs) segment.runs = *runs;
      const auto own = keys::index_row(shard, keys::entity_of_index_row(key), kind, segment.number);
      REQUIRE(changes.Put(index, std::string_view{own}, row_of_one_block(segment)).ok());
    }
  }
  REQUIRE(opened->db->raw().Write(rocksdb::WriteOptions{}, &changes).ok());
  REQUIRE(opened->db->raw().SyncWAL().ok());
}

}  // namespace

TEST_CASE("an index row of one block is as it always was", "[storage][index]") {
  const index_segment segment{
      .number = 7,
      .block = lsn{0x0102030405060708},
      .span = 0x0a0b0c0d,
      .time = time_ms{std::chrono::milliseconds{0x1112131415161718}},
      .count = 3,
      .runs = "runs"};
  std::string row;
  CHECK(encode_new_index_row(row, {&segment, 1}) == 1);
  const std::string expected{
      "\x01\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a"
      "\x18\x17\x16\x15\x14\x13\x12\x11\x03\x00\x00\x00runs",
      29};
  CHECK(row == expected);
  CHECK(row == row_of_one_block(segment));
  CHECK(decode_index_row(7, row).value() == std::vector{segment});
}

TEST_CASE("an index row of many blocks is bounded and read as it was written", "[storage][index]") {
  std::mt19937_64 random{GENERATE(1U, 2U, 3U, 4U)};
  for (const std::size_t runs_size : {0U, 2U, 20U, 300U, 3000U}) {
    const auto segments = some_segments(200, runs_size, random);
    std::string row;
    encode_index_row(row, segments);
    CHECK(decode_index_row(segments.front().number, row).value() == segments);
    std::vector<index_segment> found;
    std::vector<std::string> rows;
    while (found.size() < segments.size()) {
      const auto rest = std::span{segments}.subspan(found.size());
      const auto taken = encode_new_index_row(rows.emplace_back(), rest);
      REQUIRE(taken > 0);
      CHECK(taken <= index_row_segments_max);
      CHECK((taken == 1 || rows.back().size() <= index_row_bytes_max));
      CHECK((taken > 1 || rows.back() == row_of_one_block(rest.front())));
      const auto read = decode_index_row(rest.front().number, rows.back());
      REQUIRE(read);
      REQUIRE(read->size() == taken);
      for (const auto& segment : *read)
        found.push_back(segment);
    }
    CHECK(found == segments);
    if (runs_size <= 2) CHECK(rows.size() == 4);
    if (runs_size == 3000) CHECK(rows.size() == 200);
  }
  for (const std::string bad : {"", "\x01", "\x02", "\x03zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"})
    CHECK_FALSE(decode_index_row(1, bad));
  // Of a second segment that has no records, more than its block, or runs that are not there.
  const std::string first{"\x02\x00\x05\x03\x09\x02\x00", 7};
  const auto ends_with = [&](std::string second) { return decode_index_row(1, first + second); };
  CHECK(ends_with(std::string{"\x00\x00\x03\x00\x02\x00", 6}));
  CHECK_FALSE(ends_with(std::string{"\x00\x00\x03\x00\x00\x00", 6}));
  CHECK_FALSE(ends_with(std::string{"\x00\x00\x03\x00\x04\x00", 6}));
  CHECK_FALSE(ends_with(std::string{"\x00\x00\x03\x00\x02\x01", 6}));
  CHECK_FALSE(ends_with(std::string{"\x00\x00\x03\x00", 4}));
  CHECK_FALSE(decode_index_row(std::numeric_limits<std::uint64_t>::max(), first));
  CHECK_FALSE(
      ends_with(std::string{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x03\x00\x02\x00", 15}));
}

TEST_CASE("an index row of one block is checked as those of many are", "[storage][index]") {
  const index_segment sound{
      .number = 7, .block = lsn{20}, .span = 3, .time = {}, .count = 3, .runs = {}};
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  const auto is_read = [](const index_segment& one) {
    return decode_index_row(one.number, row_of_one_block(one)).has_value();
  };
  const auto changed = [&](auto change) {
    auto one = sound;
    change(one);
    return one;
  };
  CHECK(is_read(sound));
  CHECK_FALSE(is_read(changed([](auto& one) { one.count = 0; })));
  CHECK_FALSE(is_read(changed([](auto& one) { one.count = one.span = 0; })));
  CHECK_FALSE(is_read(changed([](auto& one) { one.count = 4; })));
  CHECK(is_read(changed([](auto& one) { one.number = most - 3; })));
  CHECK_FALSE(is_read(changed([](auto& one) { one.number = most - 2; })));
  CHECK(is_read(changed([](auto& one) { one.block = lsn{most - 3}; })));
  CHECK_FALSE(is_read(changed([](auto& one) { one.block = lsn{most - 2}; })));
  // Of two blocks: the number of its key is that of the first.
  auto second = sound;
  second.number = 10;
  second.block = lsn{30};
  std::string row;
  encode_index_row(row, std::vector{sound, second});
  CHECK(decode_index_row(7, row));
  row[1] = '\1';
  CHECK_FALSE(decode_index_row(7, row));
}

TEST_CASE("what damage put in disorder has rows that can be read", "[storage][index]") {
  const auto segment = [](std::uint64_t number, std::uint64_t block) {
    return index_segment{
        .number = number, .block = lsn{block}, .span = 5, .time = {}, .count = 3, .runs = {}};
  };
  // The third has a sequence of the second, the fifth an lsn of the fourth; the sixth lies before.
  const std::vector segments{
      segment(1, 10),
      segment(4, 15),
      segment(6, 20),
      segment(9, 30),
      segment(12, 34),
      segment(20, 5)};
  std::vector<index_segment> found;
  std::vector<std::size_t> sizes;
  std::string row;
  while (found.size() < segments.size()) {
    const auto rest = std::span{segments}.subspan(found.size());
    sizes.push_back(encode_new_index_row(row, rest));
    const auto read = decode_index_row(rest.front().number, row);
    REQUIRE(read);
    found.insert(found.end(), read->begin(), read->end());
  }
  CHECK(found == segments);
  CHECK(sizes == std::vector<std::size_t>{2, 2, 1, 1});
}

TEST_CASE("runs of lsns end with their block", "[storage][index]") {
  const auto lsns_of =
      [](lsn block, std::uint32_t span, std::initializer_list<std::uint64_t> runs) {
        std::string bytes;
        for (const auto one : runs)
          append_varint(bytes, one);
        run_reader positions{block, span, bytes};
        std::vector<std::uint64_t> found;
        for (auto at = positions.next(); at && found.size() < 100; at = positions.next())
          found.push_back(at->raw());
        return found;
      };
  using lsns = std::vector<std::uint64_t>;
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  CHECK(lsns_of(lsn{10}, 6, {0, 2, 1, 3}) == lsns{10, 11, 13, 14, 15});
  CHECK(lsns_of(lsn{10}, 5, {0, 2, 1, 3}) == lsns{10, 11});
  CHECK(lsns_of(lsn{10}, 6, {0, 7}) == lsns{});
  CHECK(lsns_of(lsn{10}, 6, {6, 1}) == lsns{});
  CHECK(lsns_of(lsn{10}, 6, {0, most}) == lsns{});
  // Back to the start of the block, and before it.
  CHECK(lsns_of(lsn{10}, 6, {0, 1, most, 1}) == lsns{10});
  CHECK(lsns_of(lsn{10}, 6, {most - 8, 5}) == lsns{});
  CHECK(lsns_of(lsn{most - 6}, 6, {5, 1, 0, 1}) == lsns{most - 1});
}

TEST_CASE("an index row whose runs are wrong is damage", "[storage][index]") {
  upkeep_fixture f{passes::of_all_there_is};
  f.open();
  const auto topic = f.make_topic(shard, "t");
  for (std::uint64_t seq = 1; seq <= 9; seq += 3)
    REQUIRE(f.append(
        shard, {event(topic, seq, "a"), event(topic, seq + 1, "b"), event(topic, seq + 2, "c")}));
  f.wait_no_reclaim();
  f.close();
  const std::string wrong = GENERATE(
      std::string{"\0\2", 2},
      std::string{"\0\4", 2},
      // Before the block.
      std::string{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\3", 11});
  lay_out(f.settings.data_dir, layout::row_for_each_block, wrong);
  f.open();
  const auto read = f.read(shard, topic);
  REQUIRE_FALSE(read);
  CHECK(read.error().code == errc::quarantined);
  CHECK_THAT(read.error().detail, Catch::Contains("the index of entity"));
}

TEST_CASE("a block that cannot be projected leaves nothing in the pass", "[storage][index]") {
  journal_fixture f;
  f.open();
  f.close();
  const auto opened = open_stopped(f.settings.data_dir, open_mode::read_write);
  REQUIRE(opened);
  const auto add = [](index_pass& to, std::uint64_t first) {
    tail_block block;
    block.shard = shard;
    block.first = lsn{first};
    block.span = 2;
    for (const bool is_sequenced : {true, false}) {
      to.add(
          block,
          {.entity = entity_id{1},
           .is_sequenced = is_sequenced,
           .first = first,
           .count = 1,
           .runs = std::string(first, 'r')});
    }
  };
  const auto changes_of = [&](index_pass& pass) {
    rocksdb::WriteBatch batch;
    pass.write(*opened->db, batch);
    return std::pair{batch.Count(), batch.Data()};
  };
  index_pass all;
  index_pass without;
  for (const std::uint64_t first : {3U, 5U, 7U}) {
    add(all, first);
    if (first == 5) {
      all.drop_block();
      continue;
    }
    all.keep_block();
    add(without, first);
    without.keep_block();
  }
  CHECK(changes_of(all) == changes_of(without));
  CHECK(changes_of(all).first == 2);
  all.reset();
  CHECK(changes_of(all).first == 0);
}

TEST_CASE("what a pass made of a topic is one row, and read from anywhere", "[storage][index]") {
  upkeep_fixture f{passes::of_all_there_is};
  f.open();
  const auto topic = f.make_topic(shard, "t");
  const auto other = f.make_topic(shard, "other");
  std::vector<std::string> sent;
  std::vector<time_ms> times;
  const auto fill = [&](int blocks) {
    for (int i = 0; i < blocks; ++i) {
      f.time.advance(std::chrono::milliseconds{10});
      std::vector<record_draft> records{event(other, times.size() + 1, "o")};
      times.push_back(f.time.wall());
      for (int n = 0; n <= i % 3; ++n) {
        sent.push_back(std::to_string(times.size()));
        records.push_back(event(topic, sent.size(), sent.back()));
      }
      REQUIRE(f.append(shard, std::move(records)));
    }
  };
  const auto check = [&] {
    const auto reader = f.journal->read(shard).value();
    for (std::uint64_t from = 1; from <= sent.size(); ++from) {
      std::vector<std::string> found;
      REQUIRE(reader->visit_entity(topic, sequence{from}, [&](const record& next) {
        found.emplace_back(next.payload.view());
        return from % 10 == 1 || found.size() < 3;
      }));
      const auto count = from % 10 == 1 ? sent.size() : 3;
      const std::vector<std::string> rest{
          sent.begin() + static_cast<std::ptrdiff_t>(from - 1),
          sent.begin() + static_cast<std::ptrdiff_t>(std::min(sent.size(), from - 1 + count))};
      CHECK(found == rest);
    }
    for (std::size_t block = 0; block < times.size(); ++block) {
      const auto first = std::ranges::find(sent, std::to_string(block + 1)) - sent.begin() + 1;
      const sequence expected{static_cast<std::uint64_t>(first)};
      CHECK(reader->first_at_or_after(topic, times[block]).value() == expected);
      const auto before = times[block] - std::chrono::milliseconds{1};
      CHECK(reader->first_at_or_after(topic, before).value() == expected);
    }
    CHECK_FALSE(
        reader->first_at_or_after(topic, times.back() + std::chrono::milliseconds{1}).value());
  };
  fill(150);
  f.wait_no_reclaim();
  check();
  f.close();
  const auto stored = index_of(f.settings.data_dir, topic, keys::index_class::sequenced);
  CHECK(stored.blocks.size() == 150);
  // The first block may have been on its way already.
  CHECK(stored.rows.size() <= 4);
  f.expect_sound();

  lay_out(f.settings.data_dir, GENERATE(layout::as_written, layout::row_for_each_block));
  f.open();
  check();
  fill(20);
  f.wait_no_reclaim();
  check();
  f.close();
  f.open();
  check();
  f.expect_sound();
  const auto repaired = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(repaired);
  CHECK(repaired->damage.empty());
  f.open();
  check();
  f.expect_sound();
}

namespace {

/// Blocks of every kind that giving space back tells apart, several in each row.
struct mixed_fixture : upkeep_fixture {
  mixed_fixture() : upkeep_fixture{passes::of_all_there_is} {
    options.compact_after_bytes = 1ULL << 40;
    open();
    trimmed = make_topic(shard, "trimmed");
    other = make_topic(shard, "other");
    for (int round = 0; round < 2; ++round) {
      for (int kind = 0; kind < 8; ++kind)
        append_block(kind);
      wait_no_reclaim();
    }
    close();
    const auto stored = index_of(settings.data_dir, trimmed, keys::index_class::sequenced);
    REQUIRE(stored.blocks.size() == 12);
    REQUIRE(stored.rows.size() <= 4);
    for (const auto how : {layout::as_written, layout::row_for_each_block, layout::both}) {
      fs::copy(settings.data_dir, copy_of(how), fs::copy_options::recursive);
      lay_out(copy_of(how), how);
    }
  }

  fs::path copy_of(layout how) const {
    return folder.path() / ("original-" + std::to_string(static_cast<int>(how)));
  }

  void open_as(layout how) {
    close();
    fs::remove_all(settings.data_dir);
    fs::copy(copy_of(how), settings.data_dir, fs::copy_options::recursive);
    open();
  }

  record_draft next_of(entity_id entity, std::size_t size) {
    auto& seq = entity == trimmed ? last_trimmed : last_other;
    ++seq;
    return event(entity, seq, std::to_string(seq) + std::string(size, 'e'));
  }

  record_draft progress() const {
    return draft(record_kind::workflow_progress, trimmed, last_trimmed, std::string(400, 'p'));
  }

  void append_block(int kind) {
    std::vector<record_draft> records;
    switch (kind) {
    case 0:
      records = {next_of(trimmed, 9), next_of(trimmed, 9)};
      break;
    case 1:
      records.push_back(next_of(trimmed, 9));
      records.push_back(progress());
      break;
    case 2:
      records = {next_of(trimmed, 9), next_of(other, 9)};
      break;
    case 3:
      records.push_back(next_of(trimmed, 900));
      records.push_back(progress());
      records.push_back(next_of(other, 1));
      break;
    case 4:
      records.push_back(progress());
      break;
    case 5:
      records = {next_of(trimmed, 9), next_of(other, 3000)};
      break;
    case 6:
      records.push_back(
          draft(record_kind::presence_changed, trimmed, last_trimmed, std::string(400, 'p')));
      break;
    default:
      records = {next_of(other, 9), next_of(trimmed, 9), next_of(other, 9), next_of(trimmed, 9)};
      break;
    }
    REQUIRE(append(shard, std::move(records)));
  }

  struct outcome {
    std::vector<std::string> of_trimmed;
    std::vector<std::string> of_other;
    std::vector<std::uint64_t> lsns;
    std::set<std::uint64_t> sequenced_blocks;
    std::set<std::uint64_t> others_blocks;

    friend bool operator==(const outcome&, const outcome&) = default;
  };

  /// Ends with something newer: the newest block always stays.
  void give_back(record_draft change, std::uint64_t at_other) {
    REQUIRE(append(shard, {std::move(change)}, true));
    REQUIRE(append(shard, {event(other, at_other, "newer")}));
    wait_no_reclaim();
  }

  outcome look() {
    outcome found{
        .of_trimmed = read(shard, trimmed).value(), .of_other = read(shard, other).value()};
    found.lsns = log_lsns(shard);
    found.sequenced_blocks =
        index_of(settings.data_dir, trimmed, keys::index_class::sequenced).blocks;
    const auto others = index_of(settings.data_dir, trimmed, keys::index_class::others);
    found.others_blocks = others.blocks;
    expect_others_found(others);
    expect_sound();
    return found;
  }

  /// Those that are alive: what is dead later could not be given back without its place.
  void expect_others_found(const stored_index& others) {
    std::uint64_t floor = 0;
    std::vector<record> found;
    REQUIRE(dump_directory(settings.data_dir, shard, lsn{1}, [&](shard_id, const record& next) {
      if (next.entity != trimmed || is_sequenced(next.kind)) return true;
      if (next.kind == record_kind::trimmed) floor = decode_trimmed(next.payload.view())->raw();
      found.push_back(next);
      return true;
    }));
    for (const auto& next : found) {
      const bool is_dead = next.kind == record_kind::workflow_progress
                           && next.entity_seq.raw() <= floor
                           && next.entity_seq.raw() < last_trimmed;
      if (!is_dead) CHECK(others.lsns.contains(next.lsn.raw()));
    }
  }

  entity_id trimmed{};
  entity_id other{};
  std::uint64_t last_trimmed = 0;
  std::uint64_t last_other = 0;
};

}  // namespace

TEST_CASE("a trim gives back the same blocks whatever rows they are in", "[storage][index]") {
  mixed_fixture f;
  std::size_t most = 0;
  for (std::uint64_t up_to = 0; up_to <= f.last_trimmed; ++up_to) {
    CAPTURE(up_to);
    std::optional<mixed_fixture::outcome> expected;
    for (const auto how : {layout::row_for_each_block, layout::as_written, layout::both}) {
      CAPTURE(static_cast<int>(how));
      f.open_as(how);
      f.give_back(trim(f.trimmed, up_to, f.last_trimmed), f.last_other + 1);
      const auto found = f.look();
      CHECK(found.of_trimmed.size() == f.last_trimmed - up_to);
      CHECK(found.of_other.size() == f.last_other + 1);
      if (!expected) expected = found;
      CHECK((found == *expected));
      most = std::max(most, found.lsns.size());
    }
    CHECK(expected->lsns.size() <= most);
    // The last says where to look for what may be dead by the next trim.
    if (up_to == f.last_trimmed) CHECK(expected->sequenced_blocks.size() == 1);
  }
}

TEST_CASE("space goes step by step from rows of many blocks", "[storage][index]") {
  mixed_fixture f;
  std::optional<mixed_fixture::outcome> trimmed;
  std::optional<mixed_fixture::outcome> restated;
  std::optional<mixed_fixture::outcome> deleted;
  std::optional<mixed_fixture::outcome> repaired;
  const auto check = [&](std::optional<mixed_fixture::outcome>& expected) {
    const auto found = f.look();
    if (!expected) expected = found;
    CHECK((found == *expected));
  };
  for (const auto how : {layout::row_for_each_block, layout::as_written, layout::both}) {
    CAPTURE(static_cast<int>(how));
    f.open_as(how);
    auto at_other = f.last_other;
    // Each trim makes the one before it dead.
    for (std::uint64_t up_to = 1; up_to <= 15; up_to += 2) {
      f.give_back(trim(f.trimmed, up_to, f.last_trimmed), ++at_other);
      CHECK(f.read(shard, f.trimmed).value().size() == f.last_trimmed - up_to);
    }
    check(trimmed);
    f.open();
    f.give_back(
        draft(record_kind::presence_restated, f.trimmed, trimmed->lsns.back(), "p"), ++at_other);
    check(restated);
    f.open();
    f.give_back(
        draft(record_kind::topic_deleted, f.trimmed, f.last_trimmed, "trimmed"), ++at_other);
    check(deleted);
    CHECK(deleted->of_trimmed.empty());
    CHECK(deleted->others_blocks.empty());
    CHECK(deleted->of_other.size() == at_other);
    REQUIRE(repair_directory(f.settings.data_dir, f.views, {}));
    f.open();
    check(repaired);
    fs::remove_all(f.settings.data_dir + ".damaged-1");
  }
  // All of the presence, and the trims but for the last.
  CHECK(restated->others_blocks.size() < trimmed->others_blocks.size());
}
