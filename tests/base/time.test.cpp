#include "base/time.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

TEST_CASE("what is to be in a while is within the time there is", "[time]") {
  const time_ms now{1'700'000'000'000ms};
  CHECK(later(now, 5ms) == now + 5ms);
  CHECK(later(now, -5ms) == now - 5ms);
  CHECK(later(now, milliseconds::max()) == latest_time);
  CHECK(later(latest_time, 1ms) == latest_time);
  CHECK(later(now, milliseconds::min()) == time_ms{});
  CHECK(later(time_ms{}, milliseconds::max()) == latest_time);
}

TEST_CASE("a wait on the boot clock ends with its counter", "[time]") {
  const boot_time now = 1h;
  CHECK(later(now, 5ms) == now + 5ms);
  CHECK(later(now, milliseconds::max()) == boot_time::max());
  CHECK(later(now, latest_time - time_ms{}) == boot_time::max());
  CHECK(later(now, milliseconds::min()) == now);
}

TEST_CASE("an age goes back to 1970 at most", "[time]") {
  const time_ms now{1'700'000'000'500ms};
  CHECK(seconds_before(now, 0) == now);
  CHECK(seconds_before(now, 60) == now - 1min);
  CHECK(seconds_before(now, 1'700'000'000) == time_ms{500ms});
  CHECK(seconds_before(now, 1'700'000'001) == time_ms{});
  CHECK(seconds_before(now, UINT64_MAX) == time_ms{});
}
