// Goal: whatever byte of whatever file is wrong, acked data is never missing or different without
// a word. Method: take a closed directory, hurt a copy of it, open and read that; it must either
// be refused with nothing changed and the place named, or tell every record as it was, or answer
// `quarantined` for a shard.
#include "storage/offline.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <thread>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream{path, std::ios::binary | std::ios::trunc} << bytes;
}

/// Every file but the lock, whose only content is the pid of its last holder.
std::map<std::string, std::string> all_files(const fs::path& root) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator{root}) {
    const auto name = fs::relative(entry.path(), root).string();
    if (entry.is_regular_file() && name != "lock" && name != "db/LOCK") {
      found[name] = contents(entry.path());
    }
  }
  return found;
}

/// Cannot apply what is called so.
class doubting_projection final : public projection {
public:
  explicit doubting_projection(std::string unreadable = "unreadable")
      : unreadable_{std::move(unreadable)} {}

  [[nodiscard]] std::uint32_t version() const override { return 1; }

  void apply(std::span<const record> block, view_writer& out) const override {
    for (const auto& one : block) {
      if (one.payload.view() == unreadable_) out.report_damage(one, {errc::corruption, "what?"});
    }
  }

private:
  std::string unreadable_;
};

/// Passes over what it cannot read.
class forgetful_projection final : public projection {
public:
  [[nodiscard]] std::uint32_t version() const override { return 1; }

  void apply(std::span<const record> block, view_writer& out) const override {
    for (const auto& one : block) {
      if (one.payload.view() != "strange") rows_.apply({&one, 1}, out);
    }
  }

private:
  counting_projection rows_;
};

/// A directory with tables, write-ahead log and all, and copies of it to be hurt.
struct hurt_fixture : journal_fixture {
  hurt_fixture() {
    settings.shard_count = 2;
    open();
    for (std::uint32_t i = 0; i < 2; ++i) {
      topics.push_back(make_topic(shard_id{i}, "topic" + std::to_string(i)));
      fill(i, 40);
    }
    // Opening again flushes what was in the log to tables.
    close();
    open();
    for (std::uint32_t i = 0; i < 2; ++i)
      fill(i, 20);
    close();
    original = folder.path() / "original";
    fs::rename(settings.data_dir, original);
  }

  void fill(std::uint32_t shard, int count) {
    for (int i = 0; i < count; ++i) {
      auto& events = sent[shard];
      const auto seq = events.size() + 1;
      events.push_back(std::to_string(seq) + std::string(seq % 90, 'p'));
      REQUIRE(append(shard_id{shard}, {event(topics[shard], seq, events.back())}));
    }
  }

  void copy_original() {
    fs::remove_all(settings.data_dir);
    fs::copy(original, settings.data_dir, fs::copy_options::recursive);
  }

  enum class outcome { refused, quarantined, intact };

  /// Opens the copy and reads everything. Fails if something is missing or different in silence.
  outcome open_and_read(const std::string& hurt_file) {
    const auto before = all_files(settings.data_dir);
    const auto opened = try_open();
    if (!opened) {
      CHECK((opened.error().code == errc::corruption || opened.error().code == errc::incompatible));
      const auto folder_of_file = fs::path{hurt_file}.begin()->string();
      CHECK_THAT(opened.error().detail, Catch::Contains(settings.data_dir + "/" + folder_of_file));
      CHECK(all_files(settings.data_dir) == before);
      return outcome::refused;
    }
    auto found = outcome::intact;
    for (std::uint32_t i = 0; i < 2; ++i) {
      const auto events = read(shard_id{i}, topics[i]);
      if (!events) {
        CHECK(events.error().code == errc::quarantined);
        CHECK(journal->state(shard_id{i}).damage);
        found = outcome::quarantined;
        continue;
      }
      CHECK(*events == sent[i]);
      const auto row = journal->read(shard_id{i})
                           .value()
                           ->get(view_id::topic_state, std::to_string(topics[i].raw()));
      if (row) CHECK(row->value_or("") == std::to_string(sent[i].size()));
    }
    close();
    return found;
  }

  fs::path original;
  std::vector<entity_id> topics;
  std::map<std::uint32_t, std::vector<std::string>> sent;
};

/// The ends of a file byte by byte, and places all over it.
std::set<std::size_t> offsets_of(std::size_t size, std::size_t ends, std::size_t middle) {
  std::set<std::size_t> offsets;
  for (std::size_t i = 0; i < std::min(size, ends); ++i) {
    offsets.insert(i);
    offsets.insert(size - 1 - i);
  }
  for (std::size_t i = 0; i < middle; ++i)
    offsets.insert(size * i / middle);
  offsets.erase(size);
  return offsets;
}

}  // namespace

