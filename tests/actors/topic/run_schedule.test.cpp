// Which runs a shard wakes when it begins, and begins again before it knows.
#include "actors/run_schedule.hpp"

#include "actors/boxed.hpp"
#include "actors/router.hpp"
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

TEST_CASE("a sweep comes to every run in a lap, a few at a time", "[actors][topic]") {
  struct counting_router final : router {
    result<void> publish(publish_batch, const caf::actor&) override { return {}; }

    result<void> control(control_request request, const caf::actor&) override {
      if (is_full) return fail(errc::overloaded, "no room");
      asked.insert(std::get<check_run>(request.body).topic.topic.str());
      ++at_once;
      return {};
    }

    void attach(attach_relay, const caf::actor&) override {}

    void detach(detach_relay, const caf::actor&) override {}

    time_ms event_time() const override { return {}; }

    void watch(const watch_pattern&, const caf::actor&) override {}

    void unwatch(const unwatch_pattern&, const caf::actor&) override {}

    std::set<std::string> asked;
    std::size_t at_once = 0;
    bool is_full = false;
  };

  schedule_bench bench;
  REQUIRE(bench.code.add(idle_workflow::definition()));
  counting_router router;
  bench.parts.router = &router;
  bench.settings.workflows.retention_s = 0;
  const auto activation = bench.journal.begin_activation(shard_id{0}).value();
  for (int i = 0; i < 7000; ++i) {
    const auto name = "workflow.w" + std::to_string(i);
    runtime::workflow_progress progress{
        .channel = {tenant_name::trusted("acme"), topic_name::trusted(name)}};
    // Some that wait, some that are blocked, some that no node has the code of.
    progress.row.type = i % 7 == 0 ? "test.gone" : "test.idle";
    progress.row.needs_wake = true;
    if (i % 7 == 1) progress.row.status = runtime::run_status::blocked;
    REQUIRE(bench.journal.append(
        {.shard = shard_id{0},
         .activation = activation,
         .records =
             {{storage::record_kind::workflow_progress,
               entity_id{static_cast<std::uint64_t>(i) + 1},
               {},
               runtime::encode_workflow_progress(progress)}},
         .listener = [](storage::append_stage, const auto&) {}}));
  }
  bench.journal.commit();
  bench.journal.commit();
  const auto stuck = [&] {
    return bench.counters.expose().find("callboard_workflows_stuck 2000") != std::string::npos;
  };
  {
    auto reader = bench.journal.read(shard_id{0});
    const auto found =
        look_through(**reader, {&bench.code, bench.stuck, {}, {}, {{}, 50}, {{}, 50}}).value();
    CHECK(found.stuck_count == 2000);
    CHECK(found.stuck.size() == stuck_named_max);
    CHECK(found.blocked.count == 1000);
    CHECK(found.blocked.runs.empty());
    CHECK(found.working.count == 5000);
    CHECK(found.working.runs.size() == 50);
    CHECK(found.parked.count == 0);
  }
  run_sweep sweep{bench.parts, shard_id{0}};
  const auto look_for = [&](std::size_t looks) {
    for (std::size_t tick = 0; tick < looks * 120; ++tick) {
      router.at_once = 0;
      sweep.look(bench.self());
      CHECK(router.at_once <= 20);
      // What was posted before is done when this is.
      std::promise<void> done;
      REQUIRE(bench.readers.post(reader_pool::lane::reads, [&] { done.set_value(); }));
      done.get_future().wait();
      bench.time.advance(std::chrono::milliseconds{500});
    }
  };
  router.is_full = true;
  look_for(1);
  CHECK(stuck());
  CHECK(router.asked.empty());
  router.is_full = false;
  // The first look does not know yet how many there are.
  look_for(looks_per_lap + 2);
  CHECK(router.asked.size() == 6000);
}
