// Turns of actors on threads that are no workers of the actor system: each message is handled once,
// by one thread at a time, and who ends in such a turn is gone.
#include "actors/guest_turn.hpp"

#include "actors/boxed.hpp"
#include "actors/job_scheduler.hpp"
#include "actors/reader_pool.hpp"
#include "base/clock.hpp"

#include "tests/support/catch.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <atomic>
#include <future>
#include <latch>
#include <thread>
#include <vector>

using namespace callboard;
using namespace callboard::actors;

namespace {

struct guest_config : caf::actor_system_config {
  guest_config() {
    load<job_scheduler>();
    set("scheduler.max-threads", std::size_t{2});
  }
};

struct where {
  std::promise<std::thread::id> told;
};

struct hold_up {
  std::latch* begun = nullptr;
  std::latch* may_end = nullptr;
};

struct count_one {
  std::latch* all = nullptr;
};

struct end_now {};

struct seen {
  std::atomic<int> at_once = 0;
  std::atomic<int> most_at_once = 0;
  std::atomic<int> ended = 0;
};

class counting_actor final : public caf::event_based_actor {
public:
  counting_actor(caf::actor_config& config, seen& what) : event_based_actor{config}, seen_{what} {}

  caf::behavior make_behavior() override {
    return {
        [](boxed<where>& ask) { ask->told.set_value(std::this_thread::get_id()); },
        [](const boxed<hold_up>& by) {
          by->begun->count_down();
          by->may_end->wait();
        },
        [this](const boxed<count_one>& one) {
          if (++seen_.at_once > 1) seen_.most_at_once = 2;
          --seen_.at_once;
          one->all->count_down();
        },
        [this](const boxed<end_now>&) { quit(); }};
  }

  void on_exit() override { ++seen_.ended; }

private:
  seen& seen_;
};

/// On which thread `to` answers what `hand` hands over.
template <class Hand>
std::thread::id thread_of(const caf::actor& to, Hand hand) {
  where ask;
  auto answer = ask.told.get_future();
  hand(to, caf::make_message(box(std::move(ask))));
  return answer.get();
}

}  // namespace

TEST_CASE("an idle actor has its turn on the thread that tells it", "[actors][guest_turn]") {
  seen what;
  guest_config with;
  caf::actor_system system{with};
  const auto one = system.spawn<counting_actor>(what);
  // Its first turn may be the actor system's, which begins it.
  (void)thread_of(
      one, [](const auto& to, auto message) { caf::anon_send(to, std::move(message)); });
  std::thread::id by;
  do {
    by = thread_of(one, tell_and_run);
  } while (by != std::this_thread::get_id());
  CHECK(by == std::this_thread::get_id());
  caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
}

TEST_CASE("an actor at work goes on with what it is told", "[actors][guest_turn]") {
  seen what;
  guest_config with;
  caf::actor_system system{with};
  const auto one = system.spawn<counting_actor>(what);
  std::latch begun{1};
  std::latch may_end{1};
  caf::anon_send(one, box(hold_up{&begun, &may_end}));
  begun.wait();
  where ask;
  auto answer = ask.told.get_future();
  tell_and_run(one, caf::make_message(box(std::move(ask))));
  CHECK(answer.wait_for(std::chrono::seconds{0}) == std::future_status::timeout);
  may_end.count_down();
  CHECK(answer.get() != std::this_thread::get_id());
  caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
}

TEST_CASE("a turn goes to a thread that sleeps", "[actors][guest_turn]") {
  seen what;
  const manual_clock time;
  reader_pool pool{time, 1, 100};
  guest_config with;
  caf::actor_system system{with};
  const auto one = system.spawn<counting_actor>(what);
  std::promise<std::thread::id> named;
  REQUIRE(
      pool.post(reader_pool::lane::reads, [&] { named.set_value(std::this_thread::get_id()); }));
  const auto of_pool = named.get_future().get();
  const auto tell = [&](const auto& to, auto message) { tell_on(&pool, to, std::move(message)); };
  std::thread::id by;
  do {
    by = thread_of(one, tell);
  } while (by != of_pool);

  // Nobody waits for a job that takes long.
  std::latch begun{1};
  std::latch may_end{1};
  REQUIRE(pool.post(reader_pool::lane::reads, [&] {
    begun.count_down();
    may_end.wait();
  }));
  begun.wait();
  CHECK(thread_of(one, tell) != of_pool);
  may_end.count_down();
  CHECK(
      thread_of(one, [](const auto& to, auto message) { tell_on(nullptr, to, std::move(message)); })
      != of_pool);
  pool.stop();
  caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
}

TEST_CASE("each message is handled once, and one at a time", "[actors][guest_turn]") {
  constexpr int tellers = 4;
  constexpr int messages = 2000;
  seen what;
  const manual_clock time;
  reader_pool pool{time, 3, 100};
  guest_config with;
  caf::actor_system system{with};
  const auto one = system.spawn<counting_actor>(what);
  std::latch all{tellers * messages};
  std::vector<std::jthread> threads;
  for (int i = 0; i < tellers; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < messages; ++j) {
        auto message = caf::make_message(box(count_one{&all}));
        switch ((i + j) % 3) {
        case 0:
          tell_and_run(one, std::move(message));
          break;
        case 1:
          tell_on(&pool, one, std::move(message));
          break;
        default:
          caf::anon_send(one, std::move(message));
        }
      }
    });
  }
  all.wait();
  threads.clear();
  pool.stop();
  CHECK(what.most_at_once == 0);
  caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
}

TEST_CASE("who ends in a guest's turn is over, and hears no more", "[actors][guest_turn]") {
  seen what;
  const manual_clock time;
  reader_pool pool{time, 2, 100};
  {
    guest_config with;
    caf::actor_system system{with};
    for (int i = 0; i < 200; ++i) {
      auto one = system.spawn<counting_actor>(what);
      if (i % 2 == 0) {
        tell_and_run(one, caf::make_message(box(end_now{})));
      } else {
        tell_on(&pool, one, caf::make_message(box(end_now{})));
      }
      tell_and_run(one, caf::make_message(box(end_now{})));
    }
    system.await_all_actors_done();
    pool.stop();
  }
  CHECK(what.ended == 200);
}
