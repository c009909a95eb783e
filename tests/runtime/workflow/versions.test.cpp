// `version`: which runs take the old way, and that they take it again in every replay.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/join.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <utility>

namespace callboard {

using namespace std::chrono_literals;
using runtime::run_event;
using runtime::run_event_kind;
using runtime::run_status;
using tests::scripted_run;

namespace {

/// A branch that ends early, beside one that goes on.
template <bool IsNew>
struct branching : workflow<branching<IsNew>> {
  static constexpr std::string_view type = "branching";

  flow<std::uint32_t> run(context& ctx, json) {
    auto [slept, way] = co_await all(ctx.sleep(1h), branch(ctx));
    co_return way;
  }

  static flow<std::uint32_t> branch(context& ctx) {
    co_await ctx.step("a", [] {}).required();
    if constexpr (IsNew) {
      const auto way = ctx.version("more", 1);
      if (way >= 1) co_await ctx.step("b", [] {}).required();
      co_return way;
    }
    co_return 99;
  }
};

/// Comes to the change behind a signal.
template <bool IsNew>
struct waiting : workflow<waiting<IsNew>> {
  static constexpr std::string_view type = "waiting";

  flow<std::uint32_t> run(context& ctx, json) {
    co_await ctx.signal("go").required();
    std::uint32_t way = 99;
    if constexpr (IsNew) way = ctx.version("more", 1);
    co_await ctx.signal("stop").required();
    co_return way;
  }
};

/// As the node records it while the code does not fit.
void record_only(scripted_run& run, run_event_kind kind, std::string name = {}) {
  run_event event;
  event.kind = kind;
  event.name = std::move(name);
  event.time = run.now;
  if (kind == run_event_kind::ended) {
    event.status = run_status::blocked;
    event.why = failure{failure_class::bug, "command_differs", ""};
  }
  run.history.push_back(std::move(event));
}

}  // namespace

TEST_CASE("a branch that passed before there was a choice stays on the old way", "[workflow]") {
  scripted_run run{branching<false>::definition()};
  run.run_step(2);
  run.signal("unread", 1);
  const auto before = run.history.size();
  run.crash_into(branching<true>::definition());
  REQUIRE_FALSE(run.engine->blocked());
  CHECK(run.history.size() == before);
  run.crash();
  run.fire(1);
  REQUIRE(run.end);
  CHECK(run.end->result == json(0));
}

TEST_CASE("what was chosen is chosen again in every replay", "[workflow]") {
  scripted_run run{branching<true>::definition()};
  run.run_step(2);
  run.signal("unread", 1);
  run.crash();
  run.signal("unread", 2);
  run.crash();
  REQUIRE_FALSE(run.engine->blocked());
  run.run_step(4);
  run.fire(1);
  REQUIRE(run.end);
  CHECK(run.end->result == json(1));
}

TEST_CASE("behind the last input that is recorded the choice is made now", "[workflow]") {
  // As a restart from a command does, whose record ends before it.
  scripted_run run{branching<false>::definition()};
  run.run_step(2);
  run.crash_into(branching<true>::definition());
  CHECK(run.engine->open().contains(4));
  run.signal("unread", 1);
  run.crash();
  run.run_step(4);
  run.fire(1);
  REQUIRE(run.end);
  CHECK(run.end->result == json(1));
}

TEST_CASE("what came while a run was blocked has passed nothing", "[workflow]") {
  scripted_run run{waiting<false>::definition()};
  record_only(run, run_event_kind::ended);
  record_only(run, run_event_kind::signalled, "go");
  record_only(run, run_event_kind::signalled, "other");
  run.crash_into(waiting<true>::definition());
  REQUIRE_FALSE(run.engine->blocked());
  record_only(run, run_event_kind::unblocked);
  run.signal("another", 1);
  run.crash();
  run.signal("stop", 1);
  REQUIRE(run.end);
  CHECK(run.end->result == json(1));

  // The same by code that read the signal.
  scripted_run old{waiting<false>::definition()};
  old.signal("go", 1);
  old.signal("other", 1);
  old.crash_into(waiting<true>::definition());
  old.signal("stop", 1);
  REQUIRE(old.end);
  CHECK(old.end->result == json(0));
}

TEST_CASE("a run that no code has worked on makes its choices now", "[workflow]") {
  scripted_run run{waiting<false>::definition()};
  run.history.resize(1);
  record_only(run, run_event_kind::signalled, "go");
  record_only(run, run_event_kind::signalled, "other");
  run.crash_into(waiting<true>::definition());
  run.crash();
  run.signal("stop", 1);
  REQUIRE(run.end);
  CHECK(run.end->result == json(1));
}

}  // namespace callboard
