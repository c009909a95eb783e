// The threads that run what others may not wait for, and the timers of runs: both are to cost few
// wake-ups, and nobody may be left waiting for it.
#include "actors/boxed.hpp"
#include "actors/job_scheduler.hpp"
#include "actors/reader_pool.hpp"
#include "actors/run_timers.hpp"
#include "base/clock.hpp"

#include "tests/support/catch.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <atomic>
#include <cstdlib>
#include <latch>
#include <utility>
#include <vector>

using namespace callboard;
using namespace callboard::actors;
using namespace std::chrono_literals;

TEST_CASE("a pool runs as many jobs at once as it has threads", "[actors][reader_pool]") {
  constexpr int threads = 8;
  const manual_clock time;
  for (int round = 0; round < 200; ++round) {
    reader_pool pool{time, threads, 100};
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

TEST_CASE("a pool shows how many wait, and how long the first has", "[actors][reader_pool]") {
  manual_clock time;
  reader_pool pool{time, 1, 100};
  CHECK(pool.oldest_wait() == 0ms);
  std::latch begun{1};
  std::latch freed{1};
  REQUIRE(pool.post(reader_pool::lane::reads, [&] {
    begun.count_down();
    freed.wait();
  }));
  begun.wait();
  REQUIRE(pool.post(reader_pool::lane::reads, [] {}));
  time.advance(2000ms);
  REQUIRE(pool.post(reader_pool::lane::control, [] {}));
  time.advance(3000ms);
  CHECK(pool.depth() == 2);
  CHECK(pool.oldest_wait() == 5000ms);
  freed.count_down();
  pool.stop();
  CHECK(pool.depth() == 0);
  CHECK(pool.oldest_wait() == 0ms);
}

namespace {

/// What ran, in its order, on the one thread of a pool.
class one_by_one {
public:
  explicit one_by_one(int jobs) : left_{jobs} {
    REQUIRE(pool_.post(reader_pool::lane::control, [&] { begun_.wait(); }));
  }

  reader_pool& pool() { return pool_; }

  std::vector<int> all() {
    begun_.count_down();
    left_.wait();
    pool_.stop();
    return ran_;
  }

  reader_pool::work note(int number) {
    return [this, number] {
      ran_.push_back(number);
      left_.count_down();
    };
  }

private:
  manual_clock time_;
  std::vector<int> ran_;
  std::latch begun_{1};
  std::latch left_;
  reader_pool pool_{time_, 1, 100};
};

}  // namespace

TEST_CASE("what a job leaves to be done goes before what waits", "[actors][reader_pool]") {
  one_by_one jobs{3};
  auto& pool = jobs.pool();
  REQUIRE(pool.post(reader_pool::lane::reads, [&] {
    REQUIRE(pool.post_next(jobs.note(2)));
    jobs.note(1)();
  }));
  REQUIRE(pool.post(reader_pool::lane::reads, jobs.note(3)));
  CHECK(jobs.all() == std::vector{1, 2, 3});
}

TEST_CASE("of what a job leaves only the first goes before others", "[actors][reader_pool]") {
  one_by_one jobs{4};
  auto& pool = jobs.pool();
  REQUIRE(pool.post(reader_pool::lane::reads, [&] {
    for (const int number : {1, 3, 4})
      REQUIRE(pool.post_next(jobs.note(number)));
  }));
  REQUIRE(pool.post(reader_pool::lane::reads, jobs.note(2)));
  CHECK(jobs.all() == std::vector{1, 2, 3, 4});
}

TEST_CASE(
    "control goes before what may take long and nobody else is there", "[actors][reader_pool]") {
  one_by_one jobs{3};
  auto& pool = jobs.pool();
  REQUIRE(pool.post(reader_pool::lane::control, [&] { REQUIRE(pool.post_next(jobs.note(2))); }));
  REQUIRE(pool.post(reader_pool::lane::control, jobs.note(1)));
  REQUIRE(pool.post(reader_pool::lane::reads, jobs.note(3)));
  CHECK(jobs.all() == std::vector{1, 2, 3});
}

TEST_CASE("what is left from outside the pool waits its turn", "[actors][reader_pool]") {
  one_by_one jobs{3};
  auto& pool = jobs.pool();
  REQUIRE(pool.post(reader_pool::lane::reads, jobs.note(1)));
  REQUIRE(pool.post_next(jobs.note(2)));
  REQUIRE(pool.post(reader_pool::lane::control, jobs.note(0)));
  CHECK(jobs.all() == std::vector{0, 1, 2});
  const auto refused = pool.post_next([] {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::draining);
}

TEST_CASE("what jobs leave and what is posted is done on all threads", "[actors][reader_pool]") {
  constexpr int threads = 4;
  constexpr int rounds = 5'000;
  const manual_clock time;
  std::atomic<int> turns{0};
  std::latch steps{rounds};
  reader_pool pool{time, threads, rounds};
  for (int i = 0; i < rounds; ++i) {
    reader_pool::work turn = [&] {
      ++turns;
      if (!pool.post_next([&] { steps.count_down(); })) std::abort();
    };
    // As the writer tells runs: to a thread that is idle, or to somebody else.
    if (!pool.post_if_idle(turn)) turn();
  }
  steps.wait();
  CHECK(turns == rounds);
  CHECK(pool.depth() == 0);
}

TEST_CASE("a turn does not wait for jobs that take long", "[actors][reader_pool]") {
  constexpr int threads = 3;
  const manual_clock time;
  for (int round = 0; round < 200; ++round) {
    std::latch turns{2 * threads};
    std::latch freed{1};
    reader_pool pool{time, threads, 100};
    int accepted = 0;
    while (accepted < 2 * threads) {
      reader_pool::work turn = [&] {
        // A step that ends only when all turns were had.
        if (!pool.post_next([&] { freed.wait(); })) std::abort();
        turns.count_down();
      };
      if (!pool.post_if_idle(turn)) turn();
      ++accepted;
    }
    turns.wait();
    freed.count_down();
  }
}

namespace {

struct meet {
  std::latch* begun = nullptr;
  std::latch* ended = nullptr;
};

/// Waits on its thread until the others are there, too.
class meeting_actor final : public caf::event_based_actor {
public:
  using event_based_actor::event_based_actor;

  caf::behavior make_behavior() override {
    return {[](const boxed<meet>& where) {
      where->begun->arrive_and_wait();
      where->ended->count_down();
    }};
  }
};

struct hand_on {
  int left = 0;
  std::latch* ended = nullptr;
  std::chrono::milliseconds delay{0};
};

/// Sends what it gets to the next in the ring.
class ring_actor final : public caf::event_based_actor {
public:
  using event_based_actor::event_based_actor;

  caf::behavior make_behavior() override {
    return {
        [this](const caf::actor& next) { next_ = next; },
        [this](const boxed<hand_on>& what) {
          if (what->left == 0) return what->ended->count_down();
          auto rest = box(hand_on{what->left - 1, what->ended});
          what->delay == 0ms ? send(next_, std::move(rest))
                             : delayed_send(next_, what->delay, std::move(rest));
        }};
  }

  void on_exit() override { next_ = nullptr; }

private:
  caf::actor next_;
};

constexpr int job_threads = 4;

struct sharing_config : caf::actor_system_config {
  sharing_config() {
    load<job_scheduler>();
    set("scheduler.max-threads", std::size_t{job_threads});
  }
};

}  // namespace

TEST_CASE("as many actors run at once as there are threads", "[actors][job_sharing]") {
  sharing_config with;
  caf::actor_system system{with};
  std::vector<caf::actor> all;
  for (int i = 0; i < job_threads; ++i)
    all.push_back(system.spawn<meeting_actor>());
  for (int round = 0; round < 500; ++round) {
    // Each message is done only once all have begun: one that waits behind another hangs the test.
    std::latch begun{job_threads};
    std::latch ended{job_threads};
    for (const auto& one : all)
      caf::anon_send(one, box(meet{&begun, &ended}));
    ended.wait();
  }
  for (const auto& one : all)
    caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
}

TEST_CASE("no message is left lying between actors", "[actors][job_sharing]") {
  sharing_config with;
  caf::actor_system system{with};
  constexpr int actors = 50;
  constexpr int messages = 20;
  std::vector<caf::actor> ring;
  for (int i = 0; i < actors; ++i)
    ring.push_back(system.spawn<ring_actor>());
  for (int i = 0; i < actors; ++i)
    caf::anon_send(ring[i], ring[(i + 1) % actors]);
  std::latch ended{messages};
  for (int i = 0; i < messages; ++i)
    caf::anon_send(ring[i], box(hand_on{2'000, &ended}));
  ended.wait();
  for (const auto& one : ring)
    caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
}

TEST_CASE(
    "a message that is sent for later comes when others have ended", "[actors][job_sharing]") {
  sharing_config with;
  caf::actor_system system{with};
  const auto first = system.spawn<ring_actor>();
  const auto last = system.spawn<ring_actor>();
  caf::anon_send(first, last);
  std::latch ended{1};
  const auto began = std::chrono::steady_clock::now();
  caf::anon_send(first, box(hand_on{1, &ended, 20ms}));
  // Its sender need not be there then.
  caf::anon_send_exit(first, caf::exit_reason::user_shutdown);
  ended.wait();
  CHECK(std::chrono::steady_clock::now() - began >= 20ms);
  caf::anon_send_exit(last, caf::exit_reason::user_shutdown);
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
