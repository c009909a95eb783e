// Trees of child workflows: the one at the top is cancelled, and the node killed while that makes
// its way down.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <cstddef>
#include <string>

using namespace callboard::testing;

namespace {

std::size_t count_of(const server_process& node, const std::string& status) {
  const auto list = broker{node.where()}.get("/workflows?type=tree&limit=1000&status=" + status);
  return list.status == 200 ? list.json().at("workflows").as_array().size() : 0;
}

}  // namespace

TEST_CASE("a cancel reaches all children across kill -9", "[e2e][workflow]") {
  const auto before_kill = GENERATE(as<std::size_t>{}, 0, 1, 6, 25);
  server_process node;
  const auto begun =
      broker{node.where()}.post("/workflows", R"({"type":"tree","id":"root","input":[5,10]})");
  REQUIRE(begun.status == 201);
  REQUIRE(eventually([&] { return count_of(node, "running") == 56; }));
  REQUIRE(broker{node.where()}.post("/workflows/root/cancel", "").status == 200);
  REQUIRE(eventually([&] { return count_of(node, "cancelled") >= before_kill; }));
  node.kill();
  node.start();
  CHECK(eventually([&] { return count_of(node, "cancelled") == 56; }));
  CHECK(count_of(node, "running") == 0);
  // Each has recorded it once.
  for (const auto& one : broker{node.where()}
                             .get("/workflows?type=tree&limit=1000")
                             .json()
                             .at("workflows")
                             .as_array()) {
    std::size_t cancels = 0;
    for (const auto& event : broker{node.where()}.history("workflow." + text_of(one, "id")))
      cancels += text_of(event.event, "type") == "workflow.cancelling" ? 1 : 0;
    CHECK(cancels == 1);
  }
}
