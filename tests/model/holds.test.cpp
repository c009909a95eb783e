#include "model/holds.hpp"

#include "tests/support/catch.hpp"

#include <string>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using std::chrono::seconds;

namespace {

constexpr boot_time start = seconds{1000};

}  // namespace

TEST_CASE("a hold is for the tenant and the model it was told for", "[model][holds]") {
  holds held;
  held.add("m", "a", start + seconds{30}, start);
  CHECK(held.until("m", "a") == start + seconds{30});
  CHECK(held.until("m", "b") == boot_time{});
  CHECK(held.until("n", "a") == boot_time{});
  CHECK(held.last() == start + seconds{30});
  // A shorter wish shortens none.
  held.add("m", "a", start + seconds{10}, start + seconds{5});
  CHECK(held.until("m", "a") == start + seconds{30});
  held.add("n", "b", start + seconds{40}, start);
  CHECK(held.until("m", "b") == boot_time{});
}

TEST_CASE("a second tenant that is refused holds all, as long as both say", "[model][holds]") {
  holds held;
  held.add("m", "a", start + seconds{300}, start);
  held.add("m", "b", start + seconds{30}, start + seconds{10});
  CHECK(held.until("m", "c") == start + seconds{30});
  CHECK(held.until("m", "b") == start + seconds{30});
  CHECK(held.until("m", "a") == start + seconds{300});
  CHECK(held.until("n", "c") == boot_time{});
  held.add("m", "c", start + seconds{60}, start + seconds{30});
  CHECK(held.until("m", "d") == start + seconds{60});
}

TEST_CASE("who is refused when the first hold is over holds nobody else", "[model][holds]") {
  holds held;
  held.add("m", "a", start + seconds{30}, start);
  held.add("m", "b", start + seconds{60}, start + seconds{30});
  CHECK(held.until("m", "c") == boot_time{});
}

TEST_CASE("a tenant's hold ends by an answer to itself that began after it", "[model][holds]") {
  holds held;
  held.add("m", "a", start + seconds{100}, start);
  held.add("n", "a", start + seconds{100}, start);
  CHECK_FALSE(held.lift("m", "a", start, start + seconds{20}));
  CHECK_FALSE(held.lift("m", "b", start + seconds{10}, start + seconds{20}));
  CHECK_FALSE(held.lift("other", "a", start + seconds{10}, start + seconds{20}));
  CHECK(held.until("m", "a") == start + seconds{100});
  CHECK(held.lift("m", "a", start + seconds{10}, start + seconds{20}));
  CHECK(held.until("m", "a") == boot_time{});
  CHECK(held.until("n", "a") == start + seconds{100});
}

TEST_CASE("an answer to one that is not refused ends the hold for all", "[model][holds]") {
  holds held;
  held.add("m", "a", start + seconds{100}, start);
  held.add("m", "b", start + seconds{200}, start + seconds{10});
  REQUIRE(held.until("m", "c") == start + seconds{100});
  CHECK(held.is_unheard("m", "c", start + seconds{10}));
  CHECK_FALSE(held.is_unheard("m", "a", start + seconds{10}));
  CHECK_FALSE(held.is_unheard("m", "c", start + seconds{100}));
  CHECK(held.models(start + seconds{10}) == std::vector<std::string>{"m"});
  CHECK(held.models(start + seconds{100}).empty());
  // Those that are refused began before.
  CHECK_FALSE(held.lift("m", "b", start + seconds{5}, start + seconds{20}));
  SECTION("whenever it began") {
    CHECK(held.lift("m", "c", start, start + seconds{20}));
    CHECK(held.until("m", "c") == boot_time{});
    CHECK(held.until("m", "a") == start + seconds{100});
    CHECK(held.until("m", "b") == start + seconds{200});
    CHECK_FALSE(held.is_unheard("m", "c", start + seconds{20}));
  }
  SECTION("or is refused no more") {
    CHECK(held.lift("m", "b", start + seconds{15}, start + seconds{20}));
    CHECK(held.until("m", "b") == boot_time{});
    CHECK(held.until("m", "c") == boot_time{});
    CHECK(held.until("m", "a") == start + seconds{100});
  }
}

TEST_CASE("holds are bounded, and those that are over make room", "[model][holds]") {
  holds held;
  for (int i = 0; i < 2000; ++i)
    held.add("m" + std::to_string(i), "a", start + seconds{30}, start);
  CHECK(held.until("m999", "a") == start + seconds{30});
  CHECK(held.until("m1000", "a") == boot_time{});
  held.add("m1000", "a", start + seconds{60}, start + seconds{30});
  CHECK(held.until("m1000", "a") == start + seconds{60});
  CHECK(held.until("m999", "a") == boot_time{});
}
