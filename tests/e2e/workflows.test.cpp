// Workflows in the real program (examples/order_saga): started, signalled, cancelled over HTTP and
// killed with kill -9 in the middle. What the steps did is written by them to a file outside the
// node, so that it can be counted. CALLBOARD_SEED repeats a run.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/unmarked.hpp"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <thread>

namespace {

using namespace callboard::testing;

class order_node {
public:
  order_node() {
    ::setenv("ORDER_SAGA_LOG", log_file().c_str(), 1);
    server_.emplace();
  }

  server_process& server() { return *server_; }

  [[nodiscard]] broker client() { return broker{server_->where()}; }

  http_response start(std::string_view id, std::string_view type, std::string_view input) {
    return client().post(
        "/workflows",
        R"({"type":")" + std::string{type} + R"(","id":")" + std::string{id}
            + R"(","correlation_id":"c-)" + std::string{id} + R"(","input":)" + std::string{input}
            + "}");
  }

  json::value result(std::string_view id, std::string_view wait_ms = "20000") {
    return client()
        .get("/workflows/" + std::string{id} + "/result?wait_ms=" + std::string{wait_ms})
        .json();
  }

  json::value show(std::string_view id) {
    return client().get("/workflows/" + std::string{id}).json();
  }

  std::vector<stored_event> channel(std::string_view id) {
    return client().history("workflow." + std::string{id});
  }

  /// How often each call was made: what the world saw.
  [[nodiscard]] std::map<std::string, int> effects() const {
    std::map<std::string, int> seen;
    std::ifstream file{log_file()};
    for (std::string line; std::getline(file, line);)
      ++seen[unmarked(line)];
    return seen;
  }

private:
  [[nodiscard]] std::string log_file() const { return (folder_.path() / "effects").string(); }

  temp_dir folder_;
  std::optional<server_process> server_;
};

std::vector<std::string> types_of(const std::vector<stored_event>& events) {
  std::vector<std::string> types;
  for (const auto& one : events)
    types.push_back(text_of(one.event, "type"));
  return types;
}

}  // namespace

TEST_CASE("an order runs to its end and its channel tells the story", "[e2e][workflow]") {
  order_node node;
  const auto started = node.start("o1", "order", R"({"item":"lamp","total":40})");
  REQUIRE(started.status == 201);
  const auto ended = node.result("o1");
  CHECK(text_of(ended, "status") == "completed");
  CHECK(text_of(ended, "result") == "INV-o1");

  const auto channel = node.channel("o1");
  const auto types = types_of(channel);
  CHECK(types.front() == "workflow.started");
  CHECK(types.back() == "workflow.completed");
  CHECK(std::ranges::count(types, "task.completed") == 5);
  std::uint64_t seq = 0;
  for (const auto& one : channel) {
    CHECK(one.seq == ++seq);
    CHECK(text_of(one.event, "correlationid") == "c-o1");
  }
  const auto shipped = node.client().history("orders.shipped");
  REQUIRE(shipped.size() == 1);
  CHECK(text_of(shipped[0].event.at("data"), "invoice") == "INV-o1");
  // The child is a workflow like any other.
  std::string child;
  for (const auto& one : node.client().get("/workflows").json().at("workflows").as_array()) {
    if (unmarked(text_of(one, "id")) == "o1.1.3") child = text_of(one, "id");
  }
  CHECK(text_of(node.show(child), "status") == "completed");

  SECTION("the same start again is the same run; another input is refused") {
    const auto again = node.start("o1", "order", R"({"item":"lamp","total":40})");
    CHECK(again.status == 200);
    CHECK(text_of(again.json(), "status") == "completed");
    const auto other = node.start("o1", "order", R"({"item":"lamp","total":41})");
    CHECK(other.status == 409);
    CHECK(other.code() == "workflow_exists");
  }
  SECTION("it shows in lists by type and status") {
    const auto list = node.client().get("/workflows?type=order&status=completed").json();
    REQUIRE(list.at("workflows").as_array().size() == 1);
    CHECK(text_of(list.at("workflows").as_array()[0], "id") == "o1");
    CHECK(node.client().get("/workflows?status=failed").json().at("workflows").as_array().empty());
  }
  SECTION("nobody else may write to its channel") {
    CHECK(node.client().publish("workflow.o1", cloud_event("x")).code() == "forbidden");
  }
}