TEST_CASE("a flipped bit in any file is refused, quarantined or harmless", "[storage][damage]") {
  hurt_fixture f;
  std::map<std::string, std::map<hurt_fixture::outcome, int>> table;
  for (const auto& [name, bytes] : all_files(f.original)) {
    if (bytes.empty()) continue;
    const auto kind = fs::path{name}.extension().empty()
                          ? fs::path{name}.filename().string().substr(0, 8)
                          : fs::path{name}.extension().string();
    for (const auto offset : offsets_of(bytes.size(), 6, 14)) {
      CAPTURE(name, offset, bytes.size());
      f.copy_original();
      auto hurt = bytes;
      hurt[offset] = static_cast<char>(hurt[offset] ^ (1 << (offset % 8)));
      write(fs::path{f.settings.data_dir} / name, hurt);
      ++table[kind][f.open_and_read(name)];
    }
  }
  using enum hurt_fixture::outcome;
  // What must never pass unnoticed at opening.
  CHECK(table["settings"][intact] == 0);
  CHECK(table["settings"][quarantined] == 0);
  CHECK(table["CURRENT"][intact] == 0);
  CHECK(table["MANIFEST"][intact] == 0);
  CHECK(table[".log"][refused] > 0);
  CHECK(table[".sst"][refused] + table[".sst"][quarantined] > 0);
}

TEST_CASE("a hurt mark is named and verify tells of it", "[storage][damage]") {
  hurt_fixture f;
  f.copy_original();
  const auto mark = fs::path{f.settings.data_dir} / "mark";
  const auto bytes = contents(mark);
  REQUIRE(bytes.size() == 8192);
  for (const std::size_t offset : {0UL, 9UL, 17UL, 24UL, 32UL, 100UL, 4095UL}) {
    CAPTURE(offset);
    auto one = bytes;
    one[offset] = static_cast<char>(one[offset] ^ 4);
    write(mark, one);
    const auto report = verify_directory(f.settings.data_dir, f.views, {});
    REQUIRE(report);
    REQUIRE(report->damage.size() == 1);
    CHECK(report->damage[0].file == mark.string());
    auto both = one;
    both[4096 + offset] = static_cast<char>(both[4096 + offset] ^ 4);
    write(mark, both);
    const auto refused = f.try_open();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::corruption);
    CHECK_THAT(refused.error().detail, Catch::Contains(mark.string()));
  }
  fs::remove(mark);
  const auto missing = f.try_open();
  REQUIRE_FALSE(missing);
  CHECK_THAT(missing.error().detail, Catch::Contains("mark"));
}

