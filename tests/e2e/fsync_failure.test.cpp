// Syncs of the log that fail under load, seen by publishers, subscribers and a group.
//
// Method: a library loaded into the node fails one sync each time a file appears. Publishers send
// again under the same id whatever was not acked; all consumers stay connected throughout.
#include "tests/e2e/ack_log.hpp"
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>
#include <thread>

namespace {

using namespace callboard::testing;
using std::chrono::seconds;

constexpr int failures = 5;

struct tally {
  std::atomic<int> unknown{0};
  std::atomic<int> refused{0};
};

/// Publishes ids `name`1, `name`2… one after another; each until it is acked.
void publish_until(
    const std::atomic<bool>& stop,
    endpoint where,
    const std::string& name,
    ack_log& log,
    tally& count) {
  broker to{where};
  for (int i = 1; !stop; ++i) {
    const auto id = name + std::to_string(i);
    const auto end = std::chrono::steady_clock::now() + seconds{30};
    for (;;) {
      const auto answer = to.publish("sync.topic", cloud_event(id));
      if (answer.status == 200) {
        log.acked("sync.topic", id, number_of(answer.json(), "seq"));
        break;
      }
      if (answer.code() == "outcome_unknown") {
        ++count.unknown;
      } else if (answer.status == 503 || answer.status == 429) {
        ++count.refused;
      } else {
        log.broken("publish answered " + std::to_string(answer.status) + ' ' + answer.body);
      }
      if (std::chrono::steady_clock::now() > end) return log.broken(id + " was never acked");
    }
  }
}

/// Reads until `last` is known and has come; every seq must follow the one before.
void follow(
    websocket_client& client,
    const std::string& who,
    const std::atomic<std::uint64_t>& last,
    ack_log& log) {
  std::uint64_t before = 0;
  auto quiet_since = std::chrono::steady_clock::now();
  while (last == 0 || before < last) {
    try {
      const auto frame = client.next(std::chrono::milliseconds{200});
      quiet_since = std::chrono::steady_clock::now();
      const auto op = text_of(frame, "op");
      if (op == "gap" || op == "error") log.broken(who + ": " + json::serialize(frame));
      if (op != "event") continue;
      const auto seq = number_of(frame, "seq");
      if (seq != before + 1) {
        log.broken(who + ": " + std::to_string(seq) + " after " + std::to_string(before));
      }
      before = seq;
    } catch (const timed_out&) {
      if (std::chrono::steady_clock::now() - quiet_since > seconds{20}) {
        return log.broken(who + ": nothing after " + std::to_string(before));
      }
    }
  }
}

/// A member of the group that acks all it gets; what is acked must not come again.
void work(endpoint where, const std::atomic<std::uint64_t>& last, ack_log& log) {
  broker to{where};
  const std::string group = "/topics/sync.topic/groups/workers";
  // An ack whose outcome is unknown may have come through: then its events do not come again.
  std::set<std::uint64_t> acked;
  std::set<std::uint64_t> seen;
  std::uint64_t floor = 0;
  const auto end = std::chrono::steady_clock::now() + seconds{60};
  while (last == 0 || floor < last) {
    if (std::chrono::steady_clock::now() > end) {
      return log.broken("the group got only to " + std::to_string(floor));
    }
    const auto fetched = to.post(group + "/fetch", R"({"member":"one","max":50,"wait_ms":100})");
    if (fetched.status == 404) return log.broken("the group is gone: " + fetched.body);
    if (fetched.status != 200) continue;
    const auto body = fetched.json();
    json::array tokens;
    std::vector<std::uint64_t> seqs;
    for (const auto& each : body.at("deliveries").as_array()) {
      tokens.emplace_back(text_of(each, "delivery"));
      seqs.push_back(number_of(each, "seq"));
      seen.insert(seqs.back());
      if (acked.contains(seqs.back())) {
        log.broken("delivered after its ack: " + std::to_string(seqs.back()));
      }
    }
    if (seqs.empty()) {
      floor = number_of(to.get(group).json(), "floor");
      continue;
    }
    const auto done =
        to.post(group + "/ack", json::serialize(json::object{{"deliveries", tokens}}));
    if (done.status == 200 && done.json().at("lost").as_array().empty()) {
      acked.insert(seqs.begin(), seqs.end());
    }
  }
  if (seen.size() != last) log.broken("the group was given " + std::to_string(seen.size()));
}

}  // namespace