TEST_CASE("workflow requests that make no sense are refused", "[e2e][workflow]") {
  order_node node;
  CHECK(node.client().get("/workflows/nobody").code() == "workflow_not_found");
  CHECK(node.client().post("/workflows/nobody/signals/x", "1").code() == "workflow_not_found");
  CHECK(node.client().post("/workflows/nobody/cancel", "").code() == "workflow_not_found");
  CHECK(node.start("w1", "no_such_type", "1").code() == "bad_request");
  CHECK(node.start("bad id", "order", "1").code() == "invalid_name");
  CHECK(node.client().post("/workflows", R"({"id":"x"})").code() == "bad_request");
  CHECK(node.client().post("/workflows", "{").code() == "invalid_json");
}

TEST_CASE("a failed step undoes what was done, in reverse", "[e2e][workflow]") {
  order_node node;
  REQUIRE(node.start("o2", "order", R"({"total":40,"fail":"ship"})").status == 201);
  const auto ended = node.result("o2");
  CHECK(text_of(ended, "status") == "failed");
  CHECK(text_of(ended.at("error"), "code") == "refused");
  std::vector<std::string> steps;
  const auto shown = node.show("o2");
  for (const auto& one : shown.at("steps").as_array())
    steps.push_back(text_of(one, "name"));
  CHECK(
      steps
      == std::vector<std::string>{"reserve", "charge", "invoice", "ship", "refund", "release"});
  CHECK(node.client().get("/topics/orders.shipped").status == 404);
}

TEST_CASE("a run waits for its signal across kill -9", "[e2e][workflow]") {
  order_node node;
  REQUIRE(node.start("o3", "order", R"({"total":500})").status == 201);
  REQUIRE(eventually([&] { return text_of(node.show("o3"), "state") == "waiting for approval"; }));
  const auto bytes = number_of(node.show("o3"), "history_bytes");
  CHECK(bytes > 0);
  node.server().kill();
  node.server().start();
  CHECK(text_of(node.show("o3"), "status") == "running");
  CHECK(number_of(node.show("o3"), "history_bytes") == bytes);
  CHECK(text_of(node.show("o3"), "state") == "waiting for approval");
  const auto path = node.client().path("/workflows/o3/signals/approve");
  const auto sent = node.client().http().post(path, "true", {{"Idempotency-Key", "k1"}});
  REQUIRE(sent.status == 200);
  const auto again = node.client().http().post(path, "true", {{"Idempotency-Key", "k1"}});
  CHECK(flag_of(again.json(), "duplicate"));
  CHECK(text_of(node.result("o3"), "status") == "completed");
  CHECK(node.effects()["reserve o3.1.1"] == 1);
  const auto late = node.client().post("/workflows/o3/signals/approve", "true");
  CHECK(late.status == 409);
}

TEST_CASE("cancelling undoes and is sticky", "[e2e][workflow]") {
  order_node node;
  REQUIRE(node.start("o4", "order", R"({"total":500})").status == 201);
  REQUIRE(eventually([&] { return text_of(node.show("o4"), "state") == "waiting for approval"; }));
  const auto first = node.client().post("/workflows/o4/cancel", R"({"reason":"changed my mind"})");
  CHECK(first.status == 200);
  CHECK(text_of(node.result("o4"), "status") == "cancelled");
  CHECK(node.effects()["release o4.1.4"] == 1);
  CHECK(text_of(node.client().post("/workflows/o4/cancel", "").json(), "outcome") == "cancelled");
  REQUIRE(node.start("o5", "order", R"({"total":5})").status == 201);
  CHECK(text_of(node.result("o5"), "status") == "completed");
  const auto late = node.client().post("/workflows/o5/cancel", "");
  CHECK(text_of(late.json(), "outcome") == "already_completed");
}

