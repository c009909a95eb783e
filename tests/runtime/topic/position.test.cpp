#include "runtime/topic/position.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::runtime;

TEST_CASE("positions are read in all their forms", "[topic][position]") {
  CHECK(std::holds_alternative<from_now>(parse_position("now").value()));
  CHECK(std::holds_alternative<from_first>(parse_position("first").value()));
  CHECK(std::get<from_seq>(parse_position("42").value()).seq == sequence{42});
  const auto frame = std::get<after_cursor>(parse_position("1f-2:42/1.2.30").value()).cursor;
  CHECK(frame.epoch == "1f-2");
  CHECK(frame.seq == sequence{42});
  const auto cursor = std::get<after_cursor>(parse_position("1f-2:42").value()).cursor;
  CHECK(cursor.epoch == "1f-2");
  CHECK(cursor.seq == sequence{42});
  CHECK(cursor.str() == "1f-2:42");
  const auto time = [](const char* text) {
    return std::get<from_time>(parse_position(text).value()).time.time_since_epoch().count();
  };
  CHECK(time("time:1970-01-01T00:00:01Z") == 1000);
  CHECK(time("time:1970-01-01T00:00:01.25Z") == 1250);
  CHECK(time("time:1970-01-01T01:00:00+01:00") == 0);
  CHECK(time("time:2000-02-29T12:00:00.123456Z") == 951'825'600'123);
}

TEST_CASE("what is no position is refused", "[topic][position]") {
  for (const auto* bad :
       {"",
        "-1",
        "1.5",
        "later",
        "x:1",
        "1f-2:",
        ":1",
        "1f-2:x",
        "1f-2:42/",
        "1f-2:42/1.2",
        "1f-2:42/1.2.3.4",
        "1f-2:42/1.2.x",
        "18446744073709551616",
        "time:",
        "time:1970",
        "time:1970-13-01T00:00:00Z",
        "time:1970-01-01T00:00:00",
        "time:1970-02-30T00:00:00Z",
        "time:1970-01-01T25:00:00Z",
        "First"}) {
    const auto parsed = parse_position(bad);
    INFO(bad);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == errc::bad_request);
  }
}
