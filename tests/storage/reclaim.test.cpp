// That all of what is dead is given back, also if that was interrupted or the newest was kept.
#include "storage/offline.hpp"

#include "tests/storage/upkeep_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/crash_file_system.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;
using callboard::testing::crash_file_system;

namespace {

namespace fs = std::filesystem;

constexpr shard_id shard{0};

record_draft state_of(entity_id run, std::uint64_t seq) {
  return draft(record_kind::workflow_progress, run, seq, std::string(400, 'p'));
}

/// The node is killed, or its store opened again beneath it.
enum class interruption { kill, reopening };

/// Giving space back is interrupted at a write.
struct interrupted_fixture : upkeep_fixture {
  explicit interrupted_fixture(interruption how)
      : upkeep_fixture{passes::of_all_there_is}, how{how} {
    options.compact_after_bytes = 1ULL << 40;
    options.file_system = disk;
    options.after_upkeep = [this] {
      upkeep_thread = std::this_thread::get_id();
      ++rounds;
    };
    disk->set_full_while([this] { return refuses_write(); });
  }

  ~interrupted_fixture() {
    close();
    disk->set_full_while({});
  }

  void start_from(const fs::path& original) {
    close();
    fs::remove_all(settings.data_dir);
    fs::copy(original, settings.data_dir, fs::copy_options::recursive);
    open();
  }

  /// Gives space back until this write, or all.
  void give_back_until(int write) {
    writes_left = write;
    is_interrupted = false;
    held->let();
    wait_for([this] { return is_interrupted || is_applied(); });
    wait_for([this, until = rounds + 2] { return is_interrupted || rounds >= until; });
    is_interrupted = true;
    close();
    writes_left = unlimited;
  }

  [[nodiscard]] bool is_applied() const {
    const auto now = journal->state(shard);
    return now.applied == now.committed;
  }

  bool refuses_write() {
    if (how == interruption::kill) {
      if (writes_left-- > 0) return false;
      is_interrupted = true;
      return true;
    }
    // Rows that are still to be written would wait for this write, and closing for them.
    if (is_interrupted || std::this_thread::get_id() != upkeep_thread || !is_applied())
      return false;
    if (writes_left-- > 0) return false;
    wait_closing();
    is_interrupted = true;
    return false;
  }

  /// On the upkeep thread: the store cannot close before it is done there.
  void wait_closing() {
    disk->fail_syncs("mark", 1);
    time.advance(std::chrono::seconds{2});
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes{1};
    while (journal->read(shard) && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    // Without a store there are no tables in memory.
    const auto is_gone = [this] {
      time.advance(std::chrono::milliseconds{200});
      return counters->expose().contains("\ncallboard_journal_memory_bytes 0\n");
    };
    while (!is_gone() && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
  }

  static constexpr int unlimited = std::numeric_limits<int>::max();

  interruption how;
  std::shared_ptr<crash_file_system> disk = std::make_shared<crash_file_system>();
  std::atomic<int> writes_left{unlimited};
  /// Or nothing is being given back.
  std::atomic<bool> is_interrupted{true};
  std::atomic<std::thread::id> upkeep_thread;
};

}  // namespace

TEST_CASE("space is given back whole, whatever interrupts it", "[storage][upkeep]") {
  interrupted_fixture f{GENERATE(interruption::kill, interruption::reopening)};
  f.open();
  const auto run = f.make_topic(shard, "workflow.w");
  const auto other = f.make_topic(shard, "other");
  std::vector<std::vector<record_draft>> blocks;
  blocks.push_back({event(run, 1, "e")});
  // Between others, so that each is given back by a write of its own.
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    blocks.push_back({state_of(run, 1)});
    blocks.push_back({event(other, seq, "o")});
  }
  blocks.push_back({event(run, 2, "e"), event(other, 4, std::string(3000, 'o'))});
  blocks.push_back({state_of(run, 2)});
  blocks.push_back({event(other, 5, "o")});
  blocks.push_back({state_of(run, 2)});
  blocks.push_back({event(run, 3, "e"), state_of(run, 3)});
  for (auto& records : blocks)
    REQUIRE(f.append(shard, std::move(records)));
  f.wait_no_reclaim();
  f.close();
  const auto original = f.folder.path() / "original";
  fs::rename(f.settings.data_dir, original);

  // One for each hole, and those of rows.
  constexpr int writes = 8;
  for (int write = 0; write < writes; ++write) {
    CAPTURE(write, static_cast<int>(f.how));
    f.start_from(original);
    REQUIRE(f.append(shard, {trim(run, 2, 3)}, true));
    REQUIRE(f.append(shard, {event(other, 6, "newer")}));
    f.give_back_until(write);
    f.open();
    f.wait_no_reclaim();
    CHECK(f.read(shard, run).value().size() == 1);
    CHECK(f.read(shard, other).value().size() == 6);
    // Two creations, six of the other, what is dead beside one of them; the last event, how the
    // workflow was then, and the trim.
    CHECK(f.log_lsns(shard).size() == 2 + 6 + 1 + 2 + 1);
    f.expect_sound();
  }
}

TEST_CASE("how a workflow was last goes once there is something newer", "[storage][upkeep]") {
  upkeep_fixture f{GENERATE(passes::of_one_block, passes::of_all_there_is)};
  f.open();
  const auto run = f.make_topic(shard, "workflow.w");
  const auto other = f.make_topic(shard, "other");
  for (std::uint64_t seq = 1; seq <= 5; ++seq) {
    REQUIRE(f.append(shard, {event(run, seq, "e"), state_of(run, seq)}));
    // What it owed is settled.
    REQUIRE(f.append(shard, {state_of(run, seq)}));
    REQUIRE(f.append(shard, {trim(run, seq, seq)}, true));
    REQUIRE(f.append(shard, {event(other, seq, "o")}));
    f.wait_no_reclaim();
    f.close();
    std::vector<std::uint64_t> found;
    REQUIRE(dump_directory(f.settings.data_dir, shard, lsn{1}, [&](shard_id, const record& next) {
      if (next.kind == record_kind::workflow_progress) found.push_back(next.entity_seq.raw());
      return true;
    }));
    CHECK(found == std::vector<std::uint64_t>{seq, seq});
    f.expect_sound();
    f.open();
    CHECK(f.read(shard, run).value().empty());
  }
}
