// Where a record is cut, and that a run goes on from the copy as from its own record.
#include "runtime/workflow/recorded_builds.hpp"
#include "runtime/workflow/run_limits.hpp"
#include "runtime/workflow/run_rerun.hpp"

#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

using namespace callboard;
using namespace callboard::runtime;
using callboard::tests::scripted_run;

namespace {

struct three_steps : workflow<three_steps> {
  static constexpr std::string_view type = "three_steps";

  flow<json> run(context& ctx, json) {
    const auto drawn = ctx.random();
    const auto a = co_await ctx.step("a", [] { return 1; }).required();
    const auto b = co_await ctx.step("b", [] { return 2; }).required();
    const auto again = co_await ctx.step("a", [] { return 3; }).required();
    co_return json(boost::json::array{drawn, a, b, again});
  }
};

struct other_steps : workflow<other_steps> {
  static constexpr std::string_view type = "three_steps";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("a", [] { return 1; }).required();
    co_await ctx.sleep(std::chrono::seconds{1}).required();
    co_return json{};
  }
};

struct no_steps : workflow<no_steps> {
  static constexpr std::string_view type = "three_steps";

  flow<json> run(context&, json) { co_return json{}; }
};

/// The events that a restart from there copies.
result<std::vector<run_event>>
copied_before(const std::vector<run_event>& history, std::string_view from) {
  rerun_cut cut{from};
  sequence at;
  std::vector<run_event> kept;
  for (const auto& event : history) {
    cut.take(event, at = at.next());
    if (is_copied(event)) kept.push_back(event);
  }
  const auto plan = cut.plan();
  if (!plan) return std::unexpected{plan.error()};
  kept.resize(plan->events);
  return kept;
}

}  // namespace

TEST_CASE("a record is cut before the command that is named", "[workflow][rerun]") {
  scripted_run run{three_steps::definition()};
  run.run_all();
  REQUIRE(run.end);
  const auto history = run.decoded_history();
  const auto behind = [&](std::string_view from) {
    const auto kept = copied_before(history, from);
    REQUIRE(kept);
    return static_cast<std::uint32_t>(
        std::ranges::count(*kept, run_event_kind::issued, &run_event::kind));
  };
  CHECK(behind("1") == 0);
  CHECK(behind("2") == 1);
  CHECK(behind("b") == 1);
  // The last of two of one name.
  CHECK(behind("a") == 2);
  CHECK(behind("3") == 2);
  CHECK(behind("") == 3);
  CHECK(copied_before(history, "c").error().code == errc::not_found);
  CHECK(copied_before(history, "4").error().code == errc::not_found);
  CHECK(copied_before(history, "0").error().code == errc::not_found);
  CHECK(copied_before(history, "2x").error().code == errc::not_found);
}

TEST_CASE("a cut knows what is unread there, and whether a cancel is", "[workflow][rerun]") {
  const auto event = [](run_event_kind kind, std::uint32_t command = 0, std::string name = {}) {
    run_event one;
    one.kind = kind;
    one.command = command;
    one.name = std::move(name);
    return one;
  };
  using enum run_event_kind;
  const auto heard = event(signalled, 0, "go");
  const auto behind = make_parted({1, 2});
  const std::vector<run_event> history{
      event(started),
      event(issued, 1, "a"),
      event(build_changed),
      heard,
      heard,
      heard,
      behind,
      event(issued, 2, "b"),
      event(cancel_requested),
      event(issued, 3, "undo"),
  };
  const auto plan_of = [&](std::string_view from) {
    rerun_cut cut{from};
    sequence at{100};
    for (const auto& one : history)
      cut.take(one, at = at.next());
    return cut.plan().value();
  };
  const auto first = plan_of("a");
  CHECK(first.first == sequence{101});
  CHECK(first.events == 1);
  CHECK(first.signals_from == sequence{102});
  CHECK(first.unread_bytes == 0);
  CHECK_FALSE(first.keeps_cancel);
  // Before the two that were taken over by the restart that issued it first.
  const auto second = plan_of("b");
  CHECK(second.events == 4);
  CHECK(second.signals_from == sequence{105});
  CHECK(second.unread_bytes == unread_size(heard));
  CHECK_FALSE(second.keeps_cancel);
  const auto third = plan_of("undo");
  CHECK(third.events == 9);
  CHECK(third.signals_from == sequence{110});
  CHECK(third.unread_bytes == 3 * unread_size(heard));
  CHECK(third.keeps_cancel);
  const auto all = plan_of("");
  CHECK(all.events == 10);
  CHECK_FALSE(all.signals_from);
}

