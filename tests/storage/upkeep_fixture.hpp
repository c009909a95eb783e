// A journal whose upkeep runs all the time, and whose passes of the projector a test can bound.
#pragma once

#include "storage/offline.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace callboard::storage::testing {

/// What is projected in one pass: whatever came in by then, each block alone, or all that was
/// appended since what is behind it was asked for (or the journal was opened).
enum class passes { as_they_come, of_one_block, of_all_there_is };

/// Waiting for upkeep takes no time.
struct upkeep_fixture : journal_fixture {
  explicit upkeep_fixture(passes how = passes::as_they_come) {
    options.upkeep_interval = std::chrono::milliseconds{1};
    options.compact_after_bytes = 1;
    settings.tail_cache_bytes_max = 0;
    options.after_upkeep = [this] { ++rounds; };
    waits_for_rows = how == passes::of_one_block;
    if (how == passes::of_all_there_is) views = held;
  }

  ~upkeep_fixture() { close(); }

  void open() {
    journal_fixture::open();
    held->hold();
  }

  void close() {
    held->let();
    journal_fixture::close();
  }

  std::uint64_t table_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator{settings.data_dir + "/db"}) {
      std::error_code gone;
      if (entry.path().extension() == ".sst") bytes += std::filesystem::file_size(entry, gone);
    }
    return bytes;
  }

  std::vector<std::uint64_t> log_lsns(shard_id shard) {
    close();
    std::vector<std::uint64_t> lsns;
    REQUIRE(dump_directory(settings.data_dir, shard, lsn{1}, [&](shard_id, const record& next) {
      lsns.push_back(next.lsn.raw());
      return true;
    }));
    return lsns;
  }

  /// Fails after a minute: the condition never became true.
  static void wait_for(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes{1};
    while (!condition()) {
      REQUIRE(std::chrono::steady_clock::now() < end);
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }

  void wait_no_reclaim() {
    held->let();
    // Two rounds after everything is applied: the second began after the rows were written.
    wait_applied(shard_id{0});
    wait_for([this, until = rounds.load() + 2] { return rounds >= until; });
    held->hold();
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

  std::shared_ptr<const held_projection> held = std::make_shared<held_projection>();
  std::atomic<std::uint64_t> rounds{0};
};

}  // namespace callboard::storage::testing
