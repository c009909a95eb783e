// What the journal answers when the disk fails, is full, or loses power.
#include "storage/offline.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/crash_file_system.hpp"

#include <atomic>
#include <iostream>
#include <random>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;
using callboard::testing::crash_file_system;

namespace {

struct failing_fixture : journal_fixture {
  failing_fixture() {
    options.file_system = disk;
    options.free_bytes = [this](const std::string&) -> result<std::uint64_t> {
      return free.load();
    };
    options.free_bytes_max_age = std::chrono::milliseconds{0};
    options.upkeep_interval = std::chrono::milliseconds{1};
  }

  /// Power off and on again.
  result<void> power_cycle(std::mt19937* random) {
    disk->freeze();
    close();
    disk->crash(random);
    return try_open();
  }

  void expect_sound() {
    close();
    const auto report = verify_directory(settings.data_dir, views, {});
    REQUIRE(report);
    for (const auto& damage : report->damage) {
      FAIL_CHECK(
          damage.file << " shard " << damage.shard << " lsn " << damage.lsn << ": " << damage.what);
    }
  }

  /// Asks for a new activation until the store is open again, then tells the entity's last seq.
  std::uint64_t recover(shard_id shard, entity_id entity) {
    for (;;) {
      activate_anew(shard);
      auto reader = journal->read(shard);
      if (reader) {
        const auto span = (*reader)->entity_span(entity).value();
        return span ? span->last.raw() : 0;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }

  std::shared_ptr<crash_file_system> disk = std::make_shared<crash_file_system>();
  std::atomic<std::uint64_t> free{1ULL << 40};
};

}  // namespace

TEST_CASE("a failed fsync is never an ack, and never doubles a sequence", "[storage][failure]") {
  failing_fixture f;
  const std::string which = GENERATE("sync", "write", "mark");
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto other = f.make_topic(shard_id{1}, "other");
  REQUIRE(f.append(shard_id{0}, {event(topic, 1, "one")}));
  REQUIRE(f.append(shard_id{1}, {event(other, 1, "one")}));
  f.wait_applied(shard_id{0});
  f.wait_applied(shard_id{1});
  if (which == "sync") f.disk->fail_syncs(".log", 1);
  if (which == "write") f.disk->fail_writes(".log", 1);
  if (which == "mark") f.disk->fail_writes("mark", 1);
  const auto failed = f.append(shard_id{0}, {event(topic, 2, "two")});
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::outcome_unknown);
  const auto behind = f.append(shard_id{0}, {event(topic, 3, "three")});
  REQUIRE_FALSE(behind);
  CHECK(behind.error().code == errc::stale_term);
  // The other shard had nothing in the failed group: its activation goes on.
  const auto unharmed = f.append(shard_id{1}, {event(other, 2, "two")});
  INFO((unharmed ? "" : unharmed.error().detail));
  CHECK(unharmed);
  const auto last = f.recover(shard_id{0}, topic);
  REQUIRE((last == 1 || last == 2));
  REQUIRE(f.append(shard_id{0}, {event(topic, last + 1, "again")}));
  const auto read = f.read(shard_id{0}, topic).value();
  CHECK(read.size() == last + 1);
  REQUIRE(f.power_cycle(nullptr));
  CHECK(f.read(shard_id{0}, topic).value() == read);
  CHECK(f.read(shard_id{1}, other).value().size() == 2);
  f.expect_sound();
}

TEST_CASE(
    "an activation that waits for a group that fails is not failed with it", "[storage][failure]") {
  failing_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto other = f.make_topic(shard_id{0}, "other");
  const auto first = f.activation(shard_id{0});
  f.disk->fail_syncs(".log", 1);
  std::jthread waiting;
  result<activation_id> second = fail(errc::internal, "not begun");
  pending_append failing;
  REQUIRE(f.journal->append(
      {.shard = shard_id{0},
       .activation = first,
       .records = {event(topic, 1, "one")},
       .tell_written = true,
       .listener = [&, tell = failing.listener()](
                       append_stage stage, const result<append_receipt>& outcome) mutable {
         if (stage == append_stage::committed) return tell(stage, outcome);
         // The group is being synced: whoever begins anew waits for it.
         waiting = std::jthread{[&] { second = f.journal->begin_activation(shard_id{0}); }};
         const auto is_fenced = [&] {
           const auto taken = f.journal->append(
               {.shard = shard_id{0},
                .activation = first,
                .records = {event(topic, 2, "two")},
                .listener = [](append_stage, const result<append_receipt>&) {}});
           return !taken && taken.error().code == errc::stale_term;
         };
         while (!is_fenced())
           std::this_thread::yield();
       }}));
  REQUIRE_FALSE(failing.wait());
  waiting.join();
  REQUIRE(second);
  f.activations[0] = *second;
  // Of an entity that nothing is unknown of.
  const auto again = f.append(shard_id{0}, {event(other, 1, "again")});
  INFO((again ? "" : again.error().detail));
  CHECK(again);
  f.expect_sound();
}

TEST_CASE(
    "rows that cannot be written are made once the store is open again", "[storage][failure]") {
  failing_fixture f;
  const auto views = std::make_shared<held_projection>();
  f.views = views;
  f.open();
  const held_projection::release at_the_end{*views};
  std::vector<entity_id> topics;
  for (std::uint32_t shard = 0; shard < 4; ++shard) {
    topics.push_back(f.make_topic(shard_id{shard}, "t"));
    REQUIRE(f.append(shard_id{shard}, {event(topics.back(), 1, "one")}));
  }
  // Nobody appends: what fails is the write of the rows.
  f.disk->fail_writes(".log", 1);
  views->let();
  for (std::uint32_t shard = 0; shard < 4; ++shard)
    f.wait_applied(shard_id{shard});
  for (std::uint32_t shard = 0; shard < 4; ++shard) {
    CHECK_FALSE(f.journal->state(shard_id{shard}).damage);
    CHECK(f.recover(shard_id{shard}, topics[shard]) == 1);
    const auto appended = f.append(shard_id{shard}, {event(topics[shard], 2, "two")});
    INFO((appended ? "" : appended.error().detail));
    REQUIRE(appended);
    f.wait_applied(shard_id{shard});
    const auto row = f.journal->read(shard_id{shard})
                         .value()
                         ->get(view_id::topic_state, std::to_string(topics[shard].raw()));
    CHECK(row.value() == "2");
  }
  f.expect_sound();
}

TEST_CASE("what is queued behind a failed append is cancelled in order", "[storage][failure]") {
  failing_fixture f;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  f.wait_applied(shard_id{0});
  f.disk->fail_syncs(".log", 1);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::pair<int, errc>> answers;
  int taken = 0;
  const auto activation = f.activation(shard_id{0});
  for (int i = 1; i <= 200; ++i) {
    const auto queued = f.journal->append(
        {.shard = shard_id{0},
         .activation = activation,
         .records = {event(topic, static_cast<std::uint64_t>(i), std::string(1000, 'x'))},
         .listener = [&, i](append_stage, const result<append_receipt>& outcome) {
           const std::lock_guard guard{mutex};
           answers.emplace_back(i, outcome ? errc{} : outcome.error().code);
           changed.notify_all();
         }});
    if (!queued) {
      CHECK(queued.error().code == errc::stale_term);
      break;
    }
    ++taken;
  }
  std::unique_lock lock{mutex};
  changed.wait(lock, [&] { return static_cast<int>(answers.size()) == taken; });
  bool cancelled = false;
  for (int i = 0; i < taken; ++i) {
    CHECK(answers[static_cast<std::size_t>(i)].first == i + 1);
    const auto code = answers[static_cast<std::size_t>(i)].second;
    cancelled |= code == errc::cancelled;
    CHECK(code == (cancelled ? errc::cancelled : errc::outcome_unknown));
  }
  CHECK(answers.front().second == errc::outcome_unknown);
}

TEST_CASE("power cuts at random points lose nothing that was acked", "[storage][failure]") {
  const auto seed = std::random_device{}();
  std::cout << "seed of power cuts: " << seed << '\n';
  CAPTURE(seed);
  std::mt19937 random{seed};
  failing_fixture f;
  f.settings.tail_cache_bytes_max = 0;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  std::uint64_t acked = 0;
  std::uint64_t sent = 0;
  for (int round = 0; round < 25; ++round) {
    const auto count = std::uniform_int_distribution{1, 120}(random);
    std::vector<std::pair<std::uint64_t, pending_append>> pending;
    for (int i = 0; i < count; ++i) {
      ++sent;
      pending.emplace_back(
          sent,
          f.start(shard_id{0}, {event(topic, sent, std::to_string(sent) + std::string(300, 'x'))}));
      // One in a while is waited for, so that the cut falls at all stages of a group.
      if (std::bernoulli_distribution{0.1}(random)) {
        if (pending.back().second.wait()) acked = sent;
      }
    }
    f.disk->freeze();
    for (auto& [seq, append] : pending) {
      if (append.wait()) acked = seq;
    }
    f.close();
    f.disk->crash(std::bernoulli_distribution{0.5}(random) ? &random : nullptr);
    const auto opened = f.try_open();
    INFO((opened ? "" : opened.error().detail));
    REQUIRE(opened);
    const auto read = f.read(shard_id{0}, topic);
    REQUIRE(read);
    REQUIRE(read->size() >= acked);
    for (std::size_t i = 0; i < read->size(); ++i) {
      REQUIRE((*read)[i].starts_with(std::to_string(i + 1) + "x"));
    }
    // What was not acked may be there or not; the next sequence follows what is.
    sent = read->size();
    acked = sent;
  }
  f.expect_sound();
}

TEST_CASE("power cuts while space is given back leave what is alive", "[storage][failure]") {
  const auto seed = std::random_device{}();
  std::cout << "seed of power cuts: " << seed << '\n';
  CAPTURE(seed);
  std::mt19937 random{seed};
  const auto draw = [&](int from, int to) {
    return static_cast<std::uint64_t>(std::uniform_int_distribution{from, to}(random));
  };
  failing_fixture f;
  f.settings.tail_cache_bytes_max = 0;
  f.options.compact_after_bytes = 1ULL << 40;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  const auto other = f.make_topic(shard_id{0}, "other");
  std::uint64_t last = 0;
  std::uint64_t last_other = 0;
  std::uint64_t floor = 0;
  for (int round = 0; round < 25; ++round) {
    for (auto count = draw(1, 30); count > 0; --count) {
      std::vector<record_draft> records{event(topic, last + 1, std::to_string(last + 1))};
      if (draw(0, 2) > 0) records.push_back(event(other, last_other + 1, "o"));
      last_other += records.size() - 1;
      ++last;
      if (draw(0, 7) == 0) {
        floor = draw(static_cast<int>(floor), static_cast<int>(last));
        records.push_back(trim(topic, floor, last));
      }
      REQUIRE(f.append(shard_id{0}, std::move(records)));
    }
    if (draw(0, 1) == 0) f.wait_applied(shard_id{0});
    for (auto turns = draw(0, 3000); turns > 0; --turns)
      std::this_thread::yield();
    const auto opened = f.power_cycle(draw(0, 1) == 0 ? &random : nullptr);
    INFO((opened ? "" : opened.error().detail));
    REQUIRE(opened);
    const auto read = f.read(shard_id{0}, topic, floor + 1);
    REQUIRE(read);
    REQUIRE(read->size() == last - floor);
    for (std::size_t i = 0; i < read->size(); ++i)
      REQUIRE((*read)[i] == std::to_string(floor + 1 + i));
    CHECK(f.read(shard_id{0}, other).value().size() == last_other);
    if (round % 5 != 4) continue;
    f.expect_sound();
    f.open();
  }
}

TEST_CASE("a full disk refuses publishes, lets deletes on, and recovers", "[storage][failure]") {
  failing_fixture f;
  f.settings.disk_soft_bytes = 1000;
  f.settings.disk_hard_bytes = 100;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  REQUIRE(f.append(shard_id{0}, {event(topic, 1, "one")}));

  f.free = 500;
  while (!f.journal->status().below_soft)
    std::this_thread::yield();
  const auto refused = f.append(shard_id{0}, {event(topic, 2, "two")});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::storage_full);
  CHECK(f.append(shard_id{0}, {trim(topic, 1, 1)}, true));
  CHECK(f.read(shard_id{0}, topic).value().empty());

