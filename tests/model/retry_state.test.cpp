#include "model/retry_state.hpp"

#include "tests/support/catch.hpp"

#include <cstdint>
#include <optional>
#include <set>

using namespace callboard;
using namespace callboard::model;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds long_time{10'000'000};

const retry_settings usual{
    .attempts_max = 4,
    .backoff_base = milliseconds{100},
    .backoff_max = milliseconds{1000},
    .fallback_wait_max = milliseconds{15'000}};

random_source always(std::uint64_t value) {
  return [value] { return value; };
}

failure cut() {
  return retryable_failure(errc::unreachable, "cut");
}

failure rate(std::optional<milliseconds> wish) {
  failure out;
  out.kind = failure_kind::rate;
  out.code = errc::rate_limited;
  out.retry_after = wish;
  return out;
}

}  // namespace

TEST_CASE("backoff grows exponentially, with full jitter, up to its maximum", "[model][retry]") {
  retry_settings settings = usual;
  settings.attempts_max = 8;
  retry_state lucky{settings};
  retry_state unlucky{settings};
  random_source low = always(0);
  for (const std::int64_t most : {100, 200, 400, 800, 1000, 1000}) {
    // `most` is the largest remainder modulo most + 1.
    random_source high = always(static_cast<std::uint64_t>(most));
    const auto at_most = unlucky.after(cut(), long_time, false, high);
    CHECK(at_most.step == next_step::wait);
    CHECK(at_most.delay == milliseconds{most});
    CHECK(lucky.after(cut(), long_time, false, low).delay == milliseconds{0});
  }
}

TEST_CASE("those who fail together do not come back together", "[model][retry]") {
  std::uint64_t state = 42;
  random_source random = [&state] {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return state >> 20U;
  };
  std::set<std::int64_t> delays;
  for (int i = 0; i < 1000; ++i) {
    retry_state one{usual};
    delays.insert(one.after(rate(milliseconds{10'000}), long_time, false, random).delay.count());
  }
  CHECK(*delays.begin() >= 10'000);
  CHECK(*delays.rbegin() <= 11'250);
  CHECK(delays.size() > 400);
}

TEST_CASE("attempts end the call, or lead to the next provider", "[model][retry]") {
  auto random = always(1);
  for (const bool others : {false, true}) {
    retry_state state{usual};
    for (int i = 0; i < 3; ++i) {
      CHECK(state.after(cut(), long_time, others, random).step == next_step::wait);
    }
    CHECK(
        state.after(cut(), long_time, others, random).step
        == (others ? next_step::next_provider : next_step::give_up));
    CHECK(state.used() == 4);
  }
}

TEST_CASE("a wish is waited for and takes no attempt", "[model][retry]") {
  auto random = always(0);
  retry_state state{usual};
  for (int i = 0; i < 50; ++i) {
    const auto next = state.after(rate(milliseconds{2000}), long_time, false, random);
    CHECK(next.step == next_step::wait);
    CHECK(next.delay >= milliseconds{2000});
  }
  CHECK(state.used() == 0);
  // Without a wish, 429 is an attempt like any other.
  for (int i = 0; i < 3; ++i)
    (void)state.after(rate({}), long_time, false, random);
  CHECK(state.after(rate({}), long_time, false, random).step == next_step::give_up);
}

TEST_CASE("a wish of nothing is not taken literally for ever", "[model][retry]") {
  // Each time the own backoff grows, so a provider that says 0 is not asked in a loop.
  retry_state state{usual};
  random_source high = always(1000);
  milliseconds last{0};
  for (int i = 0; i < 5; ++i) {
    last = state.after(rate(milliseconds{0}), long_time, false, high).delay;
  }
  CHECK(last == milliseconds{1000});
}

TEST_CASE("a wish beyond what is left is not waited for", "[model][retry]") {
  auto random = always(0);
  CHECK(
      retry_state{usual}.after(rate(milliseconds{5000}), milliseconds{4000}, false, random).step
      == next_step::give_up);
  CHECK(
      retry_state{usual}.after(rate(milliseconds{5000}), milliseconds{4000}, true, random).step
      == next_step::next_provider);
}

TEST_CASE("a long wish is left to a fallback, if there is one", "[model][retry]") {
  auto random = always(0);
  CHECK(
      retry_state{usual}.after(rate(milliseconds{16'000}), long_time, true, random).step
      == next_step::next_provider);
  CHECK(
      retry_state{usual}.after(rate(milliseconds{16'000}), long_time, false, random).step
      == next_step::wait);
}

TEST_CASE("what lasts is not tried again here", "[model][retry]") {
  auto random = always(0);
  const auto step = [&random](const failure& failed, bool others) {
    return retry_state{usual}.after(failed, long_time, others, random).step;
  };
  failure quota;
  quota.kind = failure_kind::quota;
  CHECK(step(quota, true) == next_step::next_provider);
  CHECK(step(quota, false) == next_step::give_up);
  const auto key = permanent_failure(errc::unauthorized, failure_scope::provider, "key");
  CHECK(step(key, true) == next_step::next_provider);
  CHECK(step(key, false) == next_step::give_up);
  const auto request = permanent_failure(errc::bad_request, failure_scope::request, "no");
  CHECK(step(request, true) == next_step::give_up);
  failure cancelled;
  cancelled.kind = failure_kind::cancelled;
  CHECK(step(cancelled, true) == next_step::give_up);
}
