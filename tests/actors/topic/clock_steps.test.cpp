// How exactly sleeps end while the machine's clock is set, on virtual time: by the time that has
// passed, whatever the wall clock shows.
#include "actors/run_reads.hpp"
#include "runtime/workflow/json_values.hpp"

#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json/parse.hpp>

#include <callboard/workflow.hpp>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <utility>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

constexpr auto nap = 20s;
constexpr auto exactness = 50ms;

struct napping_workflow : workflow<napping_workflow> {
  static constexpr std::string_view type = "test.napping";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.sleep(nap).required();
    co_return json(1);
  }
};

/// Sleeps until this time of the wall clock, in milliseconds, and gives what its own clock shows.
struct waking_workflow : workflow<waking_workflow> {
  static constexpr std::string_view type = "test.waking";

  flow<json> run(context& ctx, std::int64_t due) {
    co_await ctx.sleep_until(std::chrono::sys_time{std::chrono::milliseconds{due}}).required();
    co_return ctx.now().time_since_epoch().count();
  }
};

/// Sleeps until the first of these times, naps in this run and in the next, and adds to them what
/// its clock shows before and behind each nap.
struct looking_workflow : workflow<looking_workflow> {
  static constexpr std::string_view type = "test.looking";

  flow<json> run(context& ctx, json input) {
    auto seen = input.as_array();
    const auto look = [&] { seen.emplace_back(ctx.now().time_since_epoch().count()); };
    if (seen.size() == 1) {
      const std::chrono::milliseconds due{seen[0].as_int64()};
      co_await ctx.sleep_until(std::chrono::sys_time{due}).required();
    }
    look();
    co_await ctx.sleep(5s).required();
    look();
    if (seen.size() < 5) co_return ctx.continue_as_new(seen);
    co_return seen;
  }
};

class napping_node {
public:
  napping_node() {
    REQUIRE(code_.add(napping_workflow::definition()));
    broker = std::make_unique<virtual_broker>(config{}, &code_);
    REQUIRE(broker->ask_now(start_workflow{channel(), "test.napping", "1", {}, {}}));
    broker->settle();
    began_ = broker->time.boot();
  }

  [[nodiscard]] bool is_awake() {
    const auto answer = broker->ask_now(get_workflow{channel()});
    const auto body = boost::json::parse(std::get<workflow_answer>(answer.value()).body);
    return body.at("status") == "completed";
  }

  void pass(std::chrono::milliseconds by) {
    for (std::chrono::milliseconds done{0}; done < by; done += 10ms) {
      broker->tick(10ms);
      broker->settle();
    }
  }

  /// Starts the machine anew. How long it had slept by then.
  [[nodiscard]] std::chrono::milliseconds reboot() {
    const auto gone = broker->time.boot() - began_;
    broker->time.reboot();
    broker->crash();
    began_ = broker->time.boot();
    return std::chrono::duration_cast<std::chrono::milliseconds>(gone);
  }

  /// How long it slept, if it woke within a minute; looks every 10 ms.
  [[nodiscard]] std::chrono::milliseconds slept() {
    while (broker->time.boot() - began_ < nap + 60s) {
      if (is_awake()) break;
      pass(10ms);
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(broker->time.boot() - began_);
  }

  std::unique_ptr<virtual_broker> broker;

private:
  static topic_ref channel() { return virtual_broker::topic("workflow.w"); }

  runtime::workflow_registry code_;
  boot_time began_{};
};

}  // namespace

TEST_CASE("a sleep on a quiet node ends within 50 ms of its time", "[actors][workflow]") {
  napping_node node;
  const auto slept = node.slept();
  CHECK(slept >= nap);
  CHECK(slept <= nap + exactness);
}

TEST_CASE("a step of the wall clock ends no sleep early or late", "[actors][workflow]") {
  const auto by = GENERATE(as<std::chrono::milliseconds>{}, 1h, -1h);
  // Its run is in memory, has left it, or is being woken.
  const auto after = GENERATE(as<std::chrono::milliseconds>{}, 0ms, 5s, 19s);
  napping_node node;
  node.pass(after);
  node.broker->time.step_wall(by);
  const auto slept = node.slept();
  // Shard time is drawn towards the wall clock, by a thousandth.
  CHECK(slept >= nap - exactness);
  CHECK(slept <= nap + exactness);
}

TEST_CASE("a sleep over a restart goes on from what the shard recorded", "[actors][workflow]") {
  const auto before = GENERATE(as<std::chrono::milliseconds>{}, 1s, 12s);
  napping_node node;
  node.pass(before);
  SECTION("as if nothing was, where the clock was let be") {
    node.broker->crash();
    const auto slept = node.slept();
    CHECK(slept >= nap);
    CHECK(slept <= nap + 2s);
  }
  SECTION("neither early nor late, where it was set") {
    node.broker->time.step_wall(GENERATE(as<std::chrono::milliseconds>{}, 1h, -1h));
    node.broker->crash();
    if (GENERATE(false, true)) node.broker->crash();
    const auto slept = node.slept();
    CHECK(slept >= nap - exactness);
    CHECK(slept <= nap + 2s);
  }
  SECTION("not an hour late, where it was set back and the machine started anew") {
    node.broker->time.step_wall(-1h);
    const auto gone = node.reboot();
    const auto slept = gone + node.slept();
    CHECK(slept >= nap - exactness);
    // What passed since the last record is not known.
    CHECK(slept <= nap + before + 2s);
  }
  SECTION("at once, where it was set forward and the machine started anew: nobody can know") {
    node.broker->time.step_wall(1h);
    const auto gone = node.reboot();
    CHECK(gone + node.slept() < nap);
  }
}