TEST_CASE(
    "an unfinished tail opens, whatever its shape; acked records are kept", "[storage][damage]") {
  hurt_fixture f;
  // The mark of an earlier moment stands for a power cut that took the newest one: only what it
  // names was surely acked.
  f.copy_original();
  const auto early_mark = contents(fs::path{f.settings.data_dir} / "mark");
  f.open();
  for (std::uint32_t i = 0; i < 2; ++i)
    f.fill(i, 3);
  f.close();
  write(fs::path{f.settings.data_dir} / "mark", early_mark);
  const auto torn = f.folder.path() / "torn";
  fs::rename(f.settings.data_dir, torn);
  fs::path log;
  for (const auto& [name, bytes] : all_files(torn)) {
    if (name.ends_with(".log") && !bytes.empty()) log = name;
  }
  const auto bytes = contents(torn / log);
  const auto shapes = std::map<std::string, std::function<std::string(std::string)>>{
      {"cut", [](std::string whole) { return whole; }},
      {"zeros", [](std::string whole) { return whole + std::string(5000, '\0'); }},
      {"garbage", [](std::string whole) { return whole + std::string(777, '\x5a'); }},
      {"ones", [](std::string whole) { return whole + std::string(40'000, '\xff'); }}};
  for (const auto& [shape, change] : shapes) {
    for (std::size_t cut = 0; cut < bytes.size(); cut += cut < 40 ? 1 : 37) {
      if (shape != "cut" && cut % 5 != 0) continue;
      CAPTURE(shape, cut, bytes.size());
      fs::remove_all(f.settings.data_dir);
      fs::copy(torn, f.settings.data_dir, fs::copy_options::recursive);
      write(fs::path{f.settings.data_dir} / log, change(bytes.substr(0, bytes.size() - cut)));
      const auto opened = f.try_open();
      INFO((opened ? "" : opened.error().detail));
      REQUIRE(opened);
      for (std::uint32_t i = 0; i < 2; ++i) {
        const auto events = f.read(shard_id{i}, f.topics[i]).value();
        REQUIRE(events.size() >= 60);
        REQUIRE(events.size() <= f.sent[i].size());
        REQUIRE(std::equal(events.begin(), events.end(), f.sent[i].begin()));
      }
      if (cut == 0) CHECK(f.read(shard_id{0}, f.topics[0]).value().size() == 63);
      f.close();
    }
  }
}

TEST_CASE("acked records cut off the log are missed at once", "[storage][damage]") {
  hurt_fixture f;
  fs::path log;
  for (const auto& [name, bytes] : all_files(f.original)) {
    if (name.ends_with(".log") && !bytes.empty()) log = name;
  }
  const auto bytes = contents(f.original / log);
  int refused = 0;
  for (std::size_t cut = 1; cut <= bytes.size(); cut += 61) {
    CAPTURE(cut);
    f.copy_original();
    write(fs::path{f.settings.data_dir} / log, bytes.substr(0, bytes.size() - cut));
    if (f.open_and_read("db") == hurt_fixture::outcome::refused) ++refused;
  }
  CHECK(refused > 10);
  f.copy_original();
  fs::remove(fs::path{f.settings.data_dir} / log);
  CHECK(f.open_and_read("db") == hurt_fixture::outcome::refused);
}

namespace {

/// False if the store compacted the hurt table just then: what it meets itself ends all writing.
bool scrub_finds_damage() {
  journal_fixture f;
  const auto topic = [&] {
    f.open();
    const auto made = f.make_topic(shard_id{1}, "t");
    // Large enough that the hurt place is not among what opening reads.
    for (std::uint64_t seq = 1; seq <= 60; ++seq) {
      const auto payload = "event " + std::to_string(seq) + std::string(5000, 'p');
      REQUIRE(f.append(shard_id{1}, {event(made, seq, payload)}));
    }
    const auto other = f.make_topic(shard_id{0}, "other");
    REQUIRE(f.append(shard_id{0}, {event(other, 1, "sound")}));
    // Opening again flushes what was in the log to tables.
    f.close();
    f.open();
    f.close();
    return made;
  }();
  bool was_hurt = false;
  for (const auto& [name, bytes] : all_files(f.settings.data_dir)) {
    const auto at = bytes.find("event 30pppp");
    if (!name.ends_with(".sst") || at == std::string::npos) continue;
    auto hurt = bytes;
    hurt[at + 1000] = 'x';
    write(fs::path{f.settings.data_dir} / name, hurt);
    was_hurt = true;
  }
  REQUIRE(was_hurt);
  f.settings.scrub_bytes_per_s = 1 << 30;
  f.options.upkeep_interval = std::chrono::milliseconds{1};
  f.open();
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes{1};
  while (!f.journal->state(shard_id{1}).damage) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    f.time.advance(std::chrono::milliseconds{10});
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  CHECK_THAT(f.journal->state(shard_id{1}).damage->detail, Catch::Contains("journal repair"));
  CHECK(f.journal->read(shard_id{1}).error().code == errc::quarantined);
  CHECK(f.journal->begin_activation(shard_id{1}).error().code == errc::quarantined);
  const auto refused = f.journal->append(
      {.shard = shard_id{1}, .activation = activation_id{1}, .records = {event(topic, 61, "x")}});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::quarantined);
  // The other shard goes on.
  CHECK(f.read(shard_id{0}, entity_id{1}).value() == std::vector<std::string>{"sound"});
  const auto appended = f.append(shard_id{0}, {event(entity_id{1}, 2, "on")});
  if (!appended && appended.error().detail.contains("checksum mismatch")) return false;
  CHECK(appended);
  return true;
}

}  // namespace

TEST_CASE("the scrub finds what nobody reads, and only that shard stops", "[storage][damage]") {
  bool was_found = false;
  for (int i = 0; i < 5 && !was_found; ++i)
    was_found = scrub_finds_damage();
  CHECK(was_found);
}

TEST_CASE("a record that no view can take quarantines its shard", "[storage][damage]") {
  journal_fixture f;
  f.views = std::make_shared<doubting_projection>();
  f.open();
  const auto topic = f.make_topic(shard_id{1}, "t");
  const auto sound = f.make_topic(shard_id{0}, "t");
  static_cast<void>(f.append(shard_id{1}, {event(topic, 1, "unreadable")}));
  while (f.journal->state(shard_id{1}).damage == std::nullopt)
    std::this_thread::yield();
  CHECK_THAT(f.journal->state(shard_id{1}).damage->detail, Catch::Contains("record 2: what?"));
  CHECK(f.append(shard_id{0}, {event(sound, 1, "x")}));

  // So it stays over a restart, until it is repaired.
  f.close();
  f.open();
  CHECK(f.journal->state(shard_id{1}).damage);
  CHECK(f.append(shard_id{0}, {event(sound, 2, "x")}));
  f.close();
  const auto named = verify_directory(f.settings.data_dir, f.views, {}).value().damage;
  REQUIRE(named.size() == 1);
  CHECK(named[0].shard == 1);
  CHECK_THAT(named[0].what, Catch::Equals("no view can be made of it: record 2: what?"));
  const auto repaired = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(repaired);
  CHECK(repaired->records_lost == 1);
  REQUIRE_FALSE(repaired->damage.empty());
  CHECK(repaired->damage[0].what == named[0].what);
  CHECK(verify_directory(f.settings.data_dir, f.views, {}).value().damage.empty());
  f.open();
  CHECK_FALSE(f.journal->state(shard_id{1}).damage);
  CHECK(f.append(shard_id{1}, {event(topic, 1, "goes on")}));
  CHECK(f.read(shard_id{0}, sound).value() == std::vector<std::string>{"x", "x"});
}

TEST_CASE("repair makes rows of what older code has passed over", "[storage][damage]") {
  journal_fixture f;
  const auto reads_all = f.views;
  f.views = std::make_shared<forgetful_projection>();
  f.open();
  const auto topic = f.make_topic(shard_id{1}, "t");
  REQUIRE(f.append(shard_id{1}, {event(topic, 1, "strange"), event(topic, 2, "plain")}));
  f.close();
  const auto counted = [&] {
    f.open();
    auto row = f.journal->read(shard_id{1})
                   .value()
                   ->get(view_id::topic_state, std::to_string(topic.raw()));
    f.close();
    return row.value().value_or("");
  };
  f.views = reads_all;
  CHECK(counted() == "1");
  // Code that cannot read it names it, though the rows stand for it.
  const auto doubts = std::make_shared<doubting_projection>("strange");
  CHECK(verify_directory(f.settings.data_dir, doubts, {}).value().damage.size() == 1);
  CHECK(verify_directory(f.settings.data_dir, f.views, {}).value().damage.empty());
  const auto repaired = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(repaired);
  CHECK(repaired->records_lost == 0);
  CHECK(counted() == "2");
}

TEST_CASE("a read that meets damage quarantines its shard and skips nothing", "[storage][damage]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{1}, "t");
  for (std::uint64_t seq = 1; seq <= 60; ++seq) {
    const auto payload = "event " + std::to_string(seq) + std::string(5000, 'p');
    REQUIRE(f.append(shard_id{1}, {event(topic, seq, payload)}));
  }
  f.close();
  f.open();
  const auto sound = f.journal->state(shard_id{0}).incarnation;
  const auto hurt_one = f.journal->state(shard_id{1}).incarnation;
  f.close();
  for (const auto& [name, bytes] : all_files(f.settings.data_dir)) {
    const auto at = bytes.find("event 30pppp");
    if (!name.ends_with(".sst") || at == std::string::npos) continue;
    auto hurt = bytes;
    hurt[at + 1000] = 'x';
    write(fs::path{f.settings.data_dir} / name, hurt);
  }
  f.open();
  auto reader = f.journal->read(shard_id{1}).value();
  std::uint64_t last = 0;
  const auto done = reader->visit_entity(topic, sequence{1}, [&](const record& next) {
    CHECK(next.entity_seq.raw() == last + 1);
    last = next.entity_seq.raw();
    return true;
  });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == errc::quarantined);
  CHECK_THAT(done.error().detail, Catch::Contains(".sst"));
  CHECK(last < 30);
  CHECK(f.journal->state(shard_id{1}).damage);
  // Closing waits for those who read.
  reader.reset();
  f.close();
  const auto report = verify_directory(f.settings.data_dir, f.views, {}).value();
  REQUIRE_FALSE(report.damage.empty());
  CHECK_THAT(report.damage.front().file, Catch::EndsWith(".sst"));
  const auto repaired = repair_directory(f.settings.data_dir, f.views, {});
  REQUIRE(repaired);
  CHECK(repaired->records_lost > 0);
  f.open();
  CHECK(f.journal->state(shard_id{1}).incarnation != hurt_one);
  CHECK(f.journal->state(shard_id{0}).incarnation == sound);
  std::size_t kept = 0;
  REQUIRE(
      f.journal->read(shard_id{1}).value()->visit_entity(topic, sequence{1}, [&](const record&) {
        return ++kept > 0;
      }));
  CHECK(kept + repaired->records_lost == 60);
  CHECK(f.append(shard_id{1}, {event(topic, 61, "goes on")}));
}
