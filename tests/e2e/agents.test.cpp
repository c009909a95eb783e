// Agents in the real program (examples/counter_agent): called over HTTP by many at once and killed
// with kill -9 in the middle. CALLBOARD_SEED repeats a run.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <thread>
#include <vector>

using namespace callboard::testing;

namespace {

http_response
call(broker& client, std::string_view path, std::string_view payload, const std::string& id) {
  return client.http().post(
      client.path("/agents/counter/" + std::string{path}), payload, {{"Idempotency-Key", id}});
}

}  // namespace

TEST_CASE("an agent is called, looked at and refuses what makes no sense", "[e2e][agent]") {
  server_process server;
  broker client{server.where()};
  CHECK(client.get("/agents/counter/likes").code() == "agent_not_found");
  CHECK(client.post("/agents/nobody/likes/add", "1").code() == "agent_not_found");
  CHECK(client.post("/agents/no.dots/likes/add", "1").code() == "invalid_name");
  CHECK(client.post("/agents/counter/likes/add", "{").code() == "invalid_json");
  const auto first = call(client, "likes/add", "5", "m1");
  REQUIRE(first.status == 200);
  CHECK(number_of(first.json(), "result") == 5);
  CHECK(flag_of(call(client, "likes/add", "5", "m1").json(), "duplicate"));
  const auto below = client.post("/agents/counter/likes/add", "-9");
  CHECK(below.status == 422);
  CHECK(below.code() == "agent_failed");
  CHECK(text_of(below.json(), "detail") == "below_zero: there are 5");
  CHECK(client.post("/agents/counter/likes/dance", "1").code() == "agent_failed");
  const auto later = client.http().post(
      client.path("/agents/counter/likes/add"), "2", {{"Prefer", "respond-async"}});
  CHECK(later.status == 202);
  CHECK(
      number_of(client.post("/agents/counter/copy/add_from", R"("likes")").json(), "result") == 7);
  const auto shown = client.get("/agents/counter/likes").json();
  CHECK(text_of(shown, "type") == "counter");
  CHECK(text_of(shown, "key") == "likes");
  CHECK(number_of(shown, "state") == 7);
  const auto listed = client.get("/workflows?type=agent:counter").json().at("workflows").as_array();
  REQUIRE(listed.size() == 2);
  CHECK(text_of(listed.at(1), "key") == "likes");
  CHECK(number_of(listed.at(1), "history_size") == number_of(shown, "history_size"));
  const auto why = client.get("/workflows/agent.counter.likes/explain").json();
  CHECK(number_of(why.at("agent"), "messages_waiting") == 0);
  // Agents are not among the workflows, and cannot be steered like one.
  CHECK(client.get("/workflows").json().at("workflows").as_array().empty());
  CHECK(client.post("/workflows/agent.counter.likes/cancel", "").code() == "wrong_kind");
  CHECK(client.post("/workflows", R"({"type":"agent:counter"})").code() == "bad_request");
}

TEST_CASE("messages to agents count once across kill -9", "[e2e][agent]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::cout << "seed: " << seed << std::endl;
  std::mt19937_64 draw{seed};
  server_process server;
  constexpr int rounds = 6;
  constexpr int keys = 5;
  constexpr int callers = 4;
  std::map<std::string, std::uint64_t> expected;
  int next = 0;
  int repeated = 0;
  for (int round = 0; round < rounds; ++round) {
    struct message {
      std::string key;
      std::uint64_t by = 0;
      std::string id;
      bool is_answered = false;
    };

    std::vector<std::vector<message>> work(callers);
    for (auto& mine : work) {
      for (int i = 0; i < 60; ++i) {
        const auto number = next++;
        mine.push_back({"k" + std::to_string(draw() % keys), draw() % 9, std::to_string(number)});
        expected[mine.back().key] += mine.back().by;
      }
    }
    const auto where = server.where();
    std::vector<std::jthread> threads;
    for (auto& mine : work) {
      threads.emplace_back([&mine, where] {
        broker client{where};
        try {
          for (auto& one : mine) {
            const auto reply = call(client, one.key + "/add", std::to_string(one.by), one.id);
            one.is_answered = reply.status == 200;
          }
        } catch (const std::runtime_error&) {
          // Killed; what was not answered is sent again below.
        }
      });
    }
    (void)eventually([] { return false; }, milliseconds{draw() % 200});
    server.kill();
    threads.clear();
    server.start();
    broker client{server.where()};
    for (auto& mine : work) {
      for (auto& one : mine) {
        if (one.is_answered) continue;
        const auto reply = call(client, one.key + "/add", std::to_string(one.by), one.id);
        REQUIRE(reply.status == 200);
        repeated += flag_of(reply.json(), "duplicate") ? 1 : 0;
      }
    }
  }
  std::cout << next << " messages, " << repeated << " sent again and known" << std::endl;
  broker client{server.where()};
  for (const auto& [key, sum] : expected) {
    INFO(key);
    CHECK(number_of(client.get("/agents/counter/" + key).json(), "state") == sum);
  }
}

TEST_CASE("what an agent has left behind is given up", "[e2e][agent]") {
  server_process server{{.arguments = {"--set", "topics.retention_check_ms=100"}}};
  broker client{server.where()};
  for (int i = 0; i < 700; ++i)
    REQUIRE(client.post("/agents/counter/many/add", "1").status == 200);
  const auto first_seq = [&] {
    return number_of(client.get("/topics/workflow.agent.counter.many").json(), "first_seq");
  };
  CHECK(eventually([&] { return first_seq() > 500; }));
  server.kill();
  server.start();
  broker again{server.where()};
  CHECK(number_of(again.post("/agents/counter/many/add", "1").json(), "result") == 701);
}
