// What deadlines count from when the record is older than the code's work on it, and the random
// numbers of runs that go their own way from a common record.
#include "base/time.hpp"
#include "runtime/workflow/run_rerun.hpp"

#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <callboard/workflow.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace callboard {

using namespace std::chrono_literals;
using runtime::run_event_kind;
using tests::scripted_run;

namespace {

/// Draws and looks at the time before and behind its commands.
struct drawing : workflow<drawing> {
  static constexpr std::string_view type = "drawing";

  flow<json> run(context& ctx, json) {
    boost::json::array seen{ctx.random()};
    co_await ctx.step("a", [] {}).required();
    seen.emplace_back(ctx.random());
    seen.emplace_back(ctx.now().time_since_epoch().count());
    const auto heard = co_await ctx.signal("go", 1h).required();
    seen.emplace_back(heard.has_value());
    seen.emplace_back(ctx.random());
    co_return seen;
  }
};

/// As one that has been changed behind its first step.
struct changed : workflow<changed> {
  static constexpr std::string_view type = "drawing";

  flow<json> run(context& ctx, json) {
    (void)ctx.random();
    co_await ctx.step("a", [] {}).required();
    boost::json::array seen{ctx.version("change", 1), ctx.random()};
    (void)co_await ctx.signal("go", 1h).required();
    co_await ctx.step("b", [] {}).required();
    co_return seen;
  }
};

struct two_signals : workflow<two_signals> {
  static constexpr std::string_view type = "two_signals";

  flow<json> run(context& ctx, json) {
    co_await ctx.signal("first").required();
    const auto second = co_await ctx.signal("second", 1h).required();
    co_return second.value_or("too late");
  }
};

constexpr auto wall_time = std::chrono::sys_time<std::chrono::milliseconds>{5'000'000ms};

struct until_then : workflow<until_then> {
  static constexpr std::string_view type = "until_then";

  flow<json> run(context& ctx, json) {
    co_await ctx.sleep_until(wall_time).required();
    co_return json{};
  }
};

/// What its clock shows behind a sleep, and behind a signal and another one.
struct looking : workflow<looking> {
  static constexpr std::string_view type = "looking";

  flow<json> run(context& ctx, json) {
    boost::json::array seen;
    const auto look = [&] { seen.emplace_back(ctx.now().time_since_epoch().count()); };
    co_await ctx.sleep_until(wall_time).required();
    look();
    co_await ctx.signal("go").required();
    look();
    co_await ctx.sleep(10s).required();
    look();
    co_return seen;
  }
};

/// Waits in all ways for as long as can be said, and until the last time there is.
struct for_ever : workflow<for_ever> {
  static constexpr std::string_view type = "for_ever";

  flow<json> run(context& ctx, json) {
    using std::chrono::milliseconds;
    co_await any(
        ctx.sleep(milliseconds::max()),
        ctx.sleep(std::chrono::hours::max()),
        ctx.signal("go", std::chrono::seconds::max()),
        ctx.call("agent", "a", "ask", 1, {.timeout = milliseconds::max()}),
        ctx.task(
            "llm", 1, {.delay = std::chrono::days::max(), .timeout = std::chrono::minutes::max()}),
        ctx.sleep_until(std::chrono::sys_time<milliseconds>::max()),
        ctx.sleep_until(std::chrono::sys_seconds::max()));
    co_return json{};
  }
};

/// What was to be over long ago.
struct over : workflow<over> {
  static constexpr std::string_view type = "over";

