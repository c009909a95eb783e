// The losers of an `any` that is a branch itself, or that somebody keeps: they end with it.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <callboard/join.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <utility>
#include <vector>

namespace callboard {

using namespace std::chrono_literals;
using runtime::run_event_kind;
using tests::scripted_run;

namespace {

/// Races a signal against a clock in several ways, pauses, and asks for the signal again.
struct raced_within : workflow<raced_within> {
  static constexpr std::string_view type = "raced_within";

  flow<std::string> run(context& ctx, int how) {
    switch (how) {
    case 0:
      (void)co_await all(any(heard(ctx), slept(ctx)), paused(ctx));
      break;
    case 1: {
      std::vector<flow<winner<std::string>>> races;
      races.push_back(any(two(ctx)));
      races.push_back(any(one(ctx)));
      (void)co_await all(std::move(races));
      break;
    }
    case 2: {
      auto race = any(heard(ctx), slept(ctx));
      (void)co_await std::move(race);
      (void)co_await paused(ctx);
      break;
    }
    case 3: {
      auto race = any(two(ctx));
      (void)co_await std::move(race);
      (void)co_await paused(ctx);
      break;
    }
    default:
      // The winner throws, and its failure waits for the pause.
      try {
        (void)co_await all(any(heard(ctx), refused(ctx)), paused(ctx));
      } catch (const run_failed&) {
        ctx.set_status("refused");
      }
    }
    co_return co_await heard(ctx);
  }

  static flow<std::string> heard(context& ctx) {
    co_return co_await ctx.signal<std::string>("go").required();
  }

  static flow<std::string> slept(context& ctx) {
    co_await ctx.sleep(5s).required();
    co_return "slept";
  }

  static flow<std::string> refused(context& ctx) {
    co_await ctx.sleep(5s).required();
    throw run_failed{failure{failure_class::permanent, "too_late", ""}};
  }

  static flow<std::string> paused(context& ctx) {
    co_await ctx.sleep(60s).required();
    co_return "paused";
  }

  static std::vector<flow<std::string>> one(context& ctx) {
    std::vector<flow<std::string>> made;
    made.push_back(paused(ctx));
    return made;
  }

  static std::vector<flow<std::string>> two(context& ctx) {
    std::vector<flow<std::string>> made;
    made.push_back(heard(ctx));
    made.push_back(slept(ctx));
    return made;
  }
};

}  // namespace

TEST_CASE("losers end with their any, wherever it stands", "[workflow][branches]") {
  const int how = GENERATE(0, 1, 2, 3, 4);
  const bool crashes = GENERATE(false, true);
  INFO("way " << how << (crashes ? ", crashes" : ""));
  scripted_run run{raced_within::definition(), how};
  REQUIRE(run.engine->open().contains(1));
  run.fire(2);
  if (crashes) run.crash();
  REQUIRE_FALSE(run.engine->open().contains(1));
  CHECK(
      std::ranges::count(run.history, run_event_kind::command_cancelled, &runtime::run_event::kind)
      == 1);
  // Nobody waits for it: it is there for who asks next.
  run.signal("go", "late");
  CHECK(run.engine->unread_bytes() > 0);
  if (crashes) run.crash();
  run.fire(3);
  REQUIRE(run.end);
  CHECK(run.end->result == json("late"));
}

TEST_CASE("a loser is not there to be cancelled", "[workflow][branches]") {
  const int how = GENERATE(0, 1, 2, 3, 4);
  scripted_run run{raced_within::definition(), how};
  run.fire(2);
  REQUIRE_FALSE(run.engine->open().contains(1));
  run.cancel();
  REQUIRE(run.end);
  CHECK(run.end->status == runtime::run_status::cancelled);
}

}  // namespace callboard
