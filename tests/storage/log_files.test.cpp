// Write-ahead logs that are written over zeros: what is read back is what was written up to some
// point, whatever a power cut takes.
#include "storage/log_files.hpp"

#include "storage/offline.hpp"
#include "storage/wal_check.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/crash_file_system.hpp"
#include "tests/support/temp_dir.hpp"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;
using callboard::testing::crash_file_system;
using callboard::testing::temp_dir;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t spare_bytes = 300'000;
constexpr std::size_t page_size = 32 << 10;
constexpr std::size_t header_size = 7;

std::string contents(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

void write(const fs::path& path, std::string_view bytes) {
  std::ofstream file{path, std::ios::binary | std::ios::trunc};
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

bool is_zero(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char c) { return c == '\0'; });
}

/// What a node that is running has on disk, but for the zeros and files that it is just making.
void copy_as_killed(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator{from}) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("spare_log") || name.ends_with(".part")) continue;
    fs::copy(entry.path(), to / name, fs::copy_options::recursive);
  }
}

struct logs_fixture {
  std::string path(const std::string& name) const { return (folder.path() / name).string(); }

  std::shared_ptr<log_files> make() {
    return std::make_shared<log_files>(
        disk,
        spare_log_options{
            .path = path("spare"),
            .bytes = spare_bytes,
            .time = &time,
            .has_room = [this](std::uint64_t) { return has_room.load(); },
            .is_over_zeros = &over_zeros});
  }

  std::unique_ptr<rocksdb::FSWritableFile> open(log_files& files, const std::string& name) const {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    REQUIRE(files.NewWritableFile(path(name), {}, &file, nullptr).ok());
    return file;
  }

  void remove_spares() const {
    for (const auto* name : {"spare", "spare.2"})
      fs::remove(path(name));
  }

  void await_spares() const {
    while (!fs::exists(path("spare")) || !fs::exists(path("spare.2"))) {
    }
  }

  temp_dir folder;
  system_clock time;
  mutable prometheus::Gauge over_zeros;
  std::shared_ptr<crash_file_system> disk = std::make_shared<crash_file_system>();
  std::atomic<bool> has_room = true;
};

/// In pieces of random sizes.
std::string read_log(log_files& files, const std::string& path, std::mt19937& random) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  REQUIRE(files.NewSequentialFile(path, {}, &file, nullptr).ok());
  std::string all;
  std::string buffer(page_size, '\0');
  for (;;) {
    const auto size = std::uniform_int_distribution<std::size_t>{1, buffer.size()}(random);
    rocksdb::Slice read;
    REQUIRE(file->Read(size, {}, &read, buffer.data(), nullptr).ok());
    if (read.empty()) return all;
    all.append(read.ToStringView());
  }
}

/// Frames of random sizes, as RocksDB lays them out; and where each begins.
std::pair<std::string, std::vector<std::size_t>> make_log(std::mt19937& random, int count) {
  std::string log;
  std::vector<std::size_t> headers;
  for (int i = 0; i < count; ++i) {
    const auto left = page_size - log.size() % page_size;
    if (left < header_size) log.append(left, '\0');
    const auto room = page_size - log.size() % page_size - header_size;
    const auto wanted = std::uniform_int_distribution<std::size_t>{0, 9000}(random);
    const auto length = std::min(wanted, room);
    headers.push_back(log.size());
    log += "crc_";
    log += static_cast<char>(length & 0xFF);
    log += static_cast<char>(length >> 8);
    log += '\1';
    // Zeros in a record end no log.
    log.append(length, i % 3 == 0 ? '\0' : 'r');
  }
  return {std::move(log), std::move(headers)};
}

}  // namespace