TEST_CASE("syncs that fail under load: no false ack, nothing lost, doubled or out of order") {
  const temp_dir folder;
  const auto trigger = (folder.path() / "fail").string();
  ::setenv("LD_PRELOAD", CALLBOARD_FSYNC_FAULT_LIBRARY, 1);
  ::setenv("CALLBOARD_FSYNC_FAULT", trigger.c_str(), 1);
  server_process node{{.arguments = {"--set", "groups.hold_ms=1000"}}};
  ::unsetenv("LD_PRELOAD");
  broker to{node.where()};
  REQUIRE(to.put("/topics/sync.topic", "{}").status < 300);
  REQUIRE(to.put("/topics/sync.topic/groups/workers", R"({"from":"first"})").status < 300);
  websocket_client single{node.where()};
  websocket_client pattern{node.where()};
  for (auto& [client, topic] : {std::pair{&single, "sync.topic"}, std::pair{&pattern, "sync.*"}}) {
    const auto answer = client->ask({{"op", "subscribe"}, {"topic", topic}, {"from", "first"}});
    REQUIRE(text_of(answer, "op") == "ok");
  }
  ack_log log;
  tally count;
  std::atomic<std::uint64_t> last{0};
  int failed = 0;
  {
    const std::jthread one{[&] { follow(single, "subscription", last, log); }};
    const std::jthread all{[&] { follow(pattern, "pattern", last, log); }};
    const std::jthread member{[&] { work(node.where(), last, log); }};
    {
      std::atomic<bool> stop{false};
      std::vector<std::jthread> publishers;
      for (const auto* name : {"a", "b", "c", "d"}) {
        publishers.emplace_back(
            [&, name, where = node.where()] { publish_until(stop, where, name, log, count); });
      }
      for (; failed < failures; ++failed) {
        const auto until = log.count() + 200;
        if (!eventually([&] { return log.count() >= until; }, seconds{20})) break;
        std::ofstream{trigger} << "x";
        if (!eventually([&] { return !std::filesystem::exists(trigger); }, seconds{20})) break;
      }
      const auto until = log.count() + 200;
      static_cast<void>(eventually([&] { return log.count() >= until; }, seconds{20}));
      stop = true;
    }
    const auto events = to.history("sync.topic");
    last = events.empty() ? 1 : events.back().seq;
  }
  std::cout << failed << " syncs failed; " << log.count() << " acked, outcome unknown "
            << count.unknown << ", refused " << count.refused << ", last seq " << last << '\n';
  CHECK(failed == failures);
  CHECK(count.unknown > 0);
  const auto violations = log.check(to);
  for (std::size_t i = 0; i < violations.size() && i < 20; ++i)
    std::cout << "violation: " << violations[i] << '\n';
  CHECK(violations.empty());
  // Every id was acked once, and nothing else is there.
  CHECK(log.count() == last);
  const auto again = to.publish("sync.topic", cloud_event("a1"));
  CHECK(flag_of(again.json(), "duplicate"));
  const auto group = to.get("/topics/sync.topic/groups/workers");
  INFO(group.body);
  REQUIRE(group.status == 200);
  CHECK(number_of(group.json(), "floor") == last);
  node.kill();
  node.start();
  broker now{node.where()};
  CHECK(log.check(now).empty());
  CHECK(number_of(now.get("/topics/sync.topic/groups/workers").json(), "floor") == last);
}
