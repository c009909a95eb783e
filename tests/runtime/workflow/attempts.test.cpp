// What a failed attempt of a step leads to: another that counts, another that does not, or the end.
#include "runtime/workflow/attempt_end.hpp"

#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <string>

using namespace callboard;
using namespace callboard::runtime;
using namespace std::chrono_literals;
using callboard::tests::scripted_run;

namespace {

const failure slow_down{failure_class::rate, "slow_down", "come back later", 60'000};
const failure busy{failure_class::retryable, "busy", "try again", 60'000};

template <std::uint32_t AttemptsMax, bool AlsoQuota = false>
struct knocking : workflow<knocking<AttemptsMax, AlsoQuota>> {
  static constexpr std::string_view type = "knocking";

  flow<int> run(context& ctx, json) {
    retry_policy retry{.attempts_max = AttemptsMax, .first_delay_ms = 100, .delay_max_ms = 1000};
    if (AlsoQuota) retry.again = {failure_class::rate, failure_class::quota};
    co_return co_await ctx.step("knock", [] { return 1; }, retry).required();
  }
};

/// The step's next attempt fails so.
run_event fail(scripted_run& run, const failure& why, const run_limits& limits = {}) {
  const auto open = run.engine->open().at(1);
  auto event = event_of({1, open.attempt, std::unexpected{why}}, open, "w1", run.now, limits);
  run.feed(event);
  return event;
}

}  // namespace

TEST_CASE("who names a time is asked again then, and loses no attempt by it", "[workflow]") {
  scripted_run run{knocking<2>::definition()};
  for (int i = 0; i < 50; ++i) {
    const auto event = fail(run, slow_down);
    REQUIRE(event.kind == run_event_kind::attempt_failed);
    CHECK(event.is_deferred);
    CHECK(*event.due >= run.now + 60s);
    CHECK(*event.due <= run.now + 60s + 7500ms);
    if (i % 10 == 0) run.crash();
  }
  CHECK(run.engine->open().at(1).attempt == 51);
  CHECK(run.engine->open().at(1).deferrals == 50);
  // Both attempts are still there for what goes wrong; a time that it names takes them.
  const auto event = fail(run, busy);
  CHECK(event.kind == run_event_kind::attempt_failed);
  CHECK_FALSE(event.is_deferred);
  CHECK(*event.due >= run.now + 60s);
  CHECK(*event.due <= run.now + 60s + 7500ms);
  CHECK(fail(run, busy).kind == run_event_kind::failed);
  CHECK(run.end->why->code == "busy");
}

TEST_CASE("who is put off for ever is given up in the end", "[workflow]") {
  scripted_run run{knocking<3>::definition()};
  run_limits limits;
  limits.deferrals_max = 4;
  int attempts = 0;
  while (!run.end) {
    CHECK(may_be_put_off(run.engine->open().at(1), limits) == (attempts < 4));
    CHECK(fail(run, slow_down, limits).is_deferred == (attempts < 4));
    ++attempts;
  }
  CHECK(attempts == 4 + 3);
  CHECK(run.end->why->code == "slow_down");
}

TEST_CASE("no step is put off by more than a week at a time", "[workflow]") {
  scripted_run run{knocking<3>::definition()};
  const auto event = fail(run, {failure_class::rate, "slow_down", "", 0xffff'ffff});
  CHECK(*event.due >= run.now + 24h * 7);
  CHECK(*event.due <= run.now + 24h * 8);
}

TEST_CASE("who was put off often waits for what goes wrong as if he was not", "[workflow]") {
  scripted_run run{knocking<3>::definition()};
  for (int i = 0; i < 8; ++i)
    REQUIRE(fail(run, slow_down).is_deferred);
  const auto event = fail(run, {failure_class::retryable, "busy", ""});
  REQUIRE(event.due);
  CHECK(*event.due <= run.now + std::chrono::milliseconds{retry_policy{}.first_delay_ms});
}

TEST_CASE("what is tried once is not tried again, whoever asks", "[workflow]") {
  scripted_run run{knocking<1>::definition()};
  CHECK_FALSE(may_be_put_off(run.engine->open().at(1), {}));
  CHECK(fail(run, slow_down).kind == run_event_kind::failed);
}

TEST_CASE("a rate without a time takes attempts", "[workflow]") {
  scripted_run run{knocking<2>::definition()};
  auto why = slow_down;
  why.retry_after_ms = 0;
  CHECK_FALSE(fail(run, why).is_deferred);
  CHECK(fail(run, why).kind == run_event_kind::failed);
}

TEST_CASE("quota is final unless the policy tries it again", "[workflow]") {
  const failure spent{failure_class::quota, "spent", "no money", 1000};
  scripted_run once{knocking<5>::definition()};
  CHECK(fail(once, spent).kind == run_event_kind::failed);
  scripted_run again{knocking<2, true>::definition()};
  const auto event = fail(again, spent);
  CHECK(event.kind == run_event_kind::attempt_failed);
  CHECK_FALSE(event.is_deferred);
  CHECK(fail(again, spent).kind == run_event_kind::failed);
}

TEST_CASE("what older builds recorded of a rate counts as the attempts it took", "[workflow]") {
  scripted_run run{knocking<2>::definition()};
  auto event = fail(run, slow_down);
  // As it was recorded before there were deferrals.
  run.history.back().is_deferred = false;
  run.crash();
  CHECK(run.engine->open().at(1).deferrals == 0);
  CHECK(run.engine->open().at(1).attempt == 2);
  CHECK(fail(run, busy).kind == run_event_kind::failed);
}
