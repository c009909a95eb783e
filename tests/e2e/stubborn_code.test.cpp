// Code that does not end: the node is stopped all the same, in time, and loses nothing by it.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <future>
#include <string>

using namespace callboard::testing;

TEST_CASE("SIGTERM ends a node whose code does not end", "[e2e][workflow]") {
  server_process node{{.arguments = {"--set", "node.drain_timeout_ms=2000"}}};
  broker to{node.where()};
  REQUIRE(to.post("/workflows", R"({"type":"patient","id":"p"})").status == 201);
  const std::string where = GENERATE("turn", "step");
  CAPTURE(where);
  const auto begin = R"({"type":"stubborn","id":"s","input":")" + where + R"("})";
  REQUIRE(to.post("/workflows", begin).status == 201);
  if (where == "step") {
    REQUIRE(eventually([&] {
      return number_of(to.get("/workflows/s/explain").json(), "steps_running_here") == 1;
    }));
  } else {
    // It waits for a turn to end, for two seconds.
    INFO(to.get("/workflows/s/explain").body);
    REQUIRE(to.get("/workflows/s").status == 200);
  }
  CHECK(node.stop() == 0);
  CHECK(node.log().contains("the process ends without them"));
  // Closed as by any stop.
  CHECK(run_callboard({"journal", "verify", "--data", node.data_dir().string()}).status == 0);
  node.start();
  broker again{node.where()};
  CHECK(text_of(again.get("/workflows/p").json(), "status") == "running");
  CHECK(text_of(again.get("/workflows/s").json(), "status") == "running");
  CHECK(again.post("/workflows/s/terminate", "{}").status == 200);
  CHECK(node.stop() == 0);
}

TEST_CASE("who asks after code that hangs in its first turn is told so", "[e2e][workflow]") {
  server_process node{{.arguments = {"--set", "node.drain_timeout_ms=2000"}}};
  broker to{node.where()};
  auto starting = std::async(std::launch::async, [&] {
    return broker{node.where()}.post(
        "/workflows", R"({"type":"stubborn","id":"f","input":"first"})");
  });
  const auto told = [&](const std::string& path) {
    const auto answer = to.get(path);
    INFO(answer.body);
    return answer.status == 503 && answer.code() == "timeout"
           && answer.body.contains("first command");
  };
  REQUIRE(eventually([&] { return told("/workflows/f/explain"); }));
  CHECK(told("/workflows/f"));
  CHECK(to.post("/workflows/f/terminate", "{}").status == 200);
  CHECK(starting.get().status == 201);
  CHECK(node.stop() == 0);
}

TEST_CASE("a cancel of code that hangs outlives kill -9", "[e2e][workflow]") {
  server_process node;
  broker to{node.where()};
  REQUIRE(to.post("/workflows", R"({"type":"stubborn","id":"s","input":"turn"})").status == 201);
  const auto is_at_work = [&] {
    return text_of(to.get("/workflows/s/explain").json(), "summary")
        .contains("its code is at work");
  };
  REQUIRE(eventually(is_at_work));
  const auto asked = to.post("/workflows/s/cancel", R"({"reason":"enough"})");
  CHECK(asked.status == 200);
  CHECK(text_of(asked.json(), "outcome") == "cancelling");
  node.kill();
  node.start();
  broker again{node.where()};
  const auto ended = again.get("/workflows/s/result?wait_ms=20000").json();
  CHECK(text_of(ended, "status") == "cancelled");
  std::string types;
  for (const auto& one : again.history("workflow.s"))
    types += text_of(one.event, "type") + ' ';
  CHECK(
      types
      == "workflow.started timer.started workflow.cancelling command.cancelled "
         "workflow.cancelled ");
}

TEST_CASE("a cancel of code that hangs in its first turn is refused in time", "[e2e][workflow]") {
  server_process node{{.arguments = {"--set", "node.drain_timeout_ms=2000"}}};
  broker to{node.where()};
  auto starting = std::async(std::launch::async, [&] {
    return broker{node.where()}.post(
        "/workflows", R"({"type":"stubborn","id":"f","input":"first"})");
  });
  const auto is_told = [&] {
    const auto answer = to.post("/workflows/f/cancel", "{}");
    return answer.status == 503 && answer.body.contains("first command");
  };
  CHECK(eventually(is_told));
  CHECK(to.post("/workflows/f/terminate", "{}").status == 200);
  CHECK(starting.get().status == 201);
  CHECK(node.stop() == 0);
}

TEST_CASE("a child of a type that nobody has is listed, and goes on with it", "[e2e][workflow]") {
  server_process node;
  broker to{node.where()};
  REQUIRE(
      to.post("/workflows", R"({"type":"orphan","id":"o","input":"nobody_has_this"})").status
      == 201);
  const auto stuck = [&] {
    const auto all = to.get("/workflows?stuck=true").json().at("workflows").as_array();
    return all.size() == 1 && json::serialize(all[0]).contains("type_missing");
  };
  REQUIRE(eventually(stuck));
  const auto explained = to.get("/workflows/o/explain").body;
  CHECK(explained.contains("has no workflow type 'nobody_has_this'"));
  CHECK(text_of(to.get("/workflows/o").json(), "status") == "running");
  CHECK(to.post("/workflows/o/commands/1/resolve", R"({"result":7})").status == 200);
  const auto ended = to.get("/workflows/o/result?wait_ms=20000").json();
  CHECK(number_of(ended, "result") == 7);
  CHECK(to.get("/workflows?stuck=true").json().at("workflows").as_array().empty());
}
