// How many runs are in memory, and how much they hold: what begins is refused above that, what is
// on disk waits for its turn, and all come to their ends.
#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <cstdint>
#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// At work for so many seconds: it never rests for long enough to leave memory.
struct busy_workflow : workflow<busy_workflow> {
  static constexpr std::string_view type = "test.busy";

  flow<json> run(context& ctx, json input) {
    for (auto left = input.at("seconds").as_int64(); left > 0; --left)
      co_await ctx.sleep(1s).required();
    co_return 1;
  }
};

struct patient_workflow : workflow<patient_workflow> {
  static constexpr std::string_view type = "test.patient";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

struct parent_workflow : workflow<parent_workflow> {
  static constexpr std::string_view type = "test.parent";

  flow<json> run(context& ctx, std::int64_t depth) {
    const std::string child = depth == 0 ? "test.busy" : "test.parent";
    json input = depth - 1;
    if (depth == 0) input = boost::json::object{{"seconds", 1}};
    co_return co_await ctx.child(child, input).required();
  }
};

struct echo_agent : agent<echo_agent, std::int64_t> {
  static constexpr std::string_view type = "echo";

  static void handlers(handler_table<echo_agent>& on) { on.message("add", &echo_agent::add); }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }
};

struct full_node {
  explicit full_node(const config& with) : broker{with, &code} {
    REQUIRE(code.add(busy_workflow::definition()));
    REQUIRE(code.add(patient_workflow::definition()));
    REQUIRE(code.add(parent_workflow::definition()));
    REQUIRE(code.add(echo_agent::definition()));
  }

  static topic_ref channel(const std::string& id) {
    return virtual_broker::topic("workflow." + id);
  }

  result<control_answer>
  begin(const std::string& id, const std::string& type, const std::string& input) {
    return broker.ask_now(start_workflow{channel(id), type, input, {}, {}});
  }

  result<control_answer> begin_busy(int n, int seconds, std::size_t bytes = 10) {
    return begin(
        fmt::format("w{}", n),
        "test.busy",
        fmt::format(R"({{"seconds":{},"text":"{}"}})", seconds, std::string(bytes, 'x')));
  }

  result<control_answer> call(const std::string& key, const std::string& message) {
    call_agent call;
    call.topic = channel("agent.echo." + key);
    call.type = "agent:echo";
    call.message = "add";
    call.payload = "1";
    call.id = message;
    return broker.ask_now(std::move(call));
  }

  bool has_ended(const std::string& id) {
    const auto asked = broker.ask(get_workflow{channel(id)});
    for (int i = 0; i < 100 && !broker.got.answered.contains(asked); ++i)
      broker.advance(50ms);
    const auto& answer = broker.got.answered.at(asked);
    return answer
           && std::get<workflow_answer>(*answer).body.find(R"("status":"completed")")
                  != std::string::npos;
  }

  /// The most that were in memory at a time.
  std::int64_t pass(std::chrono::milliseconds by) {
    auto most = broker.topics_active();
    for (std::chrono::milliseconds done{0}; done < by; done += 50ms) {
      broker.advance(50ms);
      most = std::max(most, broker.topics_active());
    }
    return most;
  }

  runtime::workflow_registry code;
  virtual_broker broker;
};

constexpr int many = 12;

}  // namespace

