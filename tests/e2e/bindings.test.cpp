// Bindings in the real program: an event over HTTP becomes a workflow, a signal, a message, a task;
// once, also if the node is killed with kill -9 again and again. CALLBOARD_SEED repeats a run.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <set>
#include <thread>

using namespace callboard::testing;

namespace {

using namespace std::chrono_literals;

std::string numbered(int n, std::string_view type = "intent.order") {
  return fmt::format(
      R"({{"specversion":"1.0","id":"e{0}","source":"/test","type":"{1}","subject":"s{2}",)"
      R"("data":{{"n":{0},"key":"k{2}"}}}})",
      n,
      type,
      n % 7);
}

json::value bind(broker& client, const std::string& name, std::string_view body) {
  const auto answer = client.put("/topics/intents/bindings/" + name, body);
  INFO(answer.body);
  REQUIRE(answer.status < 300);
  return answer.json();
}

json::value shown(broker& client, const std::string& name) {
  const auto answer = client.get("/topics/intents/bindings/" + name);
  INFO(answer.body);
  REQUIRE(answer.status == 200);
  return answer.json();
}

/// Waits until the binding is at the end of its topic.
bool has_handled_all(broker& client, const std::string& name) {
  const auto last = number_of(client.get("/topics/intents").json(), "last_seq");
  return eventually([&] { return number_of(shown(client, name), "position") == last; }, 60s);
}

/// Ids of all workflows of a type.
std::set<std::string> workflows(broker& client, const std::string& type) {
  std::set<std::string> ids;
  std::string cursor;
  while (true) {
    const auto page = client.get("/workflows?limit=1000&type=" + type + "&cursor=" + cursor).json();
    const auto& list = page.at("workflows").as_array();
    for (const auto& one : list)
      ids.insert(text_of(one, "id"));
    if (list.size() < 1000) return ids;
    cursor = text_of(list.back(), "id");
  }
}

std::size_t dead_count(broker& client, const std::string& name) {
  const auto answer = client.get("/topics/intents/bindings/" + name + "/dead?limit=1000");
  INFO(answer.body);
  REQUIRE(answer.status == 200);
  return answer.json().at("events").as_array().size();
}

}  // namespace

TEST_CASE("an event starts a workflow, by the rule of its binding", "[e2e][binding]") {
  server_process server;
  broker client{server.where()};
  CHECK(
      client.put("/topics/intents/bindings/start", R"({"target":{"queue":{"queue":"q"}}})").code()
      == "topic_not_found");
  REQUIRE(client.put("/topics/intents", "{}").status == 201);
  CHECK(client.get("/topics/intents/bindings/start").code() == "binding_not_found");
  CHECK(client.put("/topics/intents/bindings/start", "{}").code() == "bad_request");
  CHECK(client.put("/topics/intents/bindings/a.b", "{}").code() == "invalid_name");
  const auto* rule = R"({"filter":{"type":"intent.*"},)"
                     R"("target":{"workflow":{"type":"echo","id":"order-{data.n}"}}})";
  const auto made = bind(client, "start", rule);
  CHECK(text_of(made, "binding") == "start");
  CHECK(text_of(made.at("filter"), "type") == "intent.*");
  CHECK(text_of(made.at("target").at("workflow"), "id") == "order-{data.n}");
  CHECK(number_of(made, "lag") == 0);
  CHECK(client.put("/topics/intents/bindings/start", rule).status == 200);

  REQUIRE(client.publish("intents", numbered(1)).status == 200);
  REQUIRE(client.publish("intents", numbered(2, "chat")).status == 200);
  REQUIRE(has_handled_all(client, "start"));
  CHECK(workflows(client, "echo") == std::set<std::string>{"order-1"});
  const auto run = client.get("/workflows/order-1/result?wait_ms=5000").json();
  CHECK(number_of(run.at("result"), "n") == 1);

  const auto metrics = client.http().get("/metrics").body;
  CHECK_THAT(metrics, Catch::Contains(R"(callboard_binding_handled_total{target="workflow"} 1)"));
  REQUIRE(client.put("/topics/flow", R"({"kind":"ephemeral"})").status == 201);
  CHECK(client.put("/topics/flow/bindings/start", rule).code() == "wrong_kind");

  const auto list = client.get("/topics/intents/bindings").json().at("bindings").as_array();
  REQUIRE(list.size() == 1);
  CHECK(text_of(list[0], "binding") == "start");
  CHECK(client.get("/topics/intents/groups").json().at("groups").as_array().empty());
  CHECK(client.get("/topics/intents/groups/~start").code() == "invalid_name");

  CHECK(client.del("/topics/intents/bindings/start").status == 204);
  REQUIRE(client.publish("intents", numbered(3)).status == 200);
  CHECK(client.get("/topics/intents/bindings/start").code() == "binding_not_found");
  CHECK(client.get("/workflows/order-3").code() == "workflow_not_found");
}

