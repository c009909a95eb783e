// Which runs a shard wakes when it begins, and begins again before it knows.
#include "actors/run_schedule.hpp"

#include "actors/boxed.hpp"
#include "actors/stuck_runs.hpp"
#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "runtime/topic/broker_projection.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/run_row.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/memory_journal.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>

#include <callboard/workflow.hpp>
#include <chrono>
#include <future>
#include <optional>
#include <set>
#include <string>

using namespace callboard;
using namespace callboard::actors;

namespace {

/// A schedule whose answers the test takes when it wants.
struct schedule_bench {
  ~schedule_bench() { readers.stop(); }

  /// The next answer of the readers; nothing if none comes.
  [[nodiscard]] std::optional<boxed<runs_found>> next(std::chrono::milliseconds patience) {
    std::optional<boxed<runs_found>> found;
    shard->receive(
        [&](boxed<runs_found>& message) { found = std::move(message); },
        caf::after(patience) >> [] {});
    return found;
  }

  [[nodiscard]] caf::actor self() { return caf::actor_cast<caf::actor>(shard); }

  config settings;
  manual_clock time;
  metrics counters;
  testing::memory_journal journal{1, std::make_shared<runtime::broker_projection>(), time};
  runtime::workflow_registry code;
  caf::actor_system_config system_config;
  caf::actor_system system{system_config};
  caf::scoped_actor shard{system, true};
  reader_pool readers{time, 1, 100};
  stuck_runs stuck;
  broker_parts parts{
      .settings = settings,
      .journal = journal,
      .readers = readers,
      .time = time,
      .counters = counters,
      .workflows = &code,
      .stuck = &stuck};
  run_schedule schedule{parts, shard_id{0}};
};

struct idle_workflow : workflow<idle_workflow> {
  static constexpr std::string_view type = "test.idle";

  flow<json> run(context&, json) { co_return json(1); }
};

constexpr std::chrono::seconds long_enough{20};
constexpr std::chrono::milliseconds none_comes{100};

}  // namespace

TEST_CASE("a start that is asked for while another is read is read, too", "[actors][topic]") {
  schedule_bench bench;
  bench.schedule.start(bench.self());
  // The shard begins again: what went to work since the read was posted may not be in it.
  bench.schedule.start(bench.self());
  auto first = bench.next(long_enough);
  REQUIRE(first);
  CHECK((*first)->is_start);
  (void)bench.schedule.take(**first, bench.self());
  auto second = bench.next(long_enough);
  REQUIRE(second);
  CHECK((*second)->is_start);
  (void)bench.schedule.take(**second, bench.self());
  CHECK_FALSE(bench.next(none_comes));
}

TEST_CASE("a start that could not be read is read again", "[actors][topic]") {
  schedule_bench bench;
  bench.journal.refuse_reads(shard_id{0}, error{errc::overloaded, "injected", 100});
  bench.schedule.start(bench.self());
  auto failed = bench.next(long_enough);
  REQUIRE(failed);
  CHECK_FALSE((*failed)->found);
  (void)bench.schedule.take(**failed, bench.self());
  bench.journal.refuse_reads(shard_id{0}, std::nullopt);
  bench.schedule.look(bench.self());
  auto again = bench.next(long_enough);
  REQUIRE(again);
  CHECK((*again)->is_start);
}

TEST_CASE("what a deleted run has left to be woken wakes no other of its name", "[actors][topic]") {
  schedule_bench bench;
  REQUIRE(bench.code.add(idle_workflow::definition()));
  const topic_ref channel{tenant_name::trusted("acme"), topic_name::trusted("workflow.w")};
  const auto append = [&](storage::record_kind kind, entity_id entity, shared_bytes payload) {
    lsn at{};
    REQUIRE(bench.journal.append(
        {.shard = shard_id{0},
         .activation = bench.journal.begin_activation(shard_id{0}).value(),
         .records = {{kind, entity, {}, std::move(payload)}},
         .listener = [&](storage::append_stage, const auto& outcome) { at = outcome->first; }}));
    bench.journal.commit();
    return entity_id{at.raw()};
  };
  const auto make = [&](std::vector<runtime::run_timer> timers) {
    const auto made =
        append(storage::record_kind::topic_created, {}, runtime::encode_topic_created(channel, {}));
    runtime::workflow_progress progress{.channel = channel};
    progress.row.type = "test.idle";
    progress.set = std::move(timers);
    append(
        storage::record_kind::workflow_progress, made, runtime::encode_workflow_progress(progress));
    return made;
  };
  const auto due = [&] {
    bench.journal.commit();
    auto reader = bench.journal.read(shard_id{0});
    const timer_order order{.horizon = time_ms{std::chrono::hours{1}}, .code = &bench.code};
    return find_due_runs(**reader, order).value();
  };
  const runtime::run_timer timer{time_ms{std::chrono::minutes{1}}, 1};
  const auto first = make({timer});
  CHECK(due().due.size() == 1);
  append(
      storage::record_kind::topic_deleted,
      first,
      runtime::encode_topic_deleted(channel, sequence{}));
  make({});
  const auto left = due();
  CHECK(left.due.empty());
  CHECK_FALSE(left.has_timers);
  // Its own wakes it, though one of the first is due at the same time.
  make({timer});
  CHECK(due().due.size() == 1);
}
