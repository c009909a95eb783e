// Verify, dump, backup, restore and repair on directories that are sound or hurt in known ways.
#include "storage/offline.hpp"

#include "storage/keys.hpp"
#include "storage/stopped_store.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

namespace {

namespace fs = std::filesystem;

/// A directory with a few topics and events, closed.
struct filled_directory : journal_fixture {
  filled_directory() {
    open();
    for (std::uint32_t i = 0; i < 4; ++i) {
      const shard_id shard{i};
      topics.push_back(make_topic(shard, "topic " + std::to_string(i)));
      for (std::uint64_t seq = 1; seq <= 50; ++seq) {
        // Large enough that the write-ahead log goes on behind a piece of it that is damaged.
        const auto text = "event " + std::to_string(seq) + std::string(600, '.');
        REQUIRE(append(shard, {event(topics[i], seq, text)}));
      }
      incarnations.push_back(journal->state(shard).incarnation);
    }
    close();
  }

  std::vector<entity_id> topics;
  std::vector<incarnation_id> incarnations;
};

}  // namespace

TEST_CASE("a sound directory verifies", "[storage][offline]") {
  filled_directory f;
  const auto report = verify_directory(f.settings.data_dir, f.views, {});
  REQUIRE(report);
  for (const auto& damage : report->damage)
    FAIL_CHECK(damage.file << ": " << damage.what);
  CHECK(report->shards == 4);
  CHECK(report->records == 204);
}

TEST_CASE("verify and dump refuse a directory in use", "[storage][offline]") {
  filled_directory f;
  f.open();
  CHECK(verify_directory(f.settings.data_dir, f.views, {}).error().code == errc::locked);
  CHECK(dump_directory(f.settings.data_dir, {}, lsn{1}, {}).error().code == errc::locked);
  CHECK(verify_directory("/nonexistent", f.views, {}).error().code == errc::not_found);
}

TEST_CASE("dump gives records in lsn order from where it is asked", "[storage][offline]") {
  filled_directory f;
  std::vector<std::uint64_t> lsns;
  REQUIRE(dump_directory(
      f.settings.data_dir, shard_id{2}, lsn{10}, [&](shard_id shard, const record& next) {
        CHECK(shard == shard_id{2});
        lsns.push_back(next.lsn.raw());
        return true;
      }));
  REQUIRE(lsns.size() == 42);
  CHECK(lsns.front() == 10);
  CHECK(lsns.back() == 51);
}

TEST_CASE("a backup taken while serving restores to its moment or later", "[storage][offline]") {
  filled_directory f;
  f.open();
  const auto target = (f.folder.path() / "backup").string();
  REQUIRE(f.journal->backup(target, {}));
  REQUIRE(f.append(shard_id{0}, {event(f.topics[0], 51, "after the first")}));
  const auto second = f.journal->backup(target, {});
  REQUIRE(second);
  CHECK(second->files > 0);
  REQUIRE(f.append(shard_id{0}, {event(f.topics[0], 52, "after the last")}));
  const auto before = f.journal->state(shard_id{0}).incarnation;
  f.close();

  const auto restored = (f.folder.path() / "restored").string();
  REQUIRE(restore_backup(target, restored, {}));
  CHECK(restore_backup(target, restored, {}).error().code == errc::exists);
  const auto restored_again = (f.folder.path() / "restored-again").string();
  REQUIRE(restore_backup(target, restored_again, {}));
  f.settings.data_dir = restored;
  f.open();
  CHECK(f.read(shard_id{0}, f.topics[0]).value().size() == 51);
  const auto after = f.journal->state(shard_id{0}).incarnation;
  CHECK(after != before);
  CHECK(f.append(shard_id{0}, {event(f.topics[0], 52, "another history")}));
  f.close();
  CHECK(verify_directory(restored, f.views, {}).value().damage.empty());
  // One backup restored twice makes two histories.
  f.settings.data_dir = restored_again;
  f.open();
  CHECK(f.journal->state(shard_id{0}).incarnation != after);
  CHECK(f.journal->state(shard_id{0}).incarnation != before);
}

TEST_CASE("repair of a sound directory keeps everything", "[storage][offline]") {
  filled_directory f;
  const auto report = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(report);
  CHECK(report->records_kept == 204);
  CHECK(report->records_lost == 0);
  CHECK(fs::exists(f.settings.data_dir + ".damaged-1"));
  CHECK(verify_directory(f.settings.data_dir, f.views, {}).value().damage.empty());
  f.open();
  CHECK(f.journal->state(shard_id{1}).incarnation == f.incarnations[1]);
  CHECK(f.read(shard_id{1}, f.topics[1]).value().size() == 50);
  CHECK(
      f.journal->read(shard_id{1})
          .value()
          ->get(view_id::topic_state, std::to_string(f.topics[1].raw()))
          .value()
      == "50");
}

