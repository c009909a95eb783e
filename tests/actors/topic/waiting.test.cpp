// The threads that run what others may not wait for, and the timers of runs: both are to cost few
// wake-ups, and nobody may be left waiting for it.
#include "actors/reader_pool.hpp"
#include "actors/run_timers.hpp"
#include "base/clock.hpp"

#include "tests/support/catch.hpp"

#include <latch>
#include <utility>
#include <vector>

using namespace callboard;
using namespace callboard::actors;
using namespace std::chrono_literals;

TEST_CASE("a pool runs as many jobs at once as it has threads", "[actors][reader_pool]") {
  constexpr int threads = 8;
  for (int round = 0; round < 200; ++round) {
    reader_pool pool{threads, 100};
    // Each job ends only once all have begun: one that waits behind another hangs the test.
    std::latch begun{threads};
    std::latch ended{threads};
    for (int i = 0; i < threads; ++i) {
      REQUIRE(pool.post(reader_pool::lane::reads, [&] {
        begun.arrive_and_wait();
        ended.count_down();
      }));
    }
    ended.wait();
  }
}

namespace {

/// Stands for the actor: hands on what was sent once its time has come.
struct timed_actor {
  manual_clock time;
  std::vector<std::pair<boot_time, run_timers::work>> sent;
  std::size_t sent_ever = 0;
  /// What is sent a second or more ahead arrives so much earlier.
  std::chrono::milliseconds early{0};
  run_timers timers{time, [this](std::chrono::milliseconds delay, run_timers::work work) {
                      ++sent_ever;
                      if (delay >= 1s) delay -= early;
                      sent.emplace_back(time.boot() + delay, std::move(work));
                    }};

  void advance(std::chrono::milliseconds by) {
    for (; by > 0ms; by -= 1ms) {
      time.advance(1ms);
      for (auto& [due, work] : std::exchange(sent, {})) {
        if (due <= time.boot()) {
          work();
        } else {
          sent.emplace_back(due, std::move(work));
        }
      }
    }
  }
};

}  // namespace

TEST_CASE("timers of a run fire in their order and not early", "[actors][run_timers]") {
  timed_actor actor;
  std::vector<int> fired;
  const auto note = [&](int what) { return [&fired, what] { fired.push_back(what); }; };
  actor.timers.add(20'000ms, note(3));
  actor.timers.add(5ms, note(1));
  actor.timers.add(1'500ms, note(2));
  actor.advance(4ms);
  CHECK(fired.empty());
  actor.advance(1ms);
  CHECK(fired == std::vector{1});
  actor.advance(1'494ms);
  CHECK(fired == std::vector{1});
  actor.advance(1ms);
  CHECK(fired == std::vector{1, 2});
  actor.advance(18'499ms);
  CHECK(fired == std::vector{1, 2});
  actor.advance(1ms);
  CHECK(fired == std::vector{1, 2, 3});
  actor.advance(60'000ms);
  CHECK(actor.sent.empty());
}

TEST_CASE("a wake-up that comes early is followed by one in time", "[actors][run_timers]") {
  timed_actor actor;
  actor.early = 400ms;
  int fired = 0;
  actor.timers.add(1'000ms, [&] { ++fired; });
  actor.timers.add(2'500ms, [&] { ++fired; });
  actor.advance(999ms);
  CHECK(fired == 0);
  actor.advance(1ms);
  CHECK(fired == 1);
  actor.advance(1'499ms);
  CHECK(fired == 1);
  actor.advance(1ms);
  CHECK(fired == 2);
}

TEST_CASE("a run that is over soon sends one message through the clock", "[actors][run_timers]") {
  timed_actor actor;
  bool left = false;
  actor.timers.add(5'000ms, [] {});
  actor.timers.add(60'000ms, [] {});
  actor.advance(20ms);
  actor.timers.add_at_leisure([&] { left = true; });
  CHECK(actor.sent_ever == 1);
  actor.advance(979ms);
  CHECK_FALSE(left);
  actor.advance(1ms);
  CHECK(left);
}

TEST_CASE("what waits for leisure waits no longer than a second", "[actors][run_timers]") {
  timed_actor actor;
  actor.timers.add(60'000ms, [] {});
  actor.advance(9'000ms);
  bool done = false;
  actor.timers.add_at_leisure([&] { done = true; });
  actor.advance(1'000ms);
  CHECK(done);
}
