// Targets of bindings that take no more for now.
#include "tests/actors/binding/bound_node.hpp"

#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

TEST_CASE("a workflow that reads nothing holds up only its own events", "[actors][binding]") {
  config with;
  with.workflows.unread_bytes_max = 1500;
  bound_node here{with};
  for (const auto* id : {"full", "free"}) {
    const auto topic = virtual_broker::topic(std::string{"workflow."} + id);
    REQUIRE(here.broker.ask_now(start_workflow{topic, "test.late", "4", {}, {}}));
  }
  REQUIRE(here.broker.ask_now(
      signal_workflow{virtual_broker::topic("workflow.free"), "begin", "0", ""}));
  here.bind(R"({"target":{"signal":{"workflow":"{data.to}","name":"go"}}})");
  for (int n = 1; n <= 4; ++n)
    here.publish("full", n);
  here.broker.advance(100ms);
  REQUIRE(here.signals_of("full") == 2);
  for (int n = 5; n <= 8; ++n) {
    // At once, whatever the other waits for.
    here.publish("free", n);
    here.broker.tick(1ms);
    here.broker.settle();
    CHECK(here.signals_of("free") == static_cast<std::size_t>(n - 3));
  }
  here.broker.advance(20s);
  CHECK(here.signals_of("full") == 2);
  CHECK(here.dead().empty());
  // It may have to be read first, and does not know yet what it waits for.
  const signal_workflow begin{virtual_broker::topic("workflow.full"), "begin", "0", "b"};
  auto heard = here.broker.ask_now(begin);
  for (int i = 0; i < 20 && !heard; ++i) {
    here.broker.advance(50ms);
    heard = here.broker.ask_now(begin);
  }
  REQUIRE(heard);
  here.broker.advance(10s);
  CHECK_THAT(here.shown("full"), Catch::Contains(R"("status":"completed")"));
  // In their order.
  CHECK_THAT(here.shown("full"), Catch::Matches(R"(.*"n":1.*"n":2.*"n":3.*"n":4.*)"));
}

}  // namespace callboard::testing
