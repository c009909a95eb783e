// kill -9 at one position of the journal after the other (tests/support/kill_at_journal.cpp).
#pragma once

#include "tests/e2e/broker.hpp"
#include "tests/e2e/what_was_done.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

/// A node on a fresh data directory that is killed at one position, and what a test asks of it. The
/// test's own class drives it, on a new node once the first is gone.
class killed_life {
public:
  virtual ~killed_life() = default;
  killed_life() = default;
  killed_life(const killed_life&) = delete;
  killed_life& operator=(const killed_life&) = delete;

  [[nodiscard]] bool was_killed() const { return was_killed_; }

  /// What the node said last.
  [[nodiscard]] const std::string& last() const { return last_; }

  [[nodiscard]] broker client() { return broker{server_->where()}; }

  [[nodiscard]] std::map<effect, int> effects() const { return effects_in(log_file()); }

  /// Whether this attempt of a step, model call or task, which was made `before` times when the
  /// node died, may have been made `now` times: once, and once more if it was under way then and
  /// its end is not in the journal that the node left.
  [[nodiscard]] bool
  may_repeat(const std::string& key, std::uint64_t attempt, int before, int now) const {
    const auto was_under_way = was_killed_ && before > 0 && !(ends_ && ends_->has(key, attempt));
    return now <= (was_under_way ? 2 : 1);
  }

  /// Fails for each step that was done again though it need not have been.
  void check_effects() const {
    if (!ends_) CHECK(effects_before_.empty());
    for (const auto& [one, count] : effects()) {
      INFO(one.what << ' ' << one.key << ' ' << one.attempt);
      const auto before = effects_before_.find(one);
      CHECK(may_repeat(
          one.key, one.attempt, before == effects_before_.end() ? 0 : before->second, count));
    }
  }

protected:
  /// Starts the node that `killer` kills at `position`: CALLBOARD_KILL_AT_JOURNAL of the test.
  void
  begin(const char* killer, const std::string& position, std::vector<std::string> arguments = {}) {
    arguments_ = std::move(arguments);
    ::setenv("LD_PRELOAD", killer, 1);
    ::setenv("CALLBOARD_KILL_AT", position.c_str(), 1);
    start();
    ::unsetenv("LD_PRELOAD");
    ::unsetenv("CALLBOARD_KILL_AT");
  }

  /// A node that nothing kills, on the same data.
  void start() {
    server_.reset();
    try {
      server_.emplace(server_options{.data_dir = folder_.path() / "data", .arguments = arguments_});
    } catch (const std::runtime_error&) {
      // Killed before it was ready.
    }
  }

  /// Calls `drive` until it says that all is done, at most for a minute; true if it did. What is
  /// asked afterwards is answered to the end: no position can come then.
  template <class Drive>
  [[nodiscard]] bool live(Drive drive) {
    const bool is_done = eventually(drive, milliseconds{60'000});
    if (!was_killed_) start();
    return is_done;
  }

  /// Starts another node if the first was killed; false if there is none.
  [[nodiscard]] bool revive() {
    if (server_ && server_->running()) return true;
    if (!was_killed_) {
      was_killed_ = true;
      ends_ = recorded_ends::read(folder_.path() / "data");
      effects_before_ = effects();
      on_death();
    }
    start();
    return server_.has_value();
  }

  /// The node is dead, and nobody has started another.
  virtual void on_death() {}

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_.path(); }

  /// Where steps write what they did to the world.
  [[nodiscard]] std::string log_file() const { return (folder() / "effects").string(); }

  /// Keeps what the node said, to be shown if something fails.
  http_response said(http_response answer) {
    last_ = answer.body;
    return answer;
  }

  std::string last_;

private:
  temp_dir folder_;
  std::vector<std::string> arguments_;
  std::optional<server_process> server_;
  bool was_killed_ = false;
  /// As the node left them.
  std::optional<recorded_ends> ends_;
  std::map<effect, int> effects_before_;
};

/// `Life` is made with a position, lives through its kill, and says `was_killed()` and `last()`:
/// what the node said last. Each is checked; ends behind the last position, and fails if there were
/// not more than `positions_min`. A start alone writes 32 times.
template <class Life, class Check>
void kill_everywhere(const std::string& at, Check check, int positions_min = 20) {
  // How often the journal is written varies a little from life to life.
  constexpr int survivors_in_a_row = 3;
  int position = 0;
  int killed = 0;
  for (int survived = 0; survived < survivors_in_a_row;) {
    const auto where = at + std::to_string(++position);
    INFO("CALLBOARD_KILL_AT=" << where);
    Life life{where};
    INFO(life.last());
    check(life);
    survived = life.was_killed() ? 0 : survived + 1;
    killed += life.was_killed() ? 1 : 0;
  }
  std::cout << at << " killed at " << killed << " positions" << std::endl;
  CHECK(killed > positions_min);
}

}  // namespace callboard::testing
