// Goal: kill -9 at any moment loses no acked record and no acked topic, and makes none twice.
// Method: a writer process tells every ack over a pipe and is killed at random; what the pipe had
// is the outside record that the directory is then compared with, round after round.
#include "storage/offline.hpp"

#include "tests/storage/journal_fixture.hpp"
#include "tests/support/catch.hpp"

#include <csignal>
#include <fcntl.h>
#include <iostream>
#include <map>
#include <poll.h>
#include <random>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

namespace {

struct outside_record {
  /// (shard, entity) -> last acked sequence.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> acked;
  /// name -> (shard, entity)
  std::map<std::string, std::pair<std::uint32_t, std::uint64_t>> topics;

  void take(const std::string& line) {
    std::istringstream words{line};
    std::string what;
    std::uint32_t shard = 0;
    std::uint64_t entity = 0;
    words >> what >> shard >> entity;
    if (what == "ack") {
      std::uint64_t last = 0;
      words >> last;
      auto& known = acked[{shard, entity}];
      known = std::max(known, last);
    } else if (what == "topic") {
      std::string name;
      words >> name;
      topics[name] = {shard, entity};
    }
  }
};

/// Runs the writer and kills it `after` from when it is ready. True if it was ready.
bool run_and_kill(
    const std::string& folder,
    unsigned seed,
    std::chrono::microseconds after,
    outside_record& record) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string program = CRASH_WRITER;
  std::string first = folder;
  std::string second = std::to_string(seed);
  char* arguments[] = {program.data(), first.data(), second.data(), nullptr};
  pid_t child = 0;
  REQUIRE(::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text;
  char buffer[65536];
  bool is_ready = false;
  std::optional<std::chrono::steady_clock::time_point> end;
  for (;;) {
    pollfd waiting{.fd = ends[0], .events = POLLIN, .revents = 0};
    ::poll(&waiting, 1, 1);
    if (end && std::chrono::steady_clock::now() >= *end) ::kill(child, SIGKILL);
    if (waiting.revents == 0) continue;
    const auto count = ::read(ends[0], buffer, sizeof(buffer));
    if (count <= 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
    if (!is_ready && text.contains("ready\n")) {
      is_ready = true;
      end = std::chrono::steady_clock::now() + after;
    }
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  INFO("writer ended with status " << status);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);)
    record.take(line);
  return is_ready;
}

void compare(journal_fixture& f, const outside_record& record) {
  for (const auto& [name, place] : record.topics) {
    const auto row = f.journal->read(shard_id{place.first}).value()->get(view_id::catalogue, name);
    CHECK(row.value().value_or("missing") == std::to_string(place.second));
  }
  for (const auto& [place, last] : record.acked) {
    const shard_id shard{place.first};
    const entity_id entity{place.second};
    CAPTURE(place.first, place.second, last);
    const auto events = f.read(shard, entity);
    REQUIRE(events);
    REQUIRE(events->size() >= last);
    for (std::size_t i = 0; i < events->size(); ++i) {
      REQUIRE((*events)[i] == std::to_string(place.second) + "/" + std::to_string(i + 1));
    }
    // Each record was projected exactly once.
    const auto row =
        f.journal->read(shard).value()->get(view_id::topic_state, std::to_string(entity.raw()));
    CHECK(row.value().value_or("0") == std::to_string(events->size()));
  }
}

}  // namespace

TEST_CASE("kill -9 at random points loses nothing acked and doubles nothing", "[storage][crash]") {
  const auto seed = std::random_device{}();
  std::cout << "seed of kills: " << seed << '\n';
  CAPTURE(seed);
  std::mt19937 random{seed};
  journal_fixture f;
  outside_record record;
  int ready = 0;
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    const std::chrono::microseconds after{
        std::uniform_int_distribution<std::int64_t>{0, 120'000}(random)};
    if (run_and_kill(f.settings.data_dir, static_cast<unsigned>(random()), after, record)) ++ready;
    const auto opened = f.try_open();
    INFO((opened ? "" : opened.error().detail));
    REQUIRE(opened);
    compare(f, record);
    f.close();
  }
  CHECK(ready == 40);
  CHECK(record.topics.size() > 10);
  CHECK_FALSE(record.acked.empty());
  const auto report = verify_directory(f.settings.data_dir, f.views, {});
  REQUIRE(report);
  for (const auto& damage : report->damage)
    FAIL_CHECK(damage.file << ": " << damage.what);
}
