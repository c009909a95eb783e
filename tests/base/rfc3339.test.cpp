#include "base/rfc3339.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;

TEST_CASE("times are written in UTC with milliseconds", "[rfc3339]") {
  const auto written = [](std::int64_t ms) {
    return format_time(time_ms{std::chrono::milliseconds{ms}});
  };
  CHECK(written(0) == "1970-01-01T00:00:00.000Z");
  CHECK(written(951'782'400'009) == "2000-02-29T00:00:00.009Z");
  CHECK(written(1'798'761'599'999) == "2026-12-31T23:59:59.999Z");
  CHECK(written(-1) == "1969-12-31T23:59:59.999Z");
}