namespace {

/// When a run that sleeps until a time of the wall clock woke, by each clock, in milliseconds.
struct woken {
  std::int64_t due = 0;
  std::int64_t by_wall = 0;
  std::int64_t by_code = 0;
  std::int64_t by_record = 0;
};

class waking_node {
public:
  explicit waking_node(std::uint64_t seed) : draw_{seed} {
    REQUIRE(code_.add(waking_workflow::definition()));
    broker_ = std::make_unique<virtual_broker>(config{}, &code_);
  }

  /// The wall clock is set anew before and while the run sleeps, up to so far from the boot-time
  /// clock.
  woken wake(std::int64_t step_max) {
    const auto step = [&] {
      const auto off = static_cast<std::int64_t>(draw_() % (2 * step_max + 1)) - step_max;
      broker_->time.step_wall(std::chrono::milliseconds{off - std::exchange(off_, off)});
    };
    const auto channel = virtual_broker::topic("workflow.w" + std::to_string(++runs_));
    step();
    // Shard time is drawn towards the wall clock, so that they differ by a fraction.
    for (auto ticks = draw_() % 20; ticks > 0; --ticks)
      pass();
    woken told{.due = wall() + tick.count() * static_cast<std::int64_t>(2 + draw_() % 20)};
    REQUIRE(
        broker_->ask_now(start_workflow{channel, "test.waking", std::to_string(told.due), {}, {}}));
    while (!has_woken(channel, told)) {
      if (wall() > told.due + 5'000) FAIL("it sleeps on");
      if (draw_() % 10 == 0) step();
      pass();
    }
    return told;
  }

private:
  static constexpr std::chrono::milliseconds tick{10};

  [[nodiscard]] std::int64_t wall() const {
    return std::chrono::floor<std::chrono::milliseconds>(broker_->time.wall().time_since_epoch())
        .count();
  }

  void pass() {
    broker_->tick(tick);
    broker_->settle();
  }

  bool has_woken(const topic_ref& channel, woken& told) {
    auto reader = broker_->journal.read(broker_->shard_of(channel.topic.str()));
    const auto row = read_workflow_row(**reader, channel).value();
    REQUIRE(row);
    if (!row->ended) return false;
    told.by_wall = wall();
    told.by_code = std::stoll(row->result);
    const auto is_read = visit_history(
        **reader, row->entity, row->first_seq, 1, [&](const auto& event, const auto&) {
          if (event.kind != runtime::run_event_kind::timer_fired) return true;
          told.by_record = runtime::shown_ms(event.time);
          return false;
        });
    REQUIRE(is_read);
    return true;
  }

  std::mt19937_64 draw_;
  runtime::workflow_registry code_;
  std::unique_ptr<virtual_broker> broker_;
  std::int64_t off_ = 0;
  int runs_ = 0;
};

}  // namespace

TEST_CASE("sleep_until ends early by no clock", "[actors][workflow]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto seed = given != nullptr ? std::strtoull(given, nullptr, 10)
                                     : static_cast<std::uint64_t>(std::random_device{}());
  INFO("CALLBOARD_SEED=" << seed);
  waking_node node{seed};
  // As fine as the clocks of one machine differ, and as time services set them.
  for (const std::int64_t step_max : {0, 2, 50, 300}) {
    for (int i = 0; i < 40; ++i) {
      const auto told = node.wake(step_max);
      INFO("steps of at most " << step_max << " ms");
      CHECK(told.by_wall >= told.due);
      CHECK(told.by_record >= told.due);
      CHECK(told.by_code >= told.due);
    }
  }
}

TEST_CASE("a run's clock shows no less than it slept until, however the clock is set", "[actors]") {
  // Until shard time is past it, too; at once, where the clock was set by less than a second.
  const auto by = GENERATE(as<std::chrono::milliseconds>{}, 300ms, 1500ms, 1h);
  const bool crashes = GENERATE(false, true);
  INFO(by.count() << " ms, " << crashes);
  runtime::workflow_registry code;
  REQUIRE(code.add(looking_workflow::definition()));
  virtual_broker broker{{}, &code};
  const auto channel = virtual_broker::topic("workflow.w");
  const auto due = runtime::shown_ms(broker.time.wall() + by + 5s);
  const auto input = '[' + std::to_string(due) + ']';
  REQUIRE(broker.ask_now(start_workflow{channel, "test.looking", input, {}, {}}));
  broker.time.step_wall(by);
  const auto row = [&] {
    auto reader = broker.journal.read(broker.shard_of("workflow.w"));
    return read_workflow_row(**reader, channel).value().value();
  };
  // The sleep, two naps of five seconds in each of two runs, and what may be late of each.
  for (auto passed = 0s; passed < 30s && !row().ended; passed += 1s) {
    broker.advance(1s);
    if (crashes) broker.crash();
  }
  REQUIRE(row().ended);
  const auto seen = boost::json::parse(row().result).as_array();
  CAPTURE(seen);
  REQUIRE(seen.size() == 5);
  for (const auto& one : seen)
    CHECK(one.as_int64() >= due);
  // By the shard's time, which the setting does not move.
  if (by < 1s) CHECK(seen.back().as_int64() >= due + 10'000);
}

}  // namespace callboard::testing
