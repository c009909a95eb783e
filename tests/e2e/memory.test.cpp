// Topics at rest and subscriptions that come and go leave nothing behind in memory, and runs at
// work hold no more than they may together.
//
// Bounds are by ratio and generous: what is looked for is growth with every topic or subscription.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <set>

namespace {

using namespace callboard::testing;

constexpr int topics_of_run = 20'000;
constexpr int subscriptions_of_run = 5'000;

std::uint64_t metric(const endpoint& where, const std::string& name) {
  const auto text = '\n' + http_client{where}.get("/metrics").body;
  const auto at = text.find('\n' + name + ' ');
  if (at == std::string::npos) throw std::runtime_error{"no metric " + name};
  return static_cast<std::uint64_t>(std::stod(text.substr(at + name.size() + 2)));
}

/// Publishes one event to each of `count` new topics.
void fill_topics(const endpoint& where, const std::string& prefix, int count) {
  websocket_client client{where};
  int sent = 0;
  for (int answered = 0; answered < count;) {
    for (; sent < count && sent - answered < 200; ++sent) {
      const auto topic = prefix + std::to_string(sent);
      client.send_text(
          R"({"op":"publish","topic":")" + topic + R"(","id":)" + std::to_string(sent + 1)
          + R"(,"event":)" + cloud_event("1") + '}');
    }
    const auto answer = client.next();
    INFO(json::serialize(answer));
    REQUIRE(text_of(answer, "op") == "ok");
    ++answered;
  }
}

/// What is resident once no topic is active.
std::uint64_t resident_at_rest(const server_process& node) {
  REQUIRE(eventually(
      [&] { return metric(node.where(), "callboard_topics_active") == 0; },
      std::chrono::seconds{60}));
  return node.resident_bytes();
}

}  // namespace

TEST_CASE("20,000 topics at rest cost no actor and little memory") {
  const server_process node{{.arguments = {"--set", "topics.passivate_after_ms=300"}}};
  // Two rounds fill caches, pools and the store's memtables; another one shows what stays.
  fill_topics(node.where(), "rest.first.", topics_of_run);
  fill_topics(node.where(), "rest.second.", topics_of_run);
  const auto before = resident_at_rest(node);
  fill_topics(node.where(), "rest.third.", topics_of_run);
  const auto busy = node.resident_bytes();
  const auto after = resident_at_rest(node);
  std::cout << "resident at rest " << (before >> 20) << " MiB with 40,000 topics, " << (after >> 20)
            << " MiB with 60,000, " << (busy >> 20) << " MiB in between\n";
  CHECK(after < before + before / 2);
  CHECK(broker{node.where()}.history("rest.first.7").size() == 1);
}

TEST_CASE("5,000 wildcard subscriptions that come and go leave memory flat") {
  const server_process node;
  fill_topics(node.where(), "wild.", 20);
  websocket_client client{node.where()};
  const auto come_and_go = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const auto made = client.ask({{"op", "subscribe"}, {"topic", "wild.*"}, {"from", "now"}});
      REQUIRE(text_of(made, "op") == "ok");
      const auto ended = client.ask({{"op", "unsubscribe"}, {"sub", number_of(made, "sub")}});
      REQUIRE(text_of(ended, "op") == "ok");
    }
  };
  come_and_go(500);
  const auto before = node.resident_bytes();
  come_and_go(subscriptions_of_run);
  const auto after = node.resident_bytes();
  std::cout << "resident " << (before >> 10) << " KiB, then " << (after >> 10) << " KiB\n";
  CHECK(after < before + before / 5);
  CHECK(text_of(publish_over(client, "wild.0", "2"), "op") == "ok");
}

TEST_CASE("runs at work hold no more than they may, and all that began end") {
  constexpr int runs = 60;
  server_process node{{.arguments = {"--set", "workflows.resident_bytes_max=33554432"}}};
  const std::string text(3'900'000, 'x');
  std::set<int> to_begin;
  for (int n = 0; n < runs; ++n)
    to_begin.insert(n);
  std::uint64_t refused = 0;
  std::uint64_t highest = 0;
  std::uint64_t held = 0;
  const auto begin_some = [&](std::size_t left) {
    broker client{node.where()};
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{120};
    while (to_begin.size() > left && std::chrono::steady_clock::now() < until) {
      const auto n = std::to_string(*to_begin.begin());
      const auto answer = client.post(
          "/workflows",
          R"({"type":"bench.paced_steps","id":"w)" + n
              + R"(","input":{"steps":3,"step_ms":500,"text":")" + text + R"("}})");
      INFO(answer.body);
      highest = std::max(highest, node.resident_bytes());
      held = std::max(held, metric(node.where(), "callboard_workflow_history_bytes"));
      if (answer.status == 201) {
        to_begin.erase(to_begin.begin());
      } else {
        REQUIRE(answer.status == 429);
        REQUIRE(answer.code() == "overloaded");
        CHECK(answer.body.contains("workflows.resident_bytes_max"));
        ++refused;
      }
    }
    REQUIRE(to_begin.size() == left);
  };
  begin_some(runs / 2);
  node.kill();
  node.start();
  begin_some(0);
  broker client{node.where()};
  for (int n = 0; n < runs; ++n) {
    const auto ended = client.get("/workflows/w" + std::to_string(n) + "/result?wait_ms=20000");
    CHECK(text_of(ended.json(), "status") == "completed");
  }
  std::cout << refused << " starts refused, " << (held >> 20) << " MiB held, " << (highest >> 20)
            << " MiB resident at most\n";
  CHECK(refused > 0);
  // The last one that gets in may go beyond.
  CHECK(held < (33'554'432U + text.size() + 100'000));
  CHECK(highest < 600ULL << 20);
}
