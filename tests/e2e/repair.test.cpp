// Workflows of the real program (examples/order_saga) that are put right by hand, with kill -9
// right after each call was answered.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/unmarked.hpp"

#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>

namespace {

using namespace callboard::testing;

class repaired_node {
public:
  repaired_node() {
    ::setenv("ORDER_SAGA_LOG", (folder_.path() / "effects").c_str(), 1);
    server_.emplace();
  }

  [[nodiscard]] broker client() { return broker{server_->where()}; }

  server_process& server() { return *server_; }

  void crash() {
    server_->kill();
    server_->start();
  }

  void start(const std::string& id, const std::string& input) {
    const auto answer = client().post(
        "/workflows", R"({"type":"order","id":")" + id + R"(","input":)" + input + "}");
    REQUIRE(answer.status == 201);
  }

  json::value result(const std::string& id) {
    return client().get("/workflows/" + id + "/result?wait_ms=20000").json();
  }

  json::value show(const std::string& id) { return client().get("/workflows/" + id).json(); }

  /// A call about one workflow, and the node dies as soon as it was answered.
  http_response call_and_crash(const std::string& rest, const std::string& body) {
    auto answer = client().post("/workflows/" + rest, body);
    crash();
    return answer;
  }

  /// How often each call was made, by its idempotency key.
  [[nodiscard]] std::map<std::string, int> effects() const {
    std::map<std::string, int> seen;
    std::ifstream file{folder_.path() / "effects"};
    for (std::string line; std::getline(file, line);)
      ++seen[unmarked(line)];
    return seen;
  }

private:
  temp_dir folder_;
  std::optional<server_process> server_;
};

/// Data of the first event of this type.
json::value data_of(const std::vector<stored_event>& channel, std::string_view type) {
  for (const auto& one : channel) {
    if (text_of(one.event, "type") == type) return one.event.at("data");
  }
  return {};
}

/// What the end of the command says of who did it; null if nobody did.
json::value by_hand(const std::vector<stored_event>& channel, std::uint64_t command) {
  for (const auto& one : channel) {
    const auto* data = one.event.if_contains("data");
    if (number_of(one.event, "command") != command || data == nullptr) continue;
    if (const auto* found = data->as_object().if_contains("by_hand")) return *found;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("what was put right is so after kill -9", "[e2e][repair]") {
  repaired_node node;

  SECTION("a restart") {
    node.start("o1", R"({"total":500})");
    REQUIRE(
        eventually([&] { return text_of(node.show("o1"), "state") == "waiting for approval"; }));
    const auto answer =
        node.call_and_crash("o1/restart", R"({"from":"reserve","reason":"the shelf was empty"})");
    CHECK(answer.status == 200);
    CHECK(number_of(answer.json(), "run") == 2);
    REQUIRE(
        eventually([&] { return text_of(node.show("o1"), "state") == "waiting for approval"; }));
    CHECK(number_of(node.show("o1"), "run") == 2);
    REQUIRE(node.client().post("/workflows/o1/signals/approve", "true").status == 200);
    CHECK(text_of(node.result("o1"), "result") == "INV-o1");
    const auto effects = node.effects();
    CHECK(effects.at("reserve o1.1.1") == 1);
    CHECK(effects.at("reserve o1.2.1") >= 1);
    CHECK_FALSE(effects.contains("charge o1.1.4"));
    const auto told = data_of(node.client().history("workflow.o1"), "workflow.restarted");
    CHECK(text_of(told, "who") == "anonymous");
    CHECK(text_of(told, "reason") == "the shelf was empty");
    CHECK(number_of(told.at("from"), "command") == 1);
  }
  SECTION("a restart of one that has failed") {
    node.start("o2", R"({"total":40,"fail":"ship"})");
    REQUIRE(text_of(node.result("o2"), "status") == "failed");
    REQUIRE(node.call_and_crash("o2/restart", R"({"from":"ship"})").status == 200);
    // It is refused again, and undone again; what is before it is not done again.
    CHECK(text_of(node.result("o2"), "status") == "failed");
    const auto effects = node.effects();
    CHECK(effects.at("charge o2.1.2") == 1);
    CHECK_FALSE(effects.contains("charge o2.2.2"));
    CHECK(effects.at("ship o2.2.4") >= 1);
    CHECK(effects.at("refund o2.2.5") >= 1);
  }
  SECTION("a fork") {
    node.start("o3", R"({"total":500})");
    REQUIRE(
        eventually([&] { return text_of(node.show("o3"), "state") == "waiting for approval"; }));
    REQUIRE(node.call_and_crash("o3/fork", R"({"id":"o3-too"})").status == 201);
    REQUIRE(node.client().post("/workflows/o3/fork", R"({"id":"o3-too"})").status == 200);
    REQUIRE(node.client().post("/workflows/o3-too/signals/approve", "true").status == 200);
    CHECK(text_of(node.result("o3-too"), "result") == "INV-o3-too");
    CHECK_FALSE(node.effects().contains("reserve o3-too.1.1"));
    CHECK(text_of(node.show("o3"), "state") == "waiting for approval");
    CHECK(
        text_of(
            data_of(node.client().history("workflow.o3-too"), "workflow.forked").at("from"), "id")
        == "o3");
  }
  SECTION("a command that is skipped or resolved") {
    node.start("o4", R"({"total":500})");
    REQUIRE(
        eventually([&] { return text_of(node.show("o4"), "state") == "waiting for approval"; }));
    const auto answer = node.call_and_crash(
        "o4/commands/3/resolve", R"({"result":true,"reason":"approved by phone"})");
    CHECK(answer.status == 200);
    CHECK(text_of(node.result("o4"), "status") == "completed");
    CHECK(
        by_hand(node.client().history("workflow.o4"), 3)
        == json::value{{"how", "resolved"}, {"who", "anonymous"}, {"reason", "approved by phone"}});
    CHECK(node.client().post("/workflows/o4/commands/3/skip", "").status == 409);
    node.start("o5", R"({"total":500})");
    REQUIRE(
        eventually([&] { return text_of(node.show("o5"), "state") == "waiting for approval"; }));
    const auto failed = node.call_and_crash(
        "o5/commands/3/resolve", R"({"error":{"code":"nobody","message":"all are on holiday"}})");
    CHECK(failed.status == 200);
    CHECK(text_of(node.result("o5"), "status") == "failed");
    CHECK(node.effects().at("release o5.1.4") >= 1);
    node.start("o7", R"({"total":500})");
    REQUIRE(
        eventually([&] { return text_of(node.show("o7"), "state") == "waiting for approval"; }));
    REQUIRE(
        node.call_and_crash("o7/commands/3/skip", R"({"reason":"nobody is there"})").status == 200);
    // As if its time were up.
    CHECK(text_of(node.result("o7"), "status") == "failed");
    CHECK(
        by_hand(node.client().history("workflow.o7"), 3)
        == json::value{{"how", "skipped"}, {"who", "anonymous"}, {"reason", "nobody is there"}});
  }
  SECTION("what makes no sense is refused") {
    node.start("o6", R"({"total":500})");
    REQUIRE(
        eventually([&] { return text_of(node.show("o6"), "state") == "waiting for approval"; }));
    CHECK(node.client().post("/workflows/o6/restart", "").status == 400);
    CHECK(node.client().post("/workflows/o6/restart", R"({"from":"nothing"})").status == 404);
    CHECK(node.client().post("/workflows/o6/restart", R"({"from":"1","version":9})").status == 400);
    CHECK(node.client().post("/workflows/nobody/restart", R"({"from":1})").status == 404);
    CHECK(node.client().post("/workflows/o6/fork", R"({"from":"1"})").status == 400);
    CHECK(node.client().post("/workflows/o6/fork", R"({"id":"bad id"})").status == 400);
    CHECK(node.client().post("/workflows/o6/commands/3/resolve", "").status == 400);
    CHECK(node.client().post("/workflows/o6/commands/1/skip", "").status == 409);
    CHECK(node.client().post("/workflows/o6/commands/zero/skip", "").status == 400);
    CHECK_THAT(
        node.client().post("/workflows/o6/commands/0/skip", "").body,
        Catch::Contains("workflow explain"));
    CHECK(number_of(node.show("o6"), "run") == 1);
  }
}
