// The guide to a first workflow (docs/guide/first-workflow.md), as a reader plays it: its calls,
// with kill -9 where it says so, and its code, which is that of examples/greeting.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

using namespace callboard::testing;

namespace {

std::string text_of_file(const std::string& path) {
  std::ifstream file{std::string{CALLBOARD_SOURCE_DIR "/"} + path};
  REQUIRE(file);
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// As `curl -d` does, which says nothing of JSON.
http_response curl(broker& client, std::string_view rest, std::string_view body) {
  return client.http().send(
      "POST",
      client.path("/workflows" + std::string{rest}),
      body,
      {{"Content-Type", "application/x-www-form-urlencoded"}});
}

}  // namespace

TEST_CASE("the guide's first workflow is the one that is built", "[e2e][guide]") {
  auto code = text_of_file("examples/greeting/greeting.cpp");
  // Its first line says where it belongs.
  code.erase(0, code.find('\n') + 1);
  CHECK_THAT(text_of_file("docs/guide/first-workflow.md"), Catch::Contains(code));
}

TEST_CASE("the guide's first workflow does what the guide says", "[e2e][guide]") {
  server_process node;
  {
    broker client{node.where()};
    REQUIRE(curl(client, "", R"({"type":"greeting","id":"g1","input":"Ada"})").status == 201);
    event_stream watch{node.where(), client.topic_path("workflow.g1", "/events?from=first")};
    std::string draft;
    for (std::string type; type != "signal.awaited";) {
      const auto event = watch.next();
      REQUIRE(event);
      const auto told = json::parse(event->data);
      type = text_of(told, "type");
      if (type == "workflow.update") draft = text_of(told.at("data"), "draft");
    }
    CHECK(draft == "Hello, Ada");
  }
  node.kill();
  node.start();
  broker client{node.where()};
  const auto steps = client.get("/workflows/g1").json().at("steps").as_array();
  REQUIRE_FALSE(steps.empty());
  CHECK(text_of(steps.back(), "kind") == "signal");
  CHECK(text_of(steps.back(), "name") == "approve");
  CHECK(text_of(steps.back(), "status") == "running");
  CHECK(curl(client, "/g1/signals/approve", "true").status == 200);
  CHECK(
      client.get("/workflows/g1/result?wait_ms=10000").body
      == R"({"id":"g1","status":"completed","result":"Hello, Ada!"})");
  const auto composed = std::ranges::count_if(client.history("workflow.g1"), [](const auto& one) {
    return text_of(one.event, "type") == "task.completed";
  });
  CHECK(composed == 1);
}
