// What docs/asyncapi.yaml says of workflow channels is what a node sends, of every kind of command.
#include "tests/e2e/chores.hpp"
#include "tests/e2e/event_contract.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

using namespace callboard::testing;

namespace {

class contract_node {
  chat_provider provider_;
  server_process server_{{.arguments = asking(provider_)}};

public:
  broker client{server_.where()};
  event_contract contract{client.http()};

  void start(std::string_view id, const json::value& more) {
    auto body = more.as_object();
    body["id"] = id;
    body["correlation_id"] = "c1";
    const auto started = client.post("/workflows", json::serialize(body));
    INFO(started.body);
    REQUIRE(started.status == 201);
  }

  std::string result(std::string_view id) {
    return text_of(
        client.get("/workflows/" + std::string{id} + "/result?wait_ms=20000").json(), "status");
  }

  void check(std::string_view channel) {
    const auto events = client.history(channel);
    CHECK_FALSE(events.empty());
    for (const auto& one : events) {
      INFO(json::serialize(one.event));
      CHECK(contract.fault_of(one.event) == "");
    }
  }
};

}  // namespace

TEST_CASE("events of workflow channels are as asyncapi.yaml describes them", "[e2e][contract]") {
  contract_node node;
  node.start("e", {{"type", "everything"}, {"mirror", "watch"}});
  REQUIRE(node.client.post("/workflows/e/signals/go", "7").status == 200);
  REQUIRE(node.client.post("/workflows/e/signals/soon", "3").status == 200);
  chores_done chores;
  do_chores(node.client, chores, 20'000);
  CHECK(chores.given.size() == 1);
  CHECK(node.result("e") == "completed");
  node.start("stopped", {{"type", "everything"}});
  CHECK(eventually([&] {
    return node.client.get("/workflows/stopped/explain").body.contains("the signal 'go'");
  }));
  REQUIRE(node.client.post("/workflows/stopped/cancel", R"({"reason":"enough"})").status == 200);
  CHECK(node.result("stopped") == "cancelled");
  node.start("wrong", {{"type", "piece"}, {"input", "no number"}});
  CHECK(node.result("wrong") == "failed");
  REQUIRE(node.client.post("/workflows/e/restart", R"({"from":"last"})").status == 200);
  CHECK(node.result("e") == "completed");
  REQUIRE(node.client.post("/workflows/e/fork", R"({"id":"f","from":"last"})").status == 201);
  CHECK(node.result("f") == "completed");
  for (const auto channel :
       {"workflow.e",
        "workflow.f",
        "workflow.agent.tally.t",
        "workflow.stopped",
        "workflow.wrong"}) {
    node.check(channel);
  }
  node.check("workflow." + child_named(node.client, "e.1.11"));
  auto unseen = node.contract.described();
  for (const auto& type : node.contract.seen())
    unseen.erase(type);
  // Models are in models.test.cpp; blocked runs and new builds need another program.
  CHECK(
      unseen
      == std::set<std::string>{
          "build.changed",
          "model.delta",
          "model.reset",
          "model.snapshot",
          "workflow.blocked",
          "workflow.unblocked"});
}