TEST_CASE("a log ends with the first empty frame", "[storage][log_files]") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random{seed};
  logs_fixture f;
  const auto files = f.make();
  const auto path = f.path("000001.log");
  for (int round = 0; round < 60; ++round) {
    const auto [log, headers] = make_log(random, round);
    write(path, log);
    CHECK(read_log(*files, path, random) == log);
    write(path, log + std::string(100'000, '\0'));
    const auto before_zeros = read_log(*files, path, random);
    CHECK(before_zeros.starts_with(log));
    CHECK(before_zeros.size() < log.size() + header_size);
    if (headers.empty()) continue;
    // A page that was lost, with others behind it that were not.
    const auto lost =
        headers[std::uniform_int_distribution<std::size_t>{0, headers.size() - 1}(random)];
    auto torn = log;
    const auto count = std::min<std::size_t>(torn.size() - lost, 5000);
    torn.replace(lost, count, count, '\0');
    write(path, torn + std::string(1000, '\0'));
    const bool has_more = !is_zero(torn.substr(lost));
    // A part of a header, for RocksDB to know that more was written.
    CHECK(read_log(*files, path, random) == torn.substr(0, lost + (has_more ? 1 : 0)));
  }
}

TEST_CASE("logs are written over zeros that are there before them", "[storage][log_files]") {
  logs_fixture f;
  auto files = f.make();
  {
    const auto log = f.open(*files, "000001.log");
    CHECK(!fs::exists(f.path("spare")));
    CHECK(fs::file_size(f.path("000001.log")) == spare_bytes);
    REQUIRE(log->Append("one", {}, nullptr).ok());
    REQUIRE(log->Append("two", {}, nullptr).ok());
    CHECK(log->GetFileSize({}, nullptr) == 6);
    // As it is after a kill -9.
    const auto left = contents(f.path("000001.log"));
    CHECK(left.size() == spare_bytes);
    CHECK(left.starts_with("onetwo"));
    CHECK(is_zero(left.substr(6)));
    REQUIRE(log->Append(std::string(spare_bytes, 'x'), {}, nullptr).ok());
    REQUIRE(log->Sync({}, nullptr).ok());
    REQUIRE(log->Close({}, nullptr).ok());
  }
  CHECK(contents(f.path("000001.log")) == "onetwo" + std::string(spare_bytes, 'x'));
  // It has come so far that the next one was wanted.
  while (!fs::exists(f.path("spare"))) {
  }
  files->stop();
  files.reset();
  SECTION("what another process left is used") {
    write(f.path("spare"), std::string(1000, '\0'));
    files = f.make();
    const auto log = f.open(*files, "000003.log");
    CHECK(fs::file_size(f.path("000003.log")) == 1000);
    REQUIRE(log->Append("three", {}, nullptr).ok());
    REQUIRE(log->Close({}, nullptr).ok());
    CHECK(contents(f.path("000003.log")) == "three");
  }
  SECTION("but not if it was written to") {
    write(f.path("spare"), "x");
    files = f.make();
    const auto log = f.open(*files, "000003.log");
    CHECK(fs::file_size(f.path("000003.log")) == spare_bytes);
    CHECK(is_zero(contents(f.path("000003.log"))));
  }
  SECTION("where there is no room a log grows") {
    f.remove_spares();
    f.has_room = false;
    files = f.make();
    const auto log = f.open(*files, "000003.log");
    REQUIRE(log->Append("three", {}, nullptr).ok());
    CHECK(contents(f.path("000003.log")) == "three");
    CHECK(!fs::exists(f.path("spare")));
  }
  SECTION("nor is anything left of zeros that cannot be written") {
    f.remove_spares();
    f.disk->fail_writes(".part", 1);
    files = f.make();
    const auto log = f.open(*files, "000003.log");
    CHECK(fs::file_size(f.path("000003.log")) == 0);
    // Those for the next log may be on their way.
    files->stop();
    CHECK(!fs::exists(f.path("spare.part")));
  }
}

TEST_CASE("two logs in a row are written over zeros", "[storage][log_files]") {
  logs_fixture f;
  auto files = f.make();
  const auto fill = [](rocksdb::FSWritableFile& log) {
    REQUIRE(log.Append(std::string(spare_bytes / 8, 'x'), {}, nullptr).ok());
  };
  std::vector<std::unique_ptr<rocksdb::FSWritableFile>> logs;
  const auto open = [&](int number) {
    const auto name = "00000" + std::to_string(number) + ".log";
    logs.push_back(f.open(*files, name));
    return fs::file_size(f.path(name));
  };
  CHECK(open(1) == spare_bytes);
  CHECK(f.over_zeros.Value() == 1);
  fill(*logs.back());
  f.await_spares();
  CHECK(open(2) == spare_bytes);
  CHECK(open(3) == spare_bytes);
  CHECK(f.over_zeros.Value() == 1);
  SECTION("both are made again") {
    fill(*logs.back());
    f.await_spares();
    CHECK(open(4) == spare_bytes);
  }
  SECTION("a third one grows, and shows it") {
    f.has_room = false;
    CHECK(open(4) == 0);
    CHECK(f.over_zeros.Value() == 0);
  }
  SECTION("what goes on behind its zeros grows") {
    // Who is no longer the newest says nothing.
    REQUIRE(logs[0]->Append(std::string(spare_bytes, 'x'), {}, nullptr).ok());
    CHECK(f.over_zeros.Value() == 1);
    REQUIRE(logs.back()->Append(std::string(spare_bytes, 'x'), {}, nullptr).ok());
    CHECK(f.over_zeros.Value() == 1);
    REQUIRE(logs.back()->Append("x", {}, nullptr).ok());
    CHECK(f.over_zeros.Value() == 0);
  }
  SECTION("the one behind is found by the next process") {
    fill(*logs.back());
    f.await_spares();
    files->stop();
    logs.clear();
    fs::remove(f.path("spare"));
    files = f.make();
    CHECK(open(4) == spare_bytes);
    CHECK(!fs::exists(f.path("spare.2")));
  }
}

TEST_CASE("a sync that failed is told to everybody who syncs the log", "[storage][log_files]") {
  logs_fixture f;
  f.has_room = GENERATE(true, false);
  const auto files = f.make();
  const auto first = f.open(*files, "000001.log");
  REQUIRE(first->Append("first", {}, nullptr).ok());
  f.disk->fail_syncs(".log", 1);
  std::unique_ptr<rocksdb::FSWritableFile> second;
  SECTION("to the store, if the next log met it") {
    CHECK(!files->NewWritableFile(f.path("000002.log"), {}, &second, nullptr).ok());
    CHECK(!first->Sync({}, nullptr).ok());
  }
  SECTION("to the next log, if the store met it") {
    CHECK(!first->Sync({}, nullptr).ok());
    CHECK(!files->NewWritableFile(f.path("000002.log"), {}, &second, nullptr).ok());
  }
}

TEST_CASE("zeros are given up, and what was not finished goes", "[storage][log_files]") {
  logs_fixture f;
  write(f.path("spare.part"), "unfinished");
  write(f.path("spare"), std::string(1000, '\0'));
  auto files = f.make();
  {
    const auto log = f.open(*files, "000001.log");
    CHECK(!fs::exists(f.path("spare.part")));
    REQUIRE(log->Append(std::string(spare_bytes, 'x'), {}, nullptr).ok());
    f.await_spares();
    files->stop();
    files->give_up_spares();
    CHECK(!fs::exists(f.path("spare")));
    CHECK(!fs::exists(f.path("spare.2")));
  }
  // Nor does a node keep them that makes none.
  write(f.path("spare"), std::string(1000, '\0'));
  write(f.path("spare.2"), std::string(1000, '\0'));
  files = std::make_shared<log_files>(f.disk, spare_log_options{.path = f.path("spare")});
  const auto log = f.open(*files, "000002.log");
  CHECK(!fs::exists(f.path("spare")));
  CHECK(!fs::exists(f.path("spare.2")));
  CHECK(fs::file_size(f.path("000002.log")) == 0);
}

TEST_CASE("no log has what follows on something lost", "[storage][log_files]") {
  logs_fixture f;
  const bool is_zeroed = GENERATE(true, false);
  f.has_room = is_zeroed;
  {
    const auto files = f.make();
    const auto first = f.open(*files, "000001.log");
    REQUIRE(first->Append(std::string(spare_bytes / 8, 'x') + "first", {}, nullptr).ok());
    if (is_zeroed) f.await_spares();
    const auto second = f.open(*files, "000002.log");
    REQUIRE(second->Append("second", {}, nullptr).ok());
    const auto third = f.open(*files, "000003.log");
    REQUIRE(third->Append("third", {}, nullptr).ok());
    REQUIRE(third->Sync({}, nullptr).ok());
    REQUIRE(third->Append("lost", {}, nullptr).ok());
    if (is_zeroed) CHECK(fs::file_size(f.path("000003.log")) == spare_bytes);
    f.disk->freeze();
  }
  f.disk->crash(nullptr);
  CHECK(contents(f.path("000001.log")).substr(spare_bytes / 8).starts_with("first"));
  CHECK(contents(f.path("000002.log")).starts_with("second"));
  const auto third = contents(f.path("000003.log"));
  CHECK(third.starts_with("third"));
  CHECK(is_zero(std::string_view{third}.substr(5)));
}

TEST_CASE("a journal that was killed is read from logs with zeros", "[storage][log_files]") {
  journal_fixture f;
  const auto events_before = GENERATE(0, 3, 40);
  f.settings.spare_log_bytes = 200'000;
  f.open();
  const auto topic = f.make_topic(shard_id{1}, "t");
  std::vector<std::string> sent;
  for (int i = 1; i <= events_before; ++i) {
    sent.push_back(std::to_string(i) + std::string(10'000, 'p'));
    REQUIRE(f.append(shard_id{1}, {event(topic, static_cast<std::uint64_t>(i), sent.back())}));
  }
  const auto copy = f.folder.path() / "copy";
  copy_as_killed(f.settings.data_dir, copy);
  for (const auto& log : wal_files(copy / "db"))
    CHECK(check_wal(log).is_sound);
  f.close();
  fs::remove_all(f.settings.data_dir);
  fs::rename(copy, f.settings.data_dir);
  f.open();
  CHECK(f.read(shard_id{1}, topic).value() == sent);
  REQUIRE(f.append(shard_id{1}, {event(topic, sent.size() + 1, "more")}));
}

TEST_CASE("what was not acked is lost from some point on, not in between", "[storage][log_files]") {
  journal_fixture f;
  f.settings.spare_log_bytes = 500'000;
  f.open();
  const auto topic = f.make_topic(shard_id{1}, "t");
  f.close();
  const auto mark_before = contents(fs::path{f.settings.data_dir} / "mark");
  f.open();
  std::vector<std::string> sent;
  for (int i = 1; i <= 30; ++i) {
    sent.push_back(std::to_string(i) + std::string(9'000, 'p'));
    REQUIRE(f.append(shard_id{1}, {event(topic, static_cast<std::uint64_t>(i), sent.back())}));
  }
  const auto killed = f.folder.path() / "killed";
  copy_as_killed(f.settings.data_dir, killed);
  f.close();
  // As if nothing had been synced, and any page may be the one that is missing.
  write(killed / "mark", mark_before);
  const auto log = wal_files(killed / "db").back().filename();
  const auto bytes = contents(killed / "db" / log);
  REQUIRE(bytes.size() == f.settings.spare_log_bytes);
  std::set<std::size_t> found;
  for (std::size_t lost = 0; lost < 300'000; lost += 4096) {
    CAPTURE(lost);
    fs::remove_all(f.settings.data_dir);
    fs::copy(killed, f.settings.data_dir, fs::copy_options::recursive);
    auto torn = bytes;
    torn.replace(lost, 4096, 4096, '\0');
    write(fs::path{f.settings.data_dir} / "db" / log, torn);
    const auto verified = verify_directory(f.settings.data_dir, f.views, {});
    REQUIRE(verified);
    CHECK(verified->damage.empty());
    const bool repairs = lost % (4096 * 7) == 0;
    if (repairs) {
      const auto repaired = repair_directory(f.settings.data_dir, f.views, {});
      REQUIRE(repaired);
      CHECK(repaired->records_lost == 0);
    }
    f.open();
    const auto read = f.read(shard_id{1}, topic);
    REQUIRE(read);
    CHECK(std::ranges::equal(*read, std::span{sent}.first(std::min(read->size(), sent.size()))));
    found.insert(read->size());
    f.close();
  }
  CHECK(found.size() > 20);
}
