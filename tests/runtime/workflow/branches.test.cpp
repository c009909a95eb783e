// The losers of an `any` that is a branch itself, or that somebody keeps: they end with it. And
// what decides between branches: the first to end, or the first to end well.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <callboard/join.hpp>
#include <callboard/saga.hpp>
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

/// Asks two mirrors at a time, and a clock; `how` says for what.
struct mirrored : workflow<mirrored> {
  static constexpr std::string_view type = "mirrored";

  flow<json> run(context& ctx, std::string how) {
    if (how == "race") {
      const auto first = co_await race(from(ctx, "near"), from(ctx, "far"));
      co_return first.index() == 0 ? "near" : "far";
    }
    if (how == "commands") {
      const auto got = co_await first_success(
          ctx.signal<std::string>("near"), ctx.child<int>("far", 1), slept(ctx));
      if (!got) throw run_failed{got.error()};
      co_return boost::json::object{{"from", got->index()}, {"left", co_await after(ctx)}};
    }
    std::vector<flow<std::string>> mirrors;
    mirrors.push_back(from(ctx, "near"));
    mirrors.push_back(from(ctx, "far"));
    const auto got = co_await first_success(std::move(mirrors));
    if (!got) throw run_failed{got.error()};
    co_return boost::json::object{{"from", got->index}, {"said", got->value}};
  }

  static flow<std::string> from(context& ctx, std::string name) {
    co_return co_await ctx.child<std::string>(name, 1).required();
  }

  static flow<void> slept(context& ctx) { co_await ctx.sleep(1h).required(); }

  static flow<std::string> after(context& ctx) {
    co_return co_await ctx.signal<std::string>("near").required();
  }
};

const failure down{failure_class::retryable, "down", "no answer"};

/// Two ways to book, each of which undoes what it did; or what gives no value.
struct booked : workflow<booked> {
  static constexpr std::string_view type = "booked";

  flow<json> run(context& ctx, std::string how) {
    if (how == "none") {
      const auto got = co_await first_success(std::vector<flow<int>>{});
      co_return got ? "" : got.error().code;
    }
    if (how == "any of none")
      co_return static_cast<int>((co_await any(std::vector<flow<int>>{})).index);
    if (how == "values") {
      std::vector<flow<void>> plain;
      plain.push_back(done(ctx, "a"));
      plain.push_back(done(ctx, "b"));
      const auto first = co_await first_success(std::move(plain));
      const auto second = co_await first_success(tried(ctx, "c"), done(ctx, "d"));
      co_return boost::json::array{
          first ? static_cast<int>(first->index) : -1,
          second ? static_cast<int>(second->index()) : -1};
    }
    const auto got = co_await first_success(book(ctx, "near"), book(ctx, "far"));
    co_return got.has_value();
  }

  static flow<std::string> book(context& ctx, std::string where) {
    return run_saga(ctx, [&ctx, where](saga& undo) -> flow<std::string> {
      undo.compensate("cancel " + where, [](const step_attempt&) -> outcome<void> { return {}; });
      co_return co_await ctx.child<std::string>(where, 1).required();
    });
  }

  static flow<void> done(context& ctx, std::string name) {
    (void)co_await ctx.child<json>(name, 1).required();
  }

  static flow<outcome<void>> tried(context& ctx, std::string name) {
    const auto ended = co_await ctx.child<json>(name, 1);
    if (!ended) co_return std::unexpected{ended.error()};
    co_return outcome<void>{};
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

TEST_CASE("a race is over with the first to end, an attempt with the first that succeeds") {
  const bool crashes = GENERATE(false, true);
  scripted_run over{mirrored::definition(), "race"};
  over.end_command(1, std::unexpected{down});
  REQUIRE(over.end);
  CHECK(over.end->why->code == "down");
  CHECK_FALSE(over.engine->open().contains(2));

  scripted_run run{mirrored::definition(), "flows"};
  run.end_command(1, std::unexpected{down});
  REQUIRE_FALSE(run.end);
  if (crashes) run.crash();
  run.end_command(2, "hello");
  REQUIRE(run.end);
  CHECK(run.end->result == json({{"from", 1}, {"said", "hello"}}));
}

TEST_CASE("the others are cancelled once one has succeeded", "[workflow][branches]") {
  const bool crashes = GENERATE(false, true);
  scripted_run run{mirrored::definition(), "commands"};
  run.end_command(2, std::unexpected{down});
  if (crashes) run.crash();
  run.fire(3);
  REQUIRE_FALSE(run.engine->open().contains(1));
  // The signal was for nobody: it is there for who asks next.
  if (crashes) run.crash();
  run.signal("near", "late");
  REQUIRE(run.end);
  CHECK(run.end->result == json({{"from", 2}, {"left", "late"}}));
}

TEST_CASE("when all have failed, their failure tells of each", "[workflow][branches]") {
  scripted_run run{mirrored::definition(), "flows"};
  const bool is_same = GENERATE(false, true);
  run.end_command(2, is_same ? std::unexpected{down} : give_up("gone", "moved away"));
  run.crash();
  run.end_command(1, std::unexpected{down});
  REQUIRE(run.end);
  REQUIRE(run.end->why);
  CHECK(run.end->why->code == "all_failed");
  CHECK(run.end->why->kind == (is_same ? failure_class::retryable : failure_class::permanent));
  const auto details = boost::json::parse(run.end->why->details);
  const auto& failures = details.at("failures").as_array();
  REQUIRE(failures.size() == 2);
  CHECK(failures[0].at("code") == "down");
  CHECK(failures[1].at("code") == (is_same ? "down" : "gone"));
}

TEST_CASE(
    "a first success of nothing fails, and a race of nothing is a bug", "[workflow][branches]") {
  scripted_run none{booked::definition(), "none"};
  REQUIRE(none.end);
  CHECK(none.end->result == json("all_failed"));
  scripted_run race{booked::definition(), "any of none"};
  REQUIRE(race.end);
  REQUIRE(race.end->why);
  CHECK(race.end->why->kind == failure_class::bug);
}

TEST_CASE("what succeeds need not give a value", "[workflow][branches]") {
  scripted_run run{booked::definition(), "values"};
  run.end_command(1, std::unexpected{down});
  run.end_command(2, 0);
  run.end_command(3, std::unexpected{down});
  run.end_command(4, 0);
  REQUIRE(run.end);
  CHECK(run.end->result == json(boost::json::array{1, 1}));
}

TEST_CASE("all who tried undo what they did when the run is cancelled", "[workflow][branches]") {
  const bool crashes = GENERATE(false, true);
  scripted_run run{booked::definition(), "sagas"};
  run.cancel();
  if (crashes) run.crash();
  REQUIRE_FALSE(run.end);
  REQUIRE(run.engine->open().contains(3));
  REQUIRE(run.engine->open().contains(4));
  run.end_command(3, nullptr);
  REQUIRE_FALSE(run.end);
  CHECK(run.engine->open().contains(4));
  if (crashes) run.crash();
  run.end_command(4, nullptr);
  REQUIRE(run.end);
  CHECK(run.end->status == runtime::run_status::cancelled);
}

TEST_CASE("a cancelled run is not kept by what it attempts", "[workflow][branches]") {
  scripted_run run{mirrored::definition(), "flows"};
  run.end_command(1, std::unexpected{down});
  run.cancel();
  REQUIRE(run.end);
  CHECK(run.end->status == runtime::run_status::cancelled);
}

}  // namespace callboard