TEST_CASE("runs begin while there is room for them in memory", "[actors][workflow]") {
  config with;
  const bool is_by_count = GENERATE(false, true);
  if (is_by_count) {
    with.workflows.resident_max = 3;
  } else {
    with.workflows.resident_bytes_max = 100'000;
  }
  full_node node{with};
  for (int n = 0; n < 3; ++n)
    REQUIRE(node.begin_busy(n, 3, 40'000));
  const auto refused = node.begin_busy(3, 3, 40'000);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::overloaded);
  CHECK(refused.error().retry_after_ms > 0);
  CHECK_THAT(
      refused.error().detail,
      Catch::Contains(
          is_by_count ? "workflows.resident_max is 3" : "workflows.resident_bytes_max is 100000"));
  CHECK(node.broker.topics_active() == 3);
  // Nothing of it is there; those that are there hear all, and are known to who starts them again.
  CHECK(
      node.broker.ask_now(get_workflow{node.channel("w3")}).error().code
      == errc::workflow_not_found);
  CHECK(node.begin_busy(2, 3, 40'000));
  CHECK(node.broker.ask_now(signal_workflow{node.channel("w0"), "go", "1", "s"}));
  CHECK(node.broker.ask_now(terminate_workflow{node.channel("w0"), "enough"}));
  node.pass(2s);
  CHECK(node.begin_busy(3, 3, 40'000));
  // Whoever asks again gets in, and all come to their ends.
  for (int n = 4; n < many; ++n) {
    bool has_begun = false;
    for (int tries = 0; tries < 20 && !has_begun; ++tries) {
      has_begun = node.begin_busy(n, 3, 40'000).has_value();
      CHECK(node.pass(500ms) <= 3);
    }
    CHECK(has_begun);
  }
  node.pass(5s);
  for (int n = 1; n < many; ++n)
    CHECK(node.has_ended(fmt::format("w{}", n)));
}

TEST_CASE("a run larger than all there may be gets in alone", "[actors][workflow]") {
  config with;
  with.workflows.resident_bytes_max = 10'000;
  full_node node{with};
  REQUIRE(node.begin_busy(1, 3, 40'000));
  CHECK_FALSE(node.begin_busy(2, 1));
  node.broker.crash();
  node.pass(6s);
  CHECK(node.has_ended("w1"));
  node.pass(2s);
  CHECK(node.begin_busy(2, 1));
}

TEST_CASE("runs that wait leave memory for those that begin", "[actors][workflow]") {
  config with;
  with.workflows.resident_max = 5;
  full_node node{with};
  for (int n = 0; n < many; ++n) {
    bool has_begun = false;
    for (int tries = 0; tries < 10 && !has_begun; ++tries) {
      has_begun = node.begin(fmt::format("p{}", n), "test.patient", "null").has_value();
      if (!has_begun) CHECK(node.pass(500ms) <= 5);
    }
    CHECK(has_begun);
  }
  node.pass(3s);
  CHECK(node.broker.topics_active() == 0);
  // What wakes them is not refused.
  for (int n = 0; n < many; ++n)
    CHECK(
        node.broker.ask_now(signal_workflow{node.channel(fmt::format("p{}", n)), "go", "1", "s"}));
  node.pass(2s);
  for (int n = 0; n < many; ++n)
    CHECK(node.has_ended(fmt::format("p{}", n)));
}

TEST_CASE("runs at work wait for their turn after a restart", "[actors][workflow]") {
  config with;
  full_node node{with};
  for (int n = 0; n < many; ++n)
    REQUIRE(node.begin_busy(n, 3, 40'000));
  if (GENERATE(false, true)) {
    node.broker.settings.workflows.resident_bytes_max = 150'000;
  } else {
    node.broker.settings.workflows.resident_max = 4;
  }
  node.broker.crash();
  CHECK(node.pass(1s) == 4);
  // They come before others; but nobody who asks for one of them waits.
  const auto refused = node.begin_busy(many, 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::overloaded);
  CHECK(node.broker.ask_now(signal_workflow{node.channel("w11"), "go", "1", "s"}));
  CHECK(node.pass(30s) <= 5);
  for (int n = 0; n < many; ++n)
    CHECK(node.has_ended(fmt::format("w{}", n)));
  node.pass(3s);
  CHECK(node.broker.topics_active() == 0);
  CHECK(node.begin_busy(many, 1));
}

TEST_CASE("parents never wait for room that they take themselves", "[actors][workflow]") {
  config with;
  with.workflows.resident_max = 2;
  full_node node{with};
  REQUIRE(node.begin_busy(1, 1));
  node.pass(5s);
  REQUIRE(node.has_ended("w1"));
  node.pass(1s);
  const bool somebody_looks = GENERATE(false, true);
  // Both are there before the child of one is.
  for (const auto id : {"p1", "p2"})
    node.broker.ask(start_workflow{node.channel(id), "test.parent", "2", {}, {}});
  node.broker.run();
  CHECK(node.broker.topics_active() == 2);
  // What comes in for a question and leaves again makes no room.
  for (int second = 0; second < 60; ++second) {
    node.pass(1s);
    if (somebody_looks) CHECK(node.has_ended("w1"));
  }
  CHECK(node.has_ended("p1"));
  CHECK(node.has_ended("p2"));
}

TEST_CASE("agents that nobody has called yet begin while there is room", "[actors][workflow]") {
  config with;
  with.workflows.resident_max = 1;
  full_node node{with};
  REQUIRE(node.call("a", "m1"));
  node.pass(3s);
  REQUIRE(node.begin_busy(1, 20));
  const auto refused = node.call("b", "m1");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::overloaded);
  CHECK(
      node.broker.ask_now(get_topic{node.channel("agent.echo.b")}).error().code
      == errc::topic_not_found);
  CHECK(node.call("a", "m2"));
}

}  // namespace callboard::testing