TEST_CASE("kill -9 while events are bound: each is handed on once", "[e2e][binding]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::cout << "seed: " << seed << std::endl;
  std::mt19937_64 draw{seed};
  server_process server;
  {
    broker client{server.where()};
    REQUIRE(client.put("/topics/intents", "{}").status == 201);
    REQUIRE(client.post("/workflows", R"({"type":"gather","id":"all"})").status == 201);
    bind(client, "start", R"({"target":{"workflow":{"type":"echo"}}})");
    bind(client, "note", R"({"target":{"signal":{"workflow":"all","name":"note"}}})");
    bind(
        client,
        "count",
        R"({"target":{"agent":{"type":"counter","key":"{data.key}","message":"add"}}})");
    bind(client, "work", R"({"target":{"queue":{"queue":"jobs","fairness_key":"{subject}"}}})");
  }
  constexpr int rounds = 8;
  constexpr int per_round = 300;
  int next = 1;
  for (int round = 0; round < rounds; ++round) {
    const auto where = server.where();
    const int end = next + per_round;
    int sent = next;
    std::jthread publisher{[&sent, where, end] {
      broker client{where};
      try {
        for (; sent < end; ++sent) {
          if (client.publish("intents", numbered(sent)).status != 200) return;
        }
      } catch (const std::runtime_error&) {
        // Killed; the event is published again below, under the same id.
      }
    }};
    (void)eventually([] { return false; }, milliseconds{100 + draw() % 400});
    server.kill();
    publisher.join();
    next = sent;
    server.start();
  }
  broker client{server.where()};
  std::cout << next - 1 << " events before the last kill" << std::endl;
  // The one that had no answer may be there already.
  for (const int end = std::max(next + 1, 300); next < end; ++next)
    REQUIRE(client.publish("intents", numbered(next)).status == 200);
  const auto count = static_cast<std::uint64_t>(next - 1);
  REQUIRE(number_of(client.get("/topics/intents").json(), "last_seq") == count);
  for (const auto* name : {"start", "note", "count", "work"}) {
    INFO(name);
    REQUIRE(has_handled_all(client, name));
    CHECK(dead_count(client, name) == 0);
  }
  std::cout << count << " events" << std::endl;

  CHECK(workflows(client, "echo").size() == count);
  std::uint64_t messages = 0;
  for (int key = 0; key < 7; ++key) {
    // Its message is behind all of the binding's, and counts itself.
    const auto told = client.post(fmt::format("/agents/counter/k{}/add", key), "1");
    REQUIRE(told.status == 200);
    messages += number_of(told.json(), "result") - 1;
  }
  CHECK(messages == count);
  CHECK(number_of(client.get("/queues/jobs").json(), "depth") == count);
  REQUIRE(client.post("/workflows/all/signals/note", R"({"last":true})").status < 300);
  const auto heard = client.get("/workflows/all/result?wait_ms=20000").json();
  INFO(json::serialize(heard));
  std::string in_order;
  for (std::uint64_t n = 1; n <= count; ++n)
    in_order += std::to_string(n) + ' ';
  std::string as_heard;
  for (const auto& n : heard.at("result").as_array())
    as_heard += json::serialize(n) + ' ';
  CHECK(as_heard == in_order);
}

