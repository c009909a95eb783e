// kill -9 in a loop, at random points, under concurrent publishers and subscribers.
//
// Goal: an event acked `synced` is there after every kill, at the seq it was acked with, once;
// topic definitions too; subscribers resume by cursor without a gap or a repeat. Method: publishers
// write what they were told into a log outside the node; what got no answer is sent again under the
// same id after the restart. CALLBOARD_SEED repeats a run; CALLBOARD_LONG=1 makes it 500 rounds.
#include "tests/e2e/ack_log.hpp"
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <atomic>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <random>
#include <set>
#include <thread>

namespace {

using namespace callboard::testing;

const std::vector<std::string> topics{"crash.a", "crash.b", "crash.c"};

std::uint64_t seed_of_run() {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::cout << "seed: " << seed << std::endl;
  return seed;
}

int rounds_of_run(int usual) {
  return std::getenv("CALLBOARD_LONG") != nullptr ? 500 : usual;
}

/// An event on its way: sent again under the same id until it is acked.
struct pending_event {
  std::string topic;
  std::string id;
};

/// Publishes over HTTP, one event or a small batch at a time, until the node is killed.
class http_publisher {
public:
  http_publisher(std::string name, ack_log& log) : name_{std::move(name)}, log_{log} {}

  void run(endpoint where) {
    broker to{where};
    try {
      for (;;) {
        if (open_.empty()) draw();
        publish(to);
      }
    } catch (const std::runtime_error&) {
      // Killed: `open_` is sent again in the next round.
    }
  }

private:
  void draw() {
    const auto& topic = topics[next_ % topics.size()];
    const auto size = next_ % 4 == 0 ? 5U : 1U;
    for (unsigned i = 0; i < size; ++i)
      open_.push_back({topic, name_ + std::to_string(next_++)});
  }

  void publish(broker& to) {
    std::vector<std::string> events;
    for (const auto& event : open_)
      events.push_back(cloud_event(event.id));
    const auto answer = to.publish_batch(open_.front().topic, events);
    if (answer.status == 503 || answer.status == 429) return;
    if (answer.status != 200) {
      log_.broken("publish answered " + std::to_string(answer.status) + ' ' + answer.body);
      open_.clear();
      return;
    }
    const auto body = answer.json();
    const auto& results = body.at("results").as_array();
    for (std::size_t i = 0; i < open_.size(); ++i) {
      log_.acked(open_[i].topic, open_[i].id, number_of(results.at(i), "seq"));
    }
    open_.clear();
  }

  std::string name_;
  ack_log& log_;
  std::vector<pending_event> open_;
  std::uint64_t next_ = 1;
};

/// Publishes over WebSocket with many events in flight, so that a kill finds half-done groups.
class ws_publisher {
public:
  ws_publisher(std::string name, ack_log& log) : name_{std::move(name)}, log_{log} {}

  void run(endpoint where) {
    try {
      websocket_client client{where};
      auto again = std::move(open_);
      open_.clear();
      for (const auto& [id, event] : again)
        send(client, event);
      for (;;) {
        while (open_.size() < 64)
          send(client, draw());
        take(client.next());
      }
    } catch (const std::runtime_error&) {
    }
  }

private:
  pending_event draw() {
    const auto number = next_++;
    return {topics[number % topics.size()], name_ + std::to_string(number)};
  }

  void send(websocket_client& client, const pending_event& event) {
    const auto id = ++frame_;
    open_[id] = event;
    client.send_json(
        {{"op", "publish"},
         {"id", id},
         {"topic", event.topic},
         {"event", json::parse(cloud_event(event.id))}});
  }

  void take(const json::object& frame) {
    const auto entry = open_.find(number_of(frame, "id"));
    if (entry == open_.end()) return;
    if (text_of(frame, "op") == "ok") {
      log_.acked(entry->second.topic, entry->second.id, number_of(frame, "seq"));
    } else if (text_of(frame, "code") != "overloaded") {
      log_.broken("publish answered " + json::serialize(frame));
    }
    open_.erase(entry);
  }

  std::string name_;
  ack_log& log_;
  std::map<std::uint64_t, pending_event> open_;
  std::uint64_t next_ = 1;
  std::uint64_t frame_ = 0;
};

/// Follows one topic over all kills and reports a gap or a repeat as a broken promise.
class follower {
public:
  follower(std::string topic, ack_log& log) : topic_{std::move(topic)}, log_{log} {}

  /// Over WebSocket or, every other time, as an event stream.
  void run(endpoint where) {
    try {
      if (runs_++ % 2 == 0) {
        follow_websocket(where);
      } else {
        follow_stream(where);
      }
    } catch (const std::runtime_error&) {
    }
  }

  [[nodiscard]] std::uint64_t last() const { return last_; }

private:
  void follow_websocket(endpoint where) {
    websocket_client client{where};
    const auto answer = client.ask(
        {{"op", "subscribe"}, {"topic", topic_}, {"from", cursor_.empty() ? "first" : cursor_}});
    if (!cursor_.empty() && !flag_of(answer, "recovered")) {
      log_.broken(topic_ + ": not recovered from " + cursor_ + ": " + json::serialize(answer));
    }
    for (;;) {
      const auto frame = client.next_op("event");
      take(number_of(frame, "seq"), text_of(frame, "cursor"));
    }
  }

