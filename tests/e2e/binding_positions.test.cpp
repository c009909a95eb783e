// kill -9 at every position of the journal while one event goes through a binding of each kind, and
// through one whose target refuses it until it is redriven: before each write to the write-ahead
// log, and after each fsync of it. Whatever the position, each target has the event once.
#include "tests/e2e/broker.hpp"
#include "tests/e2e/kill_everywhere.hpp"
#include "tests/support/catch.hpp"

#include <string>

using namespace callboard::testing;

namespace {

constexpr std::string_view event =
    R"({"specversion":"1.0","id":"e1","source":"/test","type":"t","subject":"s","data":{"n":1}})";

constexpr std::pair<const char*, const char*> rules[] = {
    {"start", R"({"target":{"workflow":{"type":"echo"}}})"},
    {"note", R"({"target":{"signal":{"workflow":"all","name":"note"}}})"},
    {"count", R"({"target":{"agent":{"type":"counter","key":"{subject}","message":"add"}}})"},
    {"work", R"({"target":{"queue":{"queue":"jobs"}}})"},
    {"bad", R"({"target":{"workflow":{"type":"absent","id":"o-{id}"}}})"}};

/// One event on a fresh data directory, with a node that is killed at one position.
class killed_node : public killed_life {
public:
  explicit killed_node(const std::string& position) {
    begin(CALLBOARD_KILL_AT_JOURNAL, position);
    is_done_ = live([this] { return drive(); });
  }

  [[nodiscard]] bool is_done() const { return is_done_; }

private:
  using stage = bool (killed_node::*)(broker&);

  /// Does what is left to do, on a new node if the last one was killed; false if it is not done.
  bool drive() {
    constexpr stage stages[] = {
        &killed_node::prepare,
        &killed_node::publish,
        &killed_node::await,
        &killed_node::mend,
        &killed_node::redrive};
    if (!revive()) return false;
    try {
      auto node = client();
      for (; at_ < std::size(stages); ++at_) {
        if (!(this->*stages[at_])(node)) return false;
      }
      return true;
    } catch (const std::runtime_error& gone) {
      last_ = gone.what();
      return false;
    }
  }

  bool is_good(const http_response& answer) {
    last_ = answer.body;
    return answer.status < 300;
  }

  bool prepare(broker& node) {
    if (!is_good(node.put("/topics/intents", "{}"))) return false;
    if (!is_good(node.post("/workflows", R"({"type":"gather","id":"all"})"))) return false;
    // Its tasks are known by more than their dedupe keys.
    if (!is_good(node.put("/queues/jobs", R"({"dedupe_window_s":0})"))) return false;
    for (const auto& [name, rule] : rules) {
      if (!is_good(node.put("/topics/intents/bindings/" + std::string{name}, rule))) return false;
    }
    return true;
  }

  bool publish(broker& node) { return is_good(node.publish("intents", event)); }

  bool await(broker& node) {
    for (const auto& [name, rule] : rules) {
      const auto answer = node.get("/topics/intents/bindings/" + std::string{name});
      if (!is_good(answer) || number_of(answer.json(), "position") != 1) return false;
    }
    return true;
  }

  bool mend(broker& node) {
    return is_good(node.put(
        "/topics/intents/bindings/bad",
        R"({"target":{"workflow":{"type":"echo","id":"o-{id}"}}})"));
  }

  bool redrive(broker& node) {
    if (!is_good(node.post("/topics/intents/bindings/bad/dead/redrive", ""))) return false;
    const auto left = node.get("/topics/intents/bindings/bad/dead");
    return is_good(left) && left.json().at("events").as_array().empty();
  }

  std::size_t at_ = 0;
  bool is_done_ = false;
};

void check(killed_node& node) {
  REQUIRE(node.is_done());
  auto client = node.client();
  CHECK(client.get("/workflows?type=echo").json().at("workflows").as_array().size() == 2);
  CHECK(client.get("/workflows/o-e1").status == 200);
  CHECK(number_of(client.get("/queues/jobs").json(), "depth") == 1);
  // Its own message is behind that of the binding.
  CHECK(number_of(client.post("/agents/counter/s/add", "1").json(), "result") == 2);
  CHECK(client.post("/workflows/all/signals/note", R"({"last":true})").status < 300);
  const auto heard = client.get("/workflows/all/result?wait_ms=20000").json();
  CHECK(json::serialize(heard.at("result")) == "[1]");
  CHECK(client.history("intents").size() == 1);
  CHECK(client.history("intents.binding.bad.dead").size() == 1);
}

}  // namespace

TEST_CASE("an event is bound once, killed before every write to the journal", "[e2e][binding]") {
  kill_everywhere<killed_node>("write:", check);
}

TEST_CASE("an event is bound once, killed after every fsync of the journal", "[e2e][binding]") {
  kill_everywhere<killed_node>("sync:", check);
}
