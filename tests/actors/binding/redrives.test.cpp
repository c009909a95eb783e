// How much one request may do to the dead letters of a binding.
#include "tests/actors/binding/bound_node.hpp"

#include <cstdint>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

TEST_CASE(
    "one request redrives so many dead letters and says if there are more", "[actors][binding]") {
  config with;
  with.limits.dead_changes_max = 2;
  bound_node here{with};
  here.bind(R"({"target":{"workflow":{"type":"absent","id":"w-{id}"}}})");
  for (int n = 1; n <= 7; ++n)
    here.publish("x", n);
  here.broker.advance(5s);
  REQUIRE(here.dead().size() == 7);
  here.bind(R"({"target":{"workflow":{"type":"test.echo","id":"w-{id}"}}})");
  const redrive_binding all{here.binding(), {}, "ann"};
  auto told = here.get<binding_redrive>(all);
  CHECK(told.events == 2);
  CHECK(told.more);
  here.broker.advance(5s);
  CHECK(here.dead() == std::vector<std::uint64_t>{3, 4, 5, 6, 7});
  // What was settled by hand between them is not counted.
  const auto given_up = here.get<dead_change_count>(
      abandon_binding_dead{here.binding(), {.seqs = {sequence{4}}}, "ann"});
  CHECK(given_up.changed == 1);
  told = here.get<binding_redrive>(all);
  CHECK(told.events == 2);
  CHECK(told.more);
  here.broker.advance(5s);
  CHECK(here.dead() == std::vector<std::uint64_t>{6, 7});
  CHECK_THAT(here.shown("w-e5"), Catch::Contains("completed"));
  told = here.get<binding_redrive>(all);
  CHECK(told.events == 2);
  CHECK_FALSE(told.more);
  here.broker.advance(5s);
  CHECK(here.dead().empty());
}

TEST_CASE("dead letters that fit are bounded as well as all of them", "[actors][binding]") {
  config with;
  with.limits.dead_changes_max = 2;
  bound_node here{with};
  here.bind(R"({"target":{"workflow":{"type":"absent","id":"w-{id}"}}})");
  for (int n = 1; n <= 5; ++n)
    here.publish("x", n);
  here.broker.advance(5s);
  REQUIRE(here.dead().size() == 5);
  here.bind(R"({"target":{"workflow":{"type":"test.echo","id":"w-{id}"}}})");
  const auto told =
      here.get<binding_redrive>(redrive_binding{here.binding(), {.type = "t"}, "ann"});
  CHECK(told.events == 2);
  CHECK(told.more);
  CHECK(here.dead() == std::vector<std::uint64_t>{3, 4, 5});
  abandon_binding_dead some{here.binding(), {.type = "t"}, "ann"};
  auto given_up = here.get<dead_change_count>(some);
  CHECK(given_up.changed == 2);
  CHECK(given_up.more);
  given_up = here.get<dead_change_count>(some);
  CHECK(given_up.changed == 1);
  CHECK_FALSE(given_up.more);
  CHECK(here.dead().empty());
}

}  // namespace callboard::testing