TEST_CASE("dead letters are told, redriven and deleted, also across kill -9", "[e2e][binding]") {
  server_process server;
  {
    broker client{server.where()};
    REQUIRE(client.put("/topics/intents", "{}").status == 201);
    bind(client, "start", R"({"target":{"workflow":{"type":"absent","id":"o-{data.n}"}}})");
    for (int n = 1; n <= 20; ++n)
      REQUIRE(client.publish("intents", numbered(n)).status == 200);
    REQUIRE(has_handled_all(client, "start"));
    const auto binding = shown(client, "start");
    CHECK(number_of(binding, "dead_lettered") == 20);
    CHECK(text_of(binding, "dead_letter_topic") == "intents.binding.start.dead");
    CHECK(text_of(binding, "last_error") == "bad_request: this node has no workflow type 'absent'");
    const auto page = client.get("/topics/intents/bindings/start/dead?limit=5").json();
    const auto& events = page.at("events").as_array();
    REQUIRE(events.size() == 5);
    CHECK(text_of(events[0].at("event"), "deadletterid") == "e1");
    CHECK(text_of(events[0].at("event"), "deadletterbinding") == "start");
    CHECK(text_of(events[0].at("event"), "deadletterhistory").find("absent") != std::string::npos);
    CHECK(number_of(page, "next_from") == 6);
  }
  server.kill();
  server.start();
  {
    broker client{server.where()};
    CHECK(dead_count(client, "start") == 20);
    bind(client, "start", R"({"target":{"workflow":{"type":"echo","id":"o-{data.n}"}}})");
    const auto redriving = client.post("/topics/intents/bindings/start/dead/redrive", "");
    REQUIRE(redriving.status == 200);
    CHECK(number_of(redriving.json(), "redriving") == 20);
  }
  server.kill();
  server.start();
  broker client{server.where()};
  CHECK(eventually([&] { return dead_count(client, "start") == 0; }, 30s));
  CHECK(workflows(client, "echo").size() == 20);
  REQUIRE(client.publish("intents", numbered(1, "other")).status == 409);
  REQUIRE(client.publish("intents", numbered(21)).status == 200);
  REQUIRE(has_handled_all(client, "start"));
  CHECK(workflows(client, "echo").size() == 21);

  CHECK(client.del("/topics/intents/bindings/start").status == 204);
  CHECK(client.get("/topics/intents.binding.start.dead").code() == "topic_not_found");
}

TEST_CASE("bindings by the command line", "[e2e][binding]") {
  server_process server;
  broker client{server.where()};
  REQUIRE(client.put("/topics/intents", "{}").status == 201);
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "binding");
    words.insert(words.end(), {"--server", server.url()});
    auto done = run_callboard(words);
    INFO(done.err);
    CHECK(done.status == 0);
    return done.out;
  };
  (void)run(
      {"put",
       "intents",
       "start",
       "--type",
       "intent.*",
       "--workflow",
       "absent",
       "--id",
       "o-{data.n}"});
  REQUIRE(client.publish("intents", numbered(1)).status == 200);
  REQUIRE(has_handled_all(client, "start"));
  CHECK_THAT(run({"list", "intents"}), Catch::Contains("start") && Catch::Contains("intent.*"));
  CHECK_THAT(run({"show", "intents", "start"}), Catch::Contains("target.workflow.type"));
  CHECK_THAT(run({"dead", "intents", "start"}), Catch::Contains("e1"));
  (void)run(
      {"put",
       "intents",
       "start",
       "--type",
       "intent.*",
       "--workflow",
       "echo",
       "--id",
       "o-{data.n}"});
  CHECK_THAT(run({"redrive", "intents", "start"}), Catch::Contains("1"));
  CHECK(eventually([&] { return workflows(client, "echo").contains("o-1"); }));
  CHECK(run({"delete", "intents", "start"}) == "deleted start\n");
}