TEST_CASE("a timer goes on across kill -9 and is never early", "[e2e][workflow]") {
  order_node node;
  // By the test's own clock, which shard time may be ahead of by a thousandth. How late it is, is for
  // people to read, as it depends on the machine.
  const auto check_sleep = [&](const std::string& id, std::chrono::milliseconds length, bool dies) {
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(node.start(id, "reminder", std::to_string(length.count())).status == 201);
    if (dies) {
      node.server().kill();
      node.server().start();
    }
    const auto ended = node.result(id);
    const auto slept = std::chrono::steady_clock::now() - began;
    CHECK(text_of(ended, "status") == "completed");
    CHECK(std::stoll(text_of(ended, "result")) >= length.count());
    CHECK(slept >= length - length / 1000);
    std::cout << id << ": late by "
              << std::chrono::duration_cast<std::chrono::milliseconds>(slept - length).count()
              << " ms" << std::endl;
  };
  check_sleep("r1", std::chrono::seconds{3}, true);
  // Long enough asleep to have left memory, and woken by the shard.
  check_sleep("r2", std::chrono::seconds{6}, false);
}

TEST_CASE("orders survive kill -9 at any point, each step recorded once", "[e2e][workflow]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::cout << "seed: " << seed << std::endl;
  std::mt19937_64 draw{seed};
  order_node node;
  constexpr int orders = 150;
  constexpr int kills = 6;
  std::set<std::string> acked;
  int next = 0;
  for (int round = 0; round < kills; ++round) {
    std::thread killer{[&, wait = draw() % 60] {
      (void)eventually([] { return false; }, milliseconds{wait});
      node.server().kill();
    }};
    try {
      for (int i = 0; i < orders / kills; ++i) {
        const auto id = "k" + std::to_string(next++);
        if (node.start(id, "order", R"({"total":10})").status == 201) acked.insert(id);
      }
    } catch (const std::runtime_error&) {
      // Killed: what was not acked may or may not be there.
    }
    killer.join();
    node.server().start();
  }
  REQUIRE_FALSE(acked.empty());
  for (const auto& id : acked) {
    INFO(id);
    REQUIRE(text_of(node.result(id), "status") == "completed");
    std::map<std::uint64_t, int> completions;
    for (const auto& one : node.channel(id)) {
      const auto type = text_of(one.event, "type");
      if (type == "task.completed") ++completions[number_of(one.event, "command")];
    }
    CHECK(completions.size() == 5);
    for (const auto& [command, count] : completions)
      CHECK(count == 1);
  }
  // A call may be made again only if the node died before its result was recorded.
  const auto effects = node.effects();
  int repeated = 0;
  for (const auto& [what, count] : effects) {
    CHECK(count <= 1 + kills);
    repeated += count - 1;
  }
  std::cout << acked.size() << " orders, " << repeated << " calls repeated by " << kills << " kills"
            << std::endl;
  std::map<std::string, int> shipped;
  for (const auto& one : node.client().history("orders.shipped"))
    ++shipped[text_of(one.event.at("data"), "order")];
  for (const auto& id : acked)
    CHECK(shipped[id] == 1);
}

TEST_CASE(
    "SIGTERM does not wait for those who wait for an end, and tells them", "[e2e][workflow]") {
  order_node node;
  REQUIRE(node.start("o9", "order", R"({"total":500})").status == 201);
  auto reading = std::async(
      std::launch::async, [&] { return node.client().get("/workflows/o9/result?wait_ms=60000"); });
  auto starting = std::async(std::launch::async, [&] {
    return node.client().post(
        "/workflows?wait_ms=60000", R"({"type":"order","id":"o10","input":{"total":500}})");
  });
  REQUIRE(eventually([&] {
    const auto shown = node.client().http().get("/metrics").body;
    return shown.find("callboard_control_requests_in_flight 2") != std::string::npos;
  }));
  CHECK(node.server().stop() == 0);
  for (auto* one : {&reading, &starting}) {
    const auto answer = one->get();
    CHECK(answer.status == 503);
    CHECK(answer.code() == "draining");
  }
  node.server().start();
  CHECK(text_of(node.show("o9"), "status") == "running");
  CHECK(text_of(node.show("o10"), "status") == "running");
}
