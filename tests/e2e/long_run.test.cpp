// A run of many steps: it goes on after kill -9, and says what its replay takes. CALLBOARD_LONG=1
// makes it 100,000 steps.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <cstdlib>
#include <iostream>
#include <string>

using namespace callboard::testing;

namespace {

std::uint64_t steps() {
  return std::getenv("CALLBOARD_LONG") != nullptr ? 100'000 : 2'000;
}

}  // namespace

TEST_CASE("a run of many steps goes on after kill -9", "[e2e][workflow]") {
  server_process node;
  const auto explain = [&] { return broker{node.where()}.get("/workflows/l/explain"); };
  const auto waits = [&] { return explain().body.contains("the signal 'go'"); };
  const auto begin = R"({"type":"many","id":"l","input":)" + std::to_string(steps()) + "}";
  REQUIRE(broker{node.where()}.post("/workflows", begin).status == 201);
  REQUIRE(eventually(waits, std::chrono::minutes{30}));
  node.kill();
  node.start();
  const auto asked = std::chrono::steady_clock::now();
  REQUIRE(eventually(waits, std::chrono::minutes{5}));
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - asked);
  const auto told = explain().json();
  INFO(json::serialize(told));
  REQUIRE(told.as_object().contains("replay_ms"));
  const auto replay_ms = number_of(told, "replay_ms");
  CHECK(replay_ms <= static_cast<std::uint64_t>(took.count()));
  CHECK(number_of(told, "history_size") == 2 * steps() + 2);
  // From 10,000 on.
  if (steps() >= 10'000) {
    CHECK(text_of(told, "warning").contains(std::to_string(steps() + 1) + " commands"));
  }
  std::cout << steps() << " steps: replay " << replay_ms << " ms, awake after " << took.count()
            << " ms" << std::endl;
  broker client{node.where()};
  REQUIRE(client.post("/workflows/l/signals/go", "7").status == 200);
  const auto ended = client.get("/workflows/l/result?wait_ms=20000").json();
  CHECK(number_of(ended, "result") == steps() * (steps() - 1) / 2 + 7);
}
