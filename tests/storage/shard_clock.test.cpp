// Shard time: on while the node runs, over restarts of it, and over those of its machine.
#include "storage/shard_clock.hpp"

#include "base/crc32c.hpp"
#include "storage/time_note.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

TEST_CASE("shard time follows the wall clock gently and never goes back", "[storage][clock]") {
  manual_clock machine;
  shard_clock shard;
  const auto start = machine.wall();
  shard.start(machine, start);
  CHECK(shard.now(machine) == start);

  SECTION("a step forward fires nothing early") {
    machine.step_wall(std::chrono::hours{1});
    CHECK(shard.now(machine) == start);
    machine.advance(std::chrono::seconds{100});
    const auto gone = shard.now(machine) - start;
    CHECK(gone >= std::chrono::seconds{100});
    CHECK(gone <= std::chrono::milliseconds{100'100});
  }
  SECTION("a step back does not turn it back, only slows it") {
    machine.step_wall(-std::chrono::hours{1});
    CHECK(shard.now(machine) == start);
    machine.advance(std::chrono::seconds{100});
    const auto gone = shard.now(machine) - start;
    CHECK(gone < std::chrono::seconds{100});
    CHECK(gone >= std::chrono::milliseconds{99'900});
  }
  SECTION("it goes on from records that are ahead of the wall clock") {
    const auto ahead = start + std::chrono::hours{24};
    shard.start(machine, ahead);
    CHECK(shard.now(machine) == ahead);
    machine.advance(std::chrono::seconds{10});
    CHECK(shard.now(machine) > ahead);
    CHECK(shard.now(machine) <= ahead + std::chrono::seconds{10});
  }
  SECTION("it meets the wall clock in the end") {
    machine.step_wall(std::chrono::seconds{1});
    for (int i = 0; i < 2000; ++i) {
      machine.advance(std::chrono::seconds{1});
      static_cast<void>(shard.now(machine));
    }
    CHECK(shard.now(machine) == machine.wall());
  }
}

TEST_CASE("within a boot of the machine shard time goes on over restarts", "[storage][clock]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  static_cast<void>(f.append(shard_id{0}, {event(topic, 1, "x")}).value());
  const auto before = f.journal->shard_time(shard_id{0});
  const auto by = GENERATE(std::chrono::hours{5}, std::chrono::hours{-5});
  SECTION("however the machine's clock is set before a start") {
    f.time.step_wall(by);
    f.close();
    f.time.advance(std::chrono::seconds{30});
    f.open();
    const auto gone = f.journal->shard_time(shard_id{0}) - before;
    CHECK(gone >= std::chrono::milliseconds{29'900});
    CHECK(gone <= std::chrono::milliseconds{30'100});
    // A shard without records, too.
    CHECK(f.journal->shard_time(shard_id{1}) - before <= std::chrono::milliseconds{30'100});
  }
  SECTION("not beyond it: another boot takes the wall clock") {
    f.close();
    f.time.reboot();
    f.time.step_wall(by);
    f.open();
    CHECK(f.journal->shard_time(shard_id{0}) == std::max(before, f.time.wall()));
  }
  SECTION("not where the note was removed or cannot be read") {
    f.close();
    f.time.step_wall(by);
    const auto note = std::filesystem::path{f.settings.data_dir} / "time";
    REQUIRE(std::filesystem::exists(note));
    if (GENERATE(false, true)) {
      std::filesystem::remove(note);
    } else {
      std::ofstream{note} << "callboard shard time boot-1 12";
    }
    f.open();
    CHECK(f.journal->shard_time(shard_id{0}) == std::max(before, f.time.wall()));
  }
}

TEST_CASE("all shards go on from the time of the newest record", "[storage][clock]") {
  journal_fixture f;
  f.open();
  const auto early = f.make_topic(shard_id{0}, "early");
  static_cast<void>(f.append(shard_id{0}, {event(early, 1, "x")}).value());
  f.time.advance(std::chrono::hours{3});
  const auto late = f.make_topic(shard_id{1}, "late");
  const auto newest = f.append(shard_id{1}, {event(late, 1, "x")}).value().time;
  f.close();
  // What is noted of the time is of another boot, and the clock shows less than the records.
  f.time.reboot();
  f.time.step_wall(std::chrono::hours{-5});
  f.open();
  CHECK(f.journal->shard_time(shard_id{0}) == newest);
  CHECK(f.journal->shard_time(shard_id{1}) == newest);
  // It is noted like that.
  f.close();
  f.time.advance(std::chrono::seconds{30});
  f.open();
  CHECK(f.journal->shard_time(shard_id{0}) >= newest + std::chrono::milliseconds{29'900});
}

TEST_CASE("a note of the time is read as it was written, or not at all", "[storage][clock]") {
  const time_note note{
      .boot_id = "4f1c",
      .boot = boot_time{12'345'678'901},
      .shard = time_ms{std::chrono::milliseconds{1'700'000'000'123}}};
  const auto text = encode(note);
  CHECK(decode_time_note(text) == note);
  for (std::size_t size = 0; size < text.size(); ++size) {
    CHECK(decode_time_note(text.substr(0, size)) == std::nullopt);
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto damaged = text;
    damaged[at] ^= 1;
    CHECK(decode_time_note(damaged) == std::nullopt);
  }
  const auto decoded = [](std::string_view line) {
    return decode_time_note(fmt::format("{} {:08x}\n", line, crc32c(line)));
  };
  CHECK(decoded("callboard shard time 4f1c 12345678901 1700000000123") == note);
  CHECK(decoded("callboard shard time 4f1c 1 2 3") == std::nullopt);
  CHECK(decoded("callboard shard time  1 2") == std::nullopt);
  CHECK(decoded("callboard shard time 4f1c -1 2") == std::nullopt);
  CHECK(decoded("callboard shard time 4f1c 1 9223372036854775807") == std::nullopt);
}

TEST_CASE("record times never fall when the wall clock is set back", "[storage][clock]") {
  journal_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto before = f.append(shard_id{0}, {event(topic, 1, "x")}).value().time;
  f.time.step_wall(-std::chrono::hours{5});
  CHECK(f.append(shard_id{0}, {event(topic, 2, "x")}).value().time >= before);
  f.close();
  f.open();
  CHECK(f.journal->shard_time(shard_id{0}) >= before);
  CHECK(f.append(shard_id{0}, {event(topic, 3, "x")}).value().time >= before);
}