  f.free = 50;
  while (!f.journal->status().below_hard)
    std::this_thread::yield();
  const auto hard = f.append(shard_id{0}, {trim(topic, 1, 1)}, true);
  REQUIRE_FALSE(hard);
  CHECK(hard.error().code == errc::storage_full);
  CHECK(f.read(shard_id{0}, topic));

  f.free = 1ULL << 40;
  while (f.journal->status().below_soft)
    std::this_thread::yield();
  const auto again = f.append(shard_id{0}, {event(topic, 2, "two")});
  INFO((again ? "" : again.error().detail));
  // Nothing speculative was refused, so the activation still stands.
  CHECK(again);
  CHECK(f.read(shard_id{0}, topic).value() == std::vector<std::string>{"two"});
}

TEST_CASE("a node killed on a full disk starts again on its ballast", "[storage][failure]") {
  failing_fixture f;
  f.settings.ballast_bytes = 1 << 20;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  REQUIRE(f.append(shard_id{0}, {event(topic, 1, "one")}));
  const auto ballast = f.settings.data_dir + "/ballast";
  while (!std::filesystem::exists(ballast))
    std::this_thread::yield();
  f.disk->freeze();
  f.close();
  f.disk->crash(nullptr);
  const bool has_ballast = GENERATE(true, false);
  if (!has_ballast) std::filesystem::remove(ballast);
  f.disk->set_full_while([&] { return !has_ballast || std::filesystem::exists(ballast); });
  const auto opened = f.try_open();
  if (has_ballast) {
    INFO((opened ? "" : opened.error().detail));
    REQUIRE(opened);
    CHECK(f.read(shard_id{0}, topic).value() == std::vector<std::string>{"one"});
  } else {
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == errc::storage_full);
    CHECK_THAT(opened.error().detail, Catch::Contains("Free some space"));
  }
  f.close();
  f.disk->set_full_while({});
  f.expect_sound();
}