TEST_CASE("repair leaves out a block whose lsns another has", "[storage][offline]") {
  filled_directory f;
  f.open();
  std::vector<record_draft> records;
  for (std::uint64_t seq = 51; seq <= 53; ++seq)
    records.push_back(event(f.topics[0], seq, std::to_string(seq)));
  const auto receipt = f.append(shard_id{0}, std::move(records));
  REQUIRE(receipt);
  REQUIRE(f.append(shard_id{0}, {event(f.topics[0], 54, "54")}));
  f.close();
  const auto second = receipt->first.next();
  {
    const auto opened = open_stopped(f.settings.data_dir, open_mode::read_write);
    REQUIRE(opened);
    std::string value;
    auto* log = opened->db->handle(family::log);
    REQUIRE(opened->db->get(family::log, keys::log_block(shard_id{0}, receipt->first), value));
    block_reader reader{std::make_shared<const std::string>(value), receipt->first};
    REQUIRE(reader.open());
    record next;
    REQUIRE(reader.next(next) == block_step::record);
    block_builder twice;
    twice.start(second);
    while (reader.next(next) == block_step::record)
      twice.add(next, next.payload.view());
    const auto key = keys::log_block(shard_id{0}, second);
    const auto& db = opened->db;
    REQUIRE(
        db->raw().Put(rocksdb::WriteOptions{}, log, std::string_view{key}, twice.finish()).ok());
    REQUIRE(db->raw().SyncWAL().ok());
  }
  const auto is_named = [&](const std::vector<damage_report>& damage) {
    return std::ranges::any_of(damage, [&](const damage_report& one) {
      return one.shard == 0 && one.lsn == second.raw()
             && one.what.contains("the block that begins here");
    });
  };
  CHECK(is_named(verify_directory(f.settings.data_dir, f.views, {}).value().damage));
  const auto report = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(report);
  CHECK(is_named(report->damage));
  CHECK(report->records_kept == 208);
  CHECK(report->records_lost == 0);
  CHECK(verify_directory(f.settings.data_dir, f.views, {}).value().damage.empty());
  f.open();
  CHECK(f.read(shard_id{0}, f.topics[0]).value().size() == 54);
  CHECK(f.journal->state(shard_id{0}).incarnation != f.incarnations[0]);
}

TEST_CASE("repair names the shards whose ends are lost", "[storage][offline]") {
  filled_directory f;
  for (const auto& entry : fs::directory_iterator{f.settings.data_dir + "/db"}) {
    if (entry.path().extension() == ".log") fs::resize_file(entry, fs::file_size(entry) / 2);
  }
  const auto report = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(report);
  CHECK(report->records_lost > 0);
  CHECK(report->records_kept + report->records_lost == 204);
  std::uint64_t told = 0;
  for (const auto& one : report->damage) {
    INFO(one.what);
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    if (std::sscanf(one.what.c_str(), "lsns %lu to %lu are missing", &from, &to) != 2) continue;
    CHECK(one.lsn == from);
    told += to + 1 - from;
  }
  CHECK(told == report->records_lost);
  f.open();
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto is_told = std::ranges::any_of(
        report->damage, [&](const damage_report& one) { return one.shard == i; });
    INFO("shard " << i);
    CHECK(is_told == (f.journal->state(shard_id{i}).incarnation != f.incarnations[i]));
  }
}

TEST_CASE("repair keeps what is readable and renews lossy shards", "[storage][offline]") {
  filled_directory f;
  // A byte in the middle of the only write-ahead log: everything behind it is out of reach for
  // normal opening.
  for (const auto& entry : fs::directory_iterator{f.settings.data_dir + "/db"}) {
    if (entry.path().extension() != ".log" || fs::file_size(entry) == 0) continue;
    std::fstream file{entry.path(), std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(static_cast<std::streamoff>(fs::file_size(entry) / 2));
    file.put('\xff');
    file.put('\x01');
  }
  const auto refused = f.try_open();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::corruption);
  CHECK_THAT(refused.error().detail, Catch::Contains(".log"));
  CHECK_THAT(refused.error().detail, Catch::Contains("was acknowledged"));
  CHECK_FALSE(verify_directory(f.settings.data_dir, f.views, {}).value().damage.empty());

  const auto report = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(report);
  CHECK(report->records_lost > 0);
  CHECK(report->records_kept + report->records_lost == 204);
  CHECK_FALSE(report->damage.empty());
  CHECK(verify_directory(f.settings.data_dir, f.views, {}).value().damage.empty());
  f.open();
  std::size_t kept = 0;
  std::uint32_t renewed = 0;
  for (std::uint32_t i = 0; i < 4; ++i) {
    if (f.journal->state(shard_id{i}).incarnation != f.incarnations[i]) ++renewed;
    const auto reader = f.journal->read(shard_id{i}).value();
    REQUIRE(reader->visit_entity(f.topics[i], sequence{1}, [&](const record&) {
      ++kept;
      return true;
    }));
  }
  CHECK(renewed >= 1);
  CHECK(renewed < 4);
  CHECK(kept >= 150);
}