  flow<json> run(context& ctx, json) {
    co_await all(
        ctx.sleep(std::chrono::milliseconds::min()),
        ctx.sleep(std::chrono::hours::min()),
        ctx.sleep_until(std::chrono::sys_seconds::min()));
    co_return json{};
  }
};

/// Whether what was signalled behind the cut is.
enum class signals_are : std::uint8_t { left, taken };

/// What a restart makes of the record up to the command, later.
scripted_run copied_to(
    const scripted_run& from,
    std::string_view command,
    std::uint64_t seed,
    signals_are how = signals_are::left,
    workflow_definition code = drawing::definition()) {
  runtime::rerun_cut cut{command};
  sequence at;
  for (const auto& event : from.history)
    cut.take(event, at = at.next());
  const auto plan = cut.plan().value();
  scripted_run anew{std::move(code)};
  anew.now = from.now + 24h;
  anew.history.clear();
  at = {};
  std::vector<runtime::run_event> signals;
  for (const auto& event : from.history) {
    at = at.next();
    const bool is_kept = anew.history.size() < plan.events && runtime::is_copied(event);
    const bool is_behind = how == signals_are::taken && at >= *plan.signals_from;
    if (is_kept) {
      anew.history.push_back(event);
    } else if (is_behind && event.kind == run_event_kind::signalled) {
      signals.push_back(event);
    }
  }
  anew.history.insert(anew.history.end(), signals.begin(), signals.end());
  auto parted = runtime::make_parted({seed, signals.size()});
  parted.time = anew.now;
  anew.history.push_back(parted);
  anew.crash();
  return anew;
}

json result_of(scripted_run& run) {
  run.run_all();
  run.signal("go", 1);
  REQUIRE(run.end);
  return run.end->result;
}

}  // namespace

TEST_CASE("what is issued behind a copy counts its time from then", "[workflow][rerun]") {
  scripted_run run{drawing::definition()};
  run.run_step(1);
  const auto whole = result_of(run);
  auto anew = copied_to(run, "go", 99);
  REQUIRE_FALSE(anew.engine->blocked());
  CHECK(anew.engine->open().at(2).due == anew.now + 1h);
  const auto restarted_at = anew.now;
  anew.now += 30min;
  anew.crash();
  CHECK(anew.engine->open().at(2).due == restarted_at + 1h);
  const auto result = result_of(anew);
  CHECK(result.at(2).to_number<std::int64_t>() == restarted_at.time_since_epoch().count());
  CHECK(result.at(3) == true);
  CHECK(result.at(0) == whole.at(0));
}

TEST_CASE("a copy draws numbers of its own behind the cut", "[workflow][rerun]") {
  scripted_run run{drawing::definition()};
  run.run_step(1);
  const auto whole = result_of(run);
  const auto from = GENERATE("1", "2", "");
  INFO(from);
  std::vector<json> results;
  for (const std::uint64_t seed : {99, 99, 100}) {
    auto anew = copied_to(run, from, seed);
    if (results.size() == 1 && !anew.end) {
      // The same numbers in every replay, also of a copy of the copy.
      anew.crash();
      anew = copied_to(anew, "", 98);
      anew.crash();
    }
    results.push_back(anew.end ? anew.end->result : result_of(anew));
  }
  const auto is_first_behind_the_cut = std::string_view{from} == "1";
  CHECK((results[0].at(0) == whole.at(0)) != is_first_behind_the_cut);
  // Everything up to the last input is copied, and what its turn draws is behind the cut.
  CHECK(results[0].at(4) != whole.at(4));
  CHECK(results[2].at(4) != results[0].at(4));
  CHECK(results[1].at(0) == results[0].at(0));
  if (std::string_view{from} == "2") CHECK(results[1].at(1) == results[0].at(1));
}

TEST_CASE("signals that a restart takes over come behind its cut", "[workflow][rerun]") {
  scripted_run run{drawing::definition()};
  run.run_step(1);
  run.signal("other", 7);
  const auto whole = result_of(run);
  // New code at the cut goes the new way with numbers of its own, and hears what came later.
  auto anew = copied_to(run, "go", 99, signals_are::taken, changed::definition());
  REQUIRE_FALSE(anew.engine->blocked());
  CHECK(anew.engine->open().at(4).request.name == "b");
  CHECK(anew.engine->unread_bytes() > 0);
  SECTION("in each replay") {}
  SECTION("also when it is restarted again from there") {
    anew = copied_to(anew, GENERATE("2", "3"), 100, signals_are::taken, changed::definition());
    anew.crash();
    CHECK(anew.engine->open().at(4).request.name == "b");
  }
  SECTION("also from what it came to by such a signal") {
    anew = copied_to(anew, "b", 100, signals_are::taken, changed::definition());
  }
  anew.crash();
  CHECK(
      std::ranges::count(anew.history, run_event_kind::signalled, &runtime::run_event::kind) == 2);
  anew.run_all();
  REQUIRE(anew.end);
  CHECK(anew.end->result.at(0) == 1);
  CHECK(anew.end->result.at(1) != whole.at(1));
  // Who leaves them is asked again.
  auto asked = copied_to(anew, "2", 101, signals_are::left, changed::definition());
  CHECK(asked.engine->open().at(3).request.kind == command_kind::signal);
  CHECK(asked.engine->unread_bytes() == 0);
}

