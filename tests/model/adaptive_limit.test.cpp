#include "model/adaptive_limit.hpp"

#include "tests/support/catch.hpp"

#include <deque>
#include <vector>

using callboard::model::adaptive_limit;

namespace {

std::vector<adaptive_limit::generation> fill(adaptive_limit& limit) {
  std::vector<adaptive_limit::generation> out;
  while (limit.has_room())
    out.push_back(limit.begin("a"));
  return out;
}

}  // namespace

TEST_CASE("as many calls begin as the limit says", "[model][limit]") {
  adaptive_limit limit{1, 8, 3};
  CHECK(fill(limit).size() == 3);
  CHECK(limit.in_flight() == 3);
  limit.ended("a");
  CHECK(limit.has_room());
  CHECK(limit.current() == 3);
}

TEST_CASE("a window of successes adds one, up to the maximum", "[model][limit]") {
  adaptive_limit limit{1, 6, 4};
  for (int round = 0; round < 40; ++round) {
    const auto before = limit.current();
    for (std::size_t open = fill(limit).size(); open > 0; --open) {
      limit.succeeded("a", 0);
      (void)limit.begin("a");
    }
    while (limit.in_flight() > 0)
      limit.ended("a");
    CHECK(limit.current() <= before + 1);
  }
  CHECK(limit.current() == 6);
}

TEST_CASE("a limit that is not used does not grow", "[model][limit]") {
  adaptive_limit limit{1, 100, 10};
  for (int i = 0; i < 1000; ++i) {
    limit.succeeded("a", limit.begin("a"));
  }
  CHECK(limit.current() == 10);
}

TEST_CASE("one burst of refusals halves the limit once", "[model][limit]") {
  adaptive_limit limit{2, 64, 16};
  for (const auto began : fill(limit))
    limit.overloaded("a", began);
  CHECK(limit.current() == 8);
  CHECK(limit.in_flight() == 0);
  for (const auto began : fill(limit))
    limit.overloaded("a", began);
  CHECK(limit.current() == 4);
  for (int i = 0; i < 5; ++i)
    limit.overloaded("a", limit.begin("a"));
  CHECK(limit.current() == 2);
}

TEST_CASE("a tenant that alone is refused halves the limit once", "[model][limit]") {
  adaptive_limit limit{1, 64, 16};
  limit.overloaded("bad", limit.begin("bad"));
  CHECK(limit.current() == 8);
  for (int i = 0; i < 10; ++i) {
    limit.succeeded("good", limit.begin("good"));
    limit.overloaded("bad", limit.begin("bad"));
    CHECK(limit.current() == 8);
  }
  SECTION("but another one that is refused halves it again") {
    limit.overloaded("good", limit.begin("good"));
    CHECK(limit.current() == 4);
    // Nobody was answered since: it may be the provider.
    limit.overloaded("bad", limit.begin("bad"));
    CHECK(limit.current() == 2);
  }
  SECTION("as does the same one after an answer") {
    limit.succeeded("bad", limit.begin("bad"));
    limit.overloaded("bad", limit.begin("bad"));
    CHECK(limit.current() == 4);
  }
}

TEST_CASE("an answer to a call from before the fall clears no refusal", "[model][limit]") {
  adaptive_limit limit{1, 64, 16};
  const auto before = limit.begin("bad");
  limit.overloaded("bad", limit.begin("bad"));
  limit.succeeded("bad", before);
  limit.overloaded("bad", limit.begin("bad"));
  CHECK(limit.current() == 4);
}

TEST_CASE("a tenant halves the limit once, however slow the others' answers", "[model][limit]") {
  adaptive_limit limit{1, 64, 16};
  // Good calls take as long as a hundred refusals; there are fewer of them than the limit lets.
  constexpr int slower = 100;
  std::deque<adaptive_limit::generation> good;
  for (int i = 0; i < 3; ++i)
    good.push_back(limit.begin("good"));
  for (int refusals = 1; refusals <= 20 * slower; ++refusals) {
    limit.overloaded("bad", limit.begin("bad"));
    CHECK(limit.current() >= 8);
    if (refusals % slower != 0) continue;
    limit.succeeded("good", good.front());
    good.pop_front();
    good.push_back(limit.begin("good"));
  }
}

TEST_CASE("where calls from before go well and no new one does, it falls on", "[model][limit]") {
  adaptive_limit limit{1, 64, 16};
  const auto a = limit.begin("a");
  const auto b = limit.begin("b");
  limit.overloaded("a", limit.begin("a"));
  limit.succeeded("a", a);
  limit.succeeded("b", b);
  for (int i = 0; i < 4; ++i) {
    for (const auto* tenant : {"a", "b"})
      limit.overloaded(tenant, limit.begin(tenant));
  }
  CHECK(limit.current() == 1);
}

TEST_CASE("calls above a limit that fell end before others begin", "[model][limit]") {
  adaptive_limit limit{1, 64, 8};
  const auto open = fill(limit);
  limit.overloaded("a", open[0]);
  CHECK(limit.current() == 4);
  CHECK(limit.in_flight() == 7);
  for (int i = 0; i < 3; ++i) {
    limit.succeeded("a", open[1]);
    CHECK_FALSE(limit.has_room());
  }
  limit.succeeded("a", open[1]);
  CHECK(limit.has_room());
}

TEST_CASE("values outside of the bounds are moved there", "[model][limit]") {
  CHECK(adaptive_limit{0, 0, 0}.current() == 1);
  CHECK(adaptive_limit{4, 2, 1}.current() == 4);
  CHECK(adaptive_limit{1, 2, 9}.current() == 2);
}
