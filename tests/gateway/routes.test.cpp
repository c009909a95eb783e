// What is refused because of its name is called what it is.
#include "gateway/routes.hpp"

#include "tests/support/catch.hpp"

#include <string>
#include <utility>

using namespace callboard;
using namespace callboard::gateway;

TEST_CASE("a name that does not fit is called what it is", "[gateway][routes]") {
  const std::string name(300, 'x');
  const std::pair<std::string, std::string> refused[] = {
      {"topics/" + name, "topic 'xxx"},
      {"topics/t/groups/" + name, "group 'xxx"},
      {"topics/t/groups/g/members/" + name, "the name of a member"},
      {"topics/t/bindings/" + name, "a binding"},
      {"presence/t/" + name, "the name of a member"},
      {"workflows/" + name, "the id of a workflow"},
      {"workflows/a%20b", "the id of a workflow"},
      {"workflows/w/signals/" + name, "the name of a signal"},
      {"agents/counter/" + name, "type and key of an agent"},
      {"agents/counter/k/" + name, "the name of a message"},
      {"queues/" + name, "queue 'xxx"}};
  for (const auto& [path, says] : refused) {
    const auto target = parse_target("/v1/tenants/a/" + path);
    REQUIRE(target);
    const auto route = find_route(*target);
    REQUIRE_FALSE(route);
    CHECK(route.error().code == errc::invalid_name);
    CHECK_THAT(route.error().detail, Catch::Contains(says));
  }
}