TEST_CASE("a run that was blocked has its full time when it goes on", "[workflow]") {
  scripted_run run{two_signals::definition()};
  // Recorded while no code fitted.
  runtime::run_event first;
  first.kind = run_event_kind::signalled;
  first.name = "first";
  first.time = run.now;
  run.history.push_back(first);
  run.now += 24h;
  run.crash();
  const auto due = run.now + 1h;
  CHECK(run.engine->open().at(2).due == due);
  run.now += 30min;
  run.crash();
  CHECK(run.engine->open().at(2).due == due);
}

TEST_CASE("what is to last for ever is due at the end of time", "[workflow]") {
  scripted_run run{for_ever::definition()};
  const auto check = [&] {
    REQUIRE(run.engine->open().size() == 7);
    for (const auto& [index, one] : run.engine->open()) {
      INFO(index);
      CHECK(one.due == latest_time);
    }
  };
  check();
  // Nor does it count as less when it is read, or looked for in the order of time.
  run.crash();
  check();
  CHECK(run.record().find(R"("due_ms":-)") == std::string::npos);
}

TEST_CASE("a sleep that was over before 1970 is over", "[workflow]") {
  scripted_run run{over::definition()};
  for (const auto& [index, one] : run.engine->open()) {
    INFO(index);
    CHECK(one.due == time_ms{});
  }
  run.run_all();
  CHECK(run.end);
}

TEST_CASE("sleep_until goes by the wall clock", "[workflow]") {
  scripted_run run{until_then::definition()};
  const auto check = [&] {
    const auto& timer = run.engine->open().at(1);
    CHECK(timer.by_wall);
    CHECK(timer.due == time_ms{wall_time.time_since_epoch()});
  };
  check();
  CHECK(runtime::is_by_wall(run.history.at(1)));
  run.crash();
  check();
  // As it was recorded before: a time of the shard.
  run.history.at(1).data = boost::json::object{};
  run.history.at(1).due = run.now + 7min;
  run.crash();
  REQUIRE_FALSE(run.engine->blocked());
  CHECK_FALSE(run.engine->open().at(1).by_wall);
  CHECK(run.engine->open().at(1).due == run.now + 7min);
}

TEST_CASE("a run's clock shows no less than what it has slept until", "[workflow]") {
  const time_ms due{wall_time.time_since_epoch()};
  // As versions recorded it that did not see to that: what their code saw stays as it was.
  const bool is_told = GENERATE(true, false);
  const bool crashes = GENERATE(false, true);
  INFO(is_told << crashes);
  scripted_run run{looking::definition()};
  run.now = due - 1h;
  const auto crash = [&] {
    if (crashes) run.crash();
  };
  runtime::run_event fired;
  fired.kind = run_event_kind::timer_fired;
  fired.command = 1;
  if (is_told) fired.due = due;
  run.feed(fired);
  crash();
  run.now += 1min;
  run.signal("go", 1);
  crash();
  // Delays count by shard time all the same.
  CHECK(run.engine->open().at(3).due == run.now + 10s);
  CHECK(run.engine->clock_ahead() == (is_told ? std::optional{due} : std::nullopt));
  run.now = due + 1s;
  run.fire(3);
  REQUIRE(run.end);
  const auto shown = [](time_ms when) { return when.time_since_epoch().count(); };
  CHECK(
      run.end->result
      == json(boost::json::array{
          shown(is_told ? due : due - 1h), shown(is_told ? due : due - 59min), shown(due + 1s)}));
  CHECK_FALSE(run.engine->clock_ahead());
}

}  // namespace callboard
