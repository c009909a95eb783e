// What an agent keeps in mind of the messages that it has answered.
#include "runtime/workflow/answered_messages.hpp"

#include "runtime/workflow/run_codec.hpp"

#include "tests/support/catch.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <string>

namespace callboard::testing {

using namespace runtime;
using namespace std::chrono_literals;

namespace {

time_ms at(std::int64_t ms) {
  return time_ms{std::chrono::milliseconds{ms}};
}

answered_messages first(int count) {
  answered_messages some;
  for (int i = 1; i <= count; ++i)
    some.add(fmt::format("m{}", i), at(i));
  return some;
}

}  // namespace

TEST_CASE("the latest messages that were answered are known, and since when all are") {
  constexpr int most = answered_messages::messages_max;
  auto some = first(most);
  CHECK(some.contains("m1"));
  CHECK(some.contains(fmt::format("m{}", most)));
  CHECK_FALSE(some.contains("other"));
  CHECK_FALSE(some.lacks_some_of(at(0)));
  some.add("late", at(most + 1));
  CHECK_FALSE(some.contains("m1"));
  CHECK(some.contains("late"));
  CHECK(some.lacks_some_of(at(1)));
  // Whatever came behind the last that is forgotten is known.
  for (int i = 1; i <= most; ++i) {
    INFO("message " << i);
    REQUIRE((some.contains(fmt::format("m{}", i)) || some.lacks_some_of(at(i))));
  }
  CHECK_FALSE(some.lacks_some_of(at(100)));
}

TEST_CASE("what is known of answered messages outlives the run") {
  for (const int count : {1, 64, 65, 5000}) {
    INFO("messages " << count);
    run_start start;
    start.answered = first(count);
    const auto event = make_started(start);
    const auto again = read_started(event)->answered;
    CHECK(boost::json::serialize(again.write()) == boost::json::serialize(start.answered.write()));
    CHECK(again.contains(fmt::format("m{}", count)));
    CHECK(again.lacks_some_of(at(1)) == (count == 5000));
    CHECK(
        boost::json::serialize(start.answered.write()).size()
        <= start.answered.written_size() + 64);
  }
  CHECK_FALSE(make_started(run_start{}).data.as_object().contains("answered"));
}

TEST_CASE("what is no list of answered messages is none") {
  for (const auto* text :
       {"null",
        "[]",
        R"({"groups":1})",
        R"({"groups":[1,{},{"ids":7},{"ids":"0123"},{"ids":"zz23456789abcdef"}]})",
        R"({"lacks_until_ms":"x"})"}) {
    INFO(text);
    const auto none = answered_messages::read(read_json(text).value());
    CHECK(none.is_empty());
    CHECK_FALSE(none.lacks_some_of(at(0)));
  }
}

}  // namespace callboard::testing