TEST_CASE("a disk that fills under a write recovers without a restart", "[storage][failure]") {
  failing_fixture f;
  f.settings.ballast_bytes = 1 << 20;
  f.open();
  const auto topic = f.make_topic(shard_id{0}, "t");
  REQUIRE(f.append(shard_id{0}, {event(topic, 1, "one")}));
  f.wait_applied(shard_id{0});
  const auto ballast = f.settings.data_dir + "/ballast";
  while (!std::filesystem::exists(ballast))
    std::this_thread::yield();
  // Else the ballast is back within a millisecond, and nobody sees that it was gone.
  f.free = f.settings.ballast_bytes / 2;
  f.disk->set_full(true);
  const auto failed = f.append(shard_id{0}, {event(topic, 2, "two")});
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::outcome_unknown);
  // Opening again needs space, which the ballast gives.
  while (std::filesystem::exists(ballast))
    std::this_thread::yield();
  CHECK(f.journal->status().damage);
  f.disk->set_full(false);
  f.free = 1ULL << 40;
  const auto last = f.recover(shard_id{0}, topic);
  REQUIRE(f.append(shard_id{0}, {event(topic, last + 1, "again")}));
  CHECK_FALSE(f.journal->status().damage);
  while (!std::filesystem::exists(ballast))
    std::this_thread::yield();
  f.expect_sound();
}
