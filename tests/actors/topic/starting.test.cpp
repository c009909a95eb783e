// What a node does first: nothing before all its shards are there.
#include "actors/broker_parts.hpp"
#include "actors/local_router.hpp"
#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "runtime/topic/broker_projection.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/memory_journal.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <algorithm>
#include <atomic>

using namespace callboard;
using callboard::testing::eventually;

TEST_CASE("no shard begins before the router knows them all", "[actors][topic]") {
  // So many that the first could begin long before the last is made.
  constexpr std::uint32_t count = 1024;
  const config settings;
  const manual_clock time;
  metrics counters;
  testing::memory_journal journal{count, std::make_shared<runtime::broker_projection>(), time};
  actors::reader_pool readers{time, 1, 10'000};
  caf::actor_system_config two_threads;
  two_threads.set("scheduler.policy", caf::atom("sharing"));
  two_threads.set("scheduler.max-threads", std::size_t{2});
  caf::actor_system system{two_threads};
  actors::broker_parts parts{
      .settings = settings,
      .journal = journal,
      .readers = readers,
      .time = time,
      .counters = counters};
  std::atomic<std::uint32_t> begun{0};
  std::atomic<std::uint32_t> begun_early{0};
  journal.on_activation([&] {
    ++begun;
    if (system.registry().running() < count) ++begun_early;
  });
  actors::local_router router{system, parts};
  CHECK(eventually([&] { return begun == count; }, std::chrono::seconds{60}));
  CHECK(begun_early == 0);
  router.stop();
  system.await_all_actors_done();
  readers.stop();
}
