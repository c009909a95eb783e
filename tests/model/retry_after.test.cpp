#include "model/retry_after.hpp"

#include "model/http_date.hpp"

#include "tests/support/catch.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using std::chrono::milliseconds;

namespace {

using wish = std::optional<milliseconds>;

wish ms(std::int64_t count) {
  return milliseconds{count};
}

/// 1994-11-06 08:49:37 UTC.
constexpr time_ms then{milliseconds{784'111'777'000}};

wish wish_of(const std::vector<std::string>& lines, time_ms now = then) {
  response_head head{4096};
  REQUIRE(head.add_line("HTTP/1.1 429 Too Many Requests\r\n"));
  for (const auto& line : lines)
    REQUIRE(head.add_line(line + "\r\n"));
  return retry_after_of(head, now);
}

}  // namespace

TEST_CASE("durations of providers", "[model][retry-after]") {
  CHECK(parse_duration("6m0s") == ms(360'000));
  CHECK(parse_duration("1s") == ms(1000));
  CHECK(parse_duration("20ms") == ms(20));
  CHECK(parse_duration("1h2m3.5s") == ms(3'723'500));
  CHECK(parse_duration("2m59.56s") == ms(179'560));
  CHECK(parse_duration("7.66s") == ms(7660));
  CHECK(parse_duration("0s") == ms(0));
  CHECK(parse_duration("1.2ms") == ms(2));
  CHECK(parse_duration("500us") == ms(1));
  CHECK(parse_duration("500\u00b5s") == ms(1));
  CHECK(parse_duration("1ns") == ms(1));
  CHECK(parse_duration("12") == ms(12'000));
  CHECK(parse_duration("1d").has_value() == false);
  CHECK(parse_duration("9999999999h") == wish{retry_after_max});
  for (const auto* text :
       {"", " ", "s", "-1s", "1s2", "1x", "1.2.3s", ".5s", "1 s", "nan", "inf"}) {
    INFO(text);
    CHECK_FALSE(parse_duration(text).has_value());
  }
}

TEST_CASE("dates in all three forms", "[model][retry-after]") {
  CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == then);
  CHECK(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == then);
  CHECK(parse_http_date("Sun Nov  6 08:49:37 1994") == then);
  for (const auto* text :
       {"",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 199 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT x"}) {
    INFO(text);
    CHECK_FALSE(parse_http_date(text).has_value());
  }
}

TEST_CASE("Retry-After in seconds", "[model][retry-after]") {
  CHECK(wish_of({"Retry-After: 0"}) == ms(0));
  CHECK(wish_of({"Retry-After: 1"}) == ms(1000));
  CHECK(wish_of({"retry-after: 120"}) == ms(120'000));
  CHECK(wish_of({"Retry-After:   1.5  "}) == ms(1500));
  CHECK(wish_of({"Retry-After: 86400"}) == ms(86'400'000));
  CHECK(wish_of({"Retry-After: 99999999999999999999"}) == wish{retry_after_max});
}

TEST_CASE("Retry-After as a date", "[model][retry-after]") {
  CHECK(wish_of({"Retry-After: Sun, 06 Nov 1994 08:49:47 GMT"}) == ms(10'000));
  CHECK(wish_of({"Retry-After: Sun, 06 Nov 1994 08:49:00 GMT"}) == ms(0));
  CHECK(wish_of({"Retry-After: Sun, 06 Nov 2094 08:49:00 GMT"}) == wish{retry_after_max});
  // The provider's clock is right about its own dates, whatever ours says.
  CHECK(
      wish_of({"Date: Sun, 06 Nov 1994 10:00:00 GMT", "Retry-After: Sun, 06 Nov 1994 10:00:05 GMT"})
      == ms(5000));
}

TEST_CASE("retry-after-ms goes before Retry-After", "[model][retry-after]") {
  CHECK(wish_of({"Retry-After: 2", "retry-after-ms: 1234"}) == ms(1234));
  CHECK(wish_of({"retry-after-ms: 0.5"}) == ms(1));
  CHECK(wish_of({"Retry-After: 2", "retry-after-ms: soon"}) == ms(2000));
}

TEST_CASE("rate-limit resets: the later of what is used up", "[model][retry-after]") {
  CHECK(
      wish_of({"x-ratelimit-reset-requests: 1s", "x-ratelimit-reset-tokens: 6m0s"}) == ms(360'000));
  CHECK(
      wish_of(
          {"x-ratelimit-remaining-requests: 0",
           "x-ratelimit-reset-requests: 20ms",
           "x-ratelimit-remaining-tokens: 900",
           "x-ratelimit-reset-tokens: 6m0s"})
      == ms(20));
  // Nothing is used up, the request was too large for what is left: the sooner one may do.
  CHECK(
      wish_of(
          {"x-ratelimit-remaining-requests: 3",
           "x-ratelimit-reset-requests: 8s",
           "x-ratelimit-remaining-tokens: 900",
           "x-ratelimit-reset-tokens: 2s"})
      == ms(2000));
  CHECK(wish_of({"Retry-After: 3", "x-ratelimit-reset-tokens: 6m0s"}) == ms(3000));
}

TEST_CASE("what cannot be understood is no wish", "[model][retry-after]") {
  CHECK_FALSE(wish_of({}).has_value());
  for (const auto* value : {"", "soon", "-5", "1e9", "0x10", "1 2"}) {
    INFO(value);
    CHECK_FALSE(wish_of({std::string{"Retry-After: "} + value}).has_value());
  }
  CHECK(wish_of({"Retry-After: soon", "x-ratelimit-reset-requests: 1s"}) == ms(1000));
}

TEST_CASE("a head keeps the last answer's headers within its bound", "[model][retry-after]") {
  response_head head{100};
  CHECK(head.add_line("HTTP/1.1 100 Continue\r\n"));
  CHECK(head.add_line("X-Early: 1\r\n"));
  CHECK(head.add_line("HTTP/2 503\r\n"));
  CHECK(head.add_line("Content-Type:  text/plain \r\n"));
  CHECK(head.add_line("no header\r\n"));
  CHECK(head.status() == 503);
  CHECK_FALSE(head.has("x-early"));
  CHECK(head.header("content-type") == "text/plain");
  CHECK(head.header("other").empty());
  CHECK_FALSE(head.add_line(std::string(100, 'x')));
}