TEST_CASE("what is copied is replayed, and nothing else is done again", "[workflow][rerun]") {
  scripted_run run{three_steps::definition()};
  run.run_all();
  REQUIRE(run.end);
  const auto whole = run.end->result;
  for (const std::string from : {"1", "2", "3", ""}) {
    INFO(from);
    auto kept = copied_before(run.decoded_history(), from);
    REQUIRE(kept);
    scripted_run anew{three_steps::definition()};
    anew.history = *kept;
    anew.history.front() = make_started([] {
      run_start start;
      start.identity = scripted_run::identity();
      return start;
    }());
    anew.step_runs.clear();
    anew.crash();
    anew.run_all();
    REQUIRE(anew.end);
    CHECK(anew.end->result == whole);
    int runs = 0;
    for (const auto& [name, count] : anew.step_runs)
      runs += count;
    CHECK(runs == (from.empty() ? 0 : 4 - std::stoi(from)));
  }
}

TEST_CASE("a run that differs names what was recorded and what is attempted", "[workflow][rerun]") {
  scripted_run run{three_steps::definition()};
  run.run_step(1);
  run.crash_into(other_steps::definition());
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "command_differs");
  CHECK(
      run.engine->blocked()->details
      == R"({"command":2,"recorded":{"kind":"step","name":"b"},"attempted":{"kind":"sleep","name":"sleep"}})");
  run.crash_into(no_steps::definition());
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "command_missing");
  CHECK(
      run.engine->blocked()->details
      == R"({"command":1,"recorded":{"kind":"step","name":"a"},"attempted":null})");
  // Through its stored form.
  const auto back = read_failure(describe_failure(*run.engine->blocked()));
  CHECK(back == *run.engine->blocked());
}

TEST_CASE("the events of repair survive their stored form", "[workflow][rerun]") {
  run_event by_hand;
  by_hand.kind = run_event_kind::completed;
  by_hand.command = 3;
  by_hand.by_hand = {{"how", "skipped"}, {"who", "ann"}, {"reason", "x"}};
  run_event rerun;
  rerun.kind = run_event_kind::rerun;
  rerun.name = "forked";
  rerun.data = {{"who", "ann"}};
  const auto build = make_build_changed("00ff", 3);
  for (const auto& event : {by_hand, rerun, build}) {
    const auto stored = encode_run_event(event, scripted_run::identity(), 1);
    const auto back = decode_run_event({sequence{1}, event.time, stored.stored});
    REQUIRE(back);
    CHECK(back->kind == event.kind);
    CHECK(back->by_hand == event.by_hand);
    CHECK(back->data == event.data);
    CHECK(back->name == event.name);
    CHECK_FALSE(is_input(rerun.kind));
  }
}

TEST_CASE("each command is known by the build that recorded it", "[workflow][rerun]") {
  run_start start;
  start.build = "one";
  const auto issued = [](std::uint32_t command) {
    run_event event;
    event.kind = run_event_kind::issued;
    event.command = command;
    return event;
  };
  recorded_builds builds;
  CHECK(builds.latest().empty());
  builds.take(make_started(start));
  builds.take(issued(1));
  builds.take(issued(2));
  builds.take(issued(3));
  // Behind what it has done.
  builds.take(make_build_changed("two", 3));
  // As earlier versions wrote it.
  auto old = make_build_changed("three", 0);
  old.data.as_object().erase("command");
  builds.take(old);
  builds.take(issued(4));
  builds.take(make_parted({.seed = 1, .build = "four"}));
  builds.take(make_parted({.seed = 2}));
  CHECK(builds.of(1) == "one");
  CHECK(builds.of(2) == "one");
  CHECK(builds.of(3) == "two");
  CHECK(builds.of(4) == "three");
  CHECK(builds.of(5) == "four");
  CHECK(builds.of(0) == "four");
  CHECK(builds.latest() == "four");
  failure why{failure_class::bug, "command_differs", ""};
  why.details = R"({"command":3})";
  CHECK(
      with_builds(why, builds, "five").details
      == R"({"command":3,"recorded_build":"two","build":"five"})");
  why.details.clear();
  CHECK(with_builds(why, builds, "five").details == R"({"recorded_build":"four","build":"five"})");
}