  void follow_stream(endpoint where) {
    broker paths{where};
    header_list headers;
    if (!cursor_.empty()) headers.emplace_back("last-event-id", cursor_);
    event_stream stream{
        where,
        paths.topic_path(topic_, cursor_.empty() ? "/events?from=first" : "/events"),
        headers};
    while (const auto event = stream.next()) {
      take(std::stoull(event->id.substr(event->id.rfind(':') + 1)), event->id);
    }
  }

  void take(std::uint64_t seq, const std::string& cursor) {
    if (seq != last_ + 1) {
      log_.broken(
          topic_ + ": delivered " + std::to_string(seq) + " after " + std::to_string(last_));
    }
    last_ = seq;
    cursor_ = cursor;
  }

  std::string topic_;
  ack_log& log_;
  std::string cursor_;
  std::atomic<std::uint64_t> last_{0};
  int runs_ = 0;
};

void show(const std::vector<std::string>& violations) {
  for (std::size_t i = 0; i < violations.size() && i < 20; ++i) {
    std::cout << "violation: " << violations[i] << '\n';
  }
}

}  // namespace

TEST_CASE("no acked event is lost or doubled by kill -9, and subscribers resume without a gap") {
  std::mt19937_64 random{seed_of_run()};
  ack_log log;
  server_process node;
  for (const auto& topic : topics) {
    REQUIRE(broker{node.where()}.put("/topics/" + topic, "{}").status < 300);
  }
  std::deque<http_publisher> plain;
  std::deque<ws_publisher> pipelined;
  std::deque<follower> followers;
  for (const auto* name : {"h1-", "h2-"})
    plain.emplace_back(name, log);
  for (const auto* name : {"w1-", "w2-"})
    pipelined.emplace_back(name, log);
  for (const auto& topic : topics)
    followers.emplace_back(topic, log);

  const int rounds = rounds_of_run(40);
  for (int round = 1; round <= rounds; ++round) {
    {
      std::vector<std::jthread> threads;
      const auto where = node.where();
      for (auto& each : plain)
        threads.emplace_back([&, where] { each.run(where); });
      for (auto& each : pipelined)
        threads.emplace_back([&, where] { each.run(where); });
      for (auto& each : followers)
        threads.emplace_back([&, where] { each.run(where); });
      // The point of death is a number of acks, so it falls anywhere in a group commit.
      const auto until = log.count() + 1 + random() % 3000;
      CHECK(eventually([&] { return log.count() >= until; }, std::chrono::seconds{60}));
      node.kill();
    }
    node.start();
    // Reading everything back takes longer and longer, so a long run does it now and then.
    if (rounds > 100 && round % 20 != 0 && round != rounds) continue;
    broker now{node.where()};
    const auto violations = log.check(now);
    show(violations);
    INFO("round " << round << ", " << log.count() << " acks");
    REQUIRE(violations.empty());
  }
  // What was delivered before the last kill was committed, so it must still be there.
  broker now{node.where()};
  for (std::size_t i = 0; i < topics.size(); ++i) {
    CHECK(now.history(topics[i]).size() >= followers[i].last());
    CHECK(followers[i].last() > 0);
  }
  std::cout << "killed " << rounds << " times, " << log.count() << " acked, 0 lost, 0 doubled\n";
}

TEST_CASE("topic definitions and deletions survive kill -9 at once") {
  std::mt19937_64 random{seed_of_run()};
  server_process node;
  std::map<std::string, std::uint64_t> expected;
  const int rounds = rounds_of_run(20);
  for (int round = 0; round < rounds; ++round) {
    broker to{node.where()};
    for (int i = 0; i < 20; ++i) {
      const auto name = "defs." + std::to_string(random() % 60);
      if (expected.contains(name) && random() % 3 == 0) {
        REQUIRE(to.del("/topics/" + name).status < 300);
        expected.erase(name);
        continue;
      }
      const auto kept = 1 + random() % 1000;
      const auto body = R"({"retention":{"max_events":)" + std::to_string(kept) + "}}";
      REQUIRE(to.put("/topics/" + name, body).status < 300);
      expected[name] = kept;
    }
    node.kill();
    node.start();
    broker now{node.where()};
    for (const auto& [name, kept] : expected) {
      const auto shown = now.get("/topics/" + name);
      INFO("round " << round << ": " << name);
      REQUIRE(shown.status == 200);
      REQUIRE(number_of(shown.json().at("retention"), "max_events") == kept);
    }
    std::set<std::string> listed;
    std::string after;
    do {
      const auto page = now.get("/topics?limit=50&after=" + after).json();
      for (const auto& topic : page.at("topics").as_array())
        listed.insert(text_of(topic, "topic"));
      after = text_of(page, "next_after");
    } while (!after.empty());
    REQUIRE(listed.size() == expected.size());
  }
}

TEST_CASE("an event acked as duplicate after a restart keeps its first seq") {
  server_process node;
  for (int i = 1; i <= 50; ++i) {
    REQUIRE(
        broker{node.where()}.publish("dedupe.kill", cloud_event(std::to_string(i))).status == 200);
  }
  node.kill();
  node.start();
  broker now{node.where()};
  for (int i = 1; i <= 50; ++i) {
    const auto answer = now.publish("dedupe.kill", cloud_event(std::to_string(i)));
    REQUIRE(answer.status == 200);
    CHECK(flag_of(answer.json(), "duplicate"));
    CHECK(number_of(answer.json(), "seq") == static_cast<std::uint64_t>(i));
  }
  CHECK(number_of(now.publish("dedupe.kill", cloud_event("51")).json(), "seq") == 51);
}
