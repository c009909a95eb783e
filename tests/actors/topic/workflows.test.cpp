// Runs in a whole broker: answers only after the commit, once; recovery from the journal.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <cstdint>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace callboard::testing {

using namespace actors;

namespace {

template <class T>
T get(result<control_answer> answer) {
  if (!answer) FAIL(answer.error().detail);
  return std::get<T>(std::move(*answer));
}

class workflow_fixture : public broker_fixture {
public:
  result<control_answer> start_one(const std::string& id, const std::string& input = "1") {
    return ask(start_workflow{topic("workflow." + id), "test.waiting", input, {}, {}});
  }

  std::string shown(const std::string& id) {
    return get<workflow_answer>(ask(get_workflow{topic("workflow." + id)})).body;
  }

  std::string outcome_of(const std::string& id, std::uint32_t wait_ms = 10'000) {
    return get<workflow_answer>(ask(await_workflow{topic("workflow." + id), wait_ms})).body;
  }

  result<control_answer>
  signal(const std::string& id, const std::string& payload, const std::string& key = {}) {
    return ask(signal_workflow{topic("workflow." + id), "go", payload, key});
  }
};

bool says(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

/// The promises that the attempts of `later_workflow`'s step were given, by attempt.
std::mutex promises_mutex;
std::map<std::uint32_t, step_promise<int>> promises;

bool has_promise(std::uint32_t attempt) {
  const std::lock_guard lock{promises_mutex};
  return promises.contains(attempt);
}

step_promise<int> take_promise(std::uint32_t attempt) {
  const std::lock_guard lock{promises_mutex};
  return promises.extract(attempt).mapped();
}

struct parent_workflow : workflow<parent_workflow> {
  static constexpr std::string_view type = "test.parent";

  flow<json> run(context& ctx, json input) {
    co_return co_await ctx.child("test.waiting", std::move(input), {.id = "kid"}).required();
  }
};

struct later_workflow : workflow<later_workflow> {
  static constexpr std::string_view type = "test.later";

  flow<json> run(context& ctx, json) {
    auto got = co_await ctx.async_step<int>(
        "elsewhere",
        [](const step_attempt& attempt, step_promise<int> promise) {
          const std::lock_guard lock{promises_mutex};
          promises.insert_or_assign(attempt.number, std::move(promise));
        },
        {.first_delay_ms = 1});
    if (!got) co_return json(got.error().code);
    co_return json(*got);
  }
};

/// Holds the step of `racing_workflow` until the test lets it go; the step may look at it later.
std::shared_ptr<std::latch> step_gate;

struct racing_workflow : workflow<racing_workflow> {
  static constexpr std::string_view type = "test.racing";

  flow<json> run(context& ctx, json) {
    const auto slow = [gate = step_gate] {
      gate->wait();
      return 1;
    };
    auto first = co_await any(ctx.step("slow", slow), ctx.signal<int>("go"));
    co_return json(first.index() == 0 ? "step" : "signal");
  }
};

/// Reads a signal behind each of its steps.
struct alternating_workflow : workflow<alternating_workflow> {
  static constexpr std::string_view type = "test.alternating";

  flow<json> run(context& ctx, json) {
    int sum = 0;
    for (int i = 0; i < 4; ++i) {
      sum += co_await ctx.step("one", [] { return 1; }).required();
      sum += co_await ctx.signal<int>("go").required();
    }
    co_return json(sum);
  }
};

}  // namespace

TEST_CASE_METHOD(workflow_fixture, "a start is answered once however often it comes") {
  auto first = get<workflow_answer>(start_one("w1"));
  CHECK(first.created);
  CHECK_FALSE(get<workflow_answer>(start_one("w1")).created);
  CHECK(start_one("w1", "2").error().code == errc::workflow_exists);
  CHECK(
      ask(start_workflow{topic("workflow.w2"), "test.nothing", "1", {}, {}}).error().code
      == errc::bad_request);
  // Nothing was left behind by the refused one.
  CHECK(ask(get_workflow{topic("workflow.w2")}).error().code == errc::workflow_not_found);
}

TEST_CASE_METHOD(workflow_fixture, "what is refused makes no channel, and what waits is answered") {
  const auto large = '"' + std::string(5U << 20, 'x') + '"';
  const auto send = [&](std::uint64_t id, control_body body) {
    REQUIRE(router->control({correlation_id{id}, std::move(body)}, self()));
  };
  send(1001, start_workflow{topic("workflow.w1"), "test.waiting", large, {}, {}});
  send(1002, get_workflow{topic("workflow.w1")});
  send(1003, start_workflow{topic("workflow.w1"), "test.waiting", "1", {}, {}});
  std::map<std::uint64_t, result<control_answer>> got;
  while (got.size() < 3) {
    (*client)->receive(
        [&](boxed<control_reply>& reply) {
          got.emplace(reply->correlation.raw(), std::move(reply->outcome));
        },
        caf::after(patience) >> [] { FAIL("no answer"); });
  }
  CHECK(got.at(1001).error().code == errc::too_large);
  CHECK(got.at(1002).error().code == errc::workflow_not_found);
  CHECK(get<workflow_answer>(got.at(1003)).created);
  CHECK(ask(get_topic{topic("workflow.w1")}));
  REQUIRE(
      ask(start_workflow{topic("workflow.w2"), "test.waiting", large, {}, {}}).error().code
      == errc::too_large);
  CHECK(ask(get_topic{topic("workflow.w2")}).error().code == errc::topic_not_found);
}

TEST_CASE_METHOD(workflow_fixture, "a step that runs holds up no other input") {
  REQUIRE(workflows.add(racing_workflow::definition()));
  step_gate = std::make_shared<std::latch>(1);
  REQUIRE(ask(start_workflow{topic("workflow.w1"), "test.racing", "1", {}, {}}));
  REQUIRE(signal("w1", "1"));
  CHECK(says(outcome_of("w1"), R"("result":"signal")"));
  step_gate->count_down();
  // The step that was let go counts for nothing.
  REQUIRE(ask(start_workflow{topic("workflow.w2"), "test.racing", "1", {}, {}}));
  CHECK(says(outcome_of("w2"), R"("result":"step")"));
}

TEST_CASE_METHOD(workflow_fixture, "signals and ends of steps cross each other") {
  REQUIRE(workflows.add(alternating_workflow::definition()));
  constexpr int runs = 50;
  const auto id = [](int run) { return "w" + std::to_string(run); };
  for (int run = 0; run < runs; ++run) {
    REQUIRE(ask(start_workflow{topic("workflow." + id(run)), "test.alternating", "1", {}, {}}));
    for (int i = 0; i < 4; ++i)
      REQUIRE(signal(id(run), "10", std::to_string(i)));
  }
  for (int run = 0; run < runs; ++run)
    CHECK(says(outcome_of(id(run)), R"("result":44)"));
}

TEST_CASE_METHOD(workflow_fixture, "a step may end later, and elsewhere") {
  REQUIRE(workflows.add(later_workflow::definition()));
  const auto start = [&](const std::string& id) {
    promises.clear();
    REQUIRE(ask(start_workflow{topic("workflow." + id), "test.later", "1", {}, {}}));
    REQUIRE(eventually([] { return has_promise(1); }));
  };

  SECTION("its first answer counts, from whatever thread") {
    start("w1");
    const auto promise = take_promise(1);
    std::jthread{[&] {
      promise.complete(42);
      promise.complete(43);
      promise.fail({failure_class::permanent, "late", "too late"});
    }}.join();
    CHECK(says(outcome_of("w1"), R"("result":42)"));
  }
  SECTION("a failure is retried as the policy says") {
    start("w1");
    take_promise(1).fail({failure_class::retryable, "busy", "try again"});
    REQUIRE(eventually([] { return has_promise(2); }));
    take_promise(2).complete(7);
    CHECK(says(outcome_of("w1"), R"("result":7)"));
  }
  SECTION("a promise that is let go fails the step") {
    start("w1");
    (void)take_promise(1);
    CHECK(says(outcome_of("w1"), R"("result":"step_abandoned")"));
  }
  SECTION("one that is kept does not hold the node up, and counts for nothing after it") {
    start("w1");
    const auto lost = take_promise(1);
    restart();
    REQUIRE(eventually([] { return has_promise(1); }));
    lost.complete(1);
    take_promise(1).complete(2);
    CHECK(says(outcome_of("w1"), R"("result":2)"));
  }
}

TEST_CASE_METHOD(workflow_fixture, "a child that somebody else had started is waited for") {
  REQUIRE(workflows.add(parent_workflow::definition()));
  const auto start_parent = [&](const std::string& id, const std::string& input) {
    REQUIRE(ask(start_workflow{topic("workflow." + id), "test.parent", input, {}, {}}));
  };
  REQUIRE(start_one("kid"));
  start_parent("p1", "1");
  REQUIRE(eventually([&] { return says(shown("p1"), R"("kind":"child")"); }));
  restart();
  CHECK(says(shown("p1"), R"("status":"running")"));
  REQUIRE(signal("kid", "7"));
  CHECK(says(outcome_of("p1"), R"("result":7)"));
  // Also when it has ended, and not when it is another.
  start_parent("p2", "1");
  CHECK(says(outcome_of("p2"), R"("result":7)"));
  start_parent("p3", "2");
  CHECK(says(outcome_of("p3"), R"("code":"workflow_exists")"));
  CHECK_FALSE(says(shown("kid"), R"("parent")"));
}

TEST_CASE_METHOD(workflow_fixture, "a signal sent twice under one key is read once") {
  REQUIRE(start_one("w1"));
  CHECK(get<workflow_answer>(signal("w1", "7", "k")).body == R"({"duplicate":false})");
  CHECK(outcome_of("w1") == R"({"id":"w1","status":"completed","result":7})");
  CHECK(says(get<workflow_answer>(signal("w1", "7", "k")).body, "true"));
  CHECK(signal("w1", "8", "other").error().code == errc::wrong_kind);
}

TEST_CASE_METHOD(workflow_fixture, "a run goes on where the journal left it") {
  REQUIRE(start_one("w1"));
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
  restart();
  CHECK(says(shown("w1"), R"("status":"running")"));
  CHECK(says(outcome_of("w1", 1), "running"));
  REQUIRE(signal("w1", "\"go\""));
  CHECK(says(outcome_of("w1"), R"("result":"go")"));
  restart();
  CHECK(says(shown("w1"), R"("result":"go")"));
}

TEST_CASE_METHOD(workflow_fixture, "cancelling answers what became of the run") {
  REQUIRE(start_one("w1"));
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
  const auto cancel = [&](const std::string& id) {
    return get<workflow_answer>(ask(cancel_workflow{topic("workflow." + id), "enough"})).body;
  };
  CHECK(says(cancel("w1"), "cancelled"));
  CHECK(says(cancel("w1"), "cancelled"));
  REQUIRE(start_one("w2"));
  REQUIRE(signal("w2", "1"));
  CHECK(says(outcome_of("w2"), "completed"));
  CHECK(says(cancel("w2"), "already_completed"));
}

TEST_CASE_METHOD(
    workflow_fixture, "a run whose code is gone is shown as blocked and loses nothing") {
  REQUIRE(start_one("w1"));
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
  auto kept = std::exchange(workflows, {});
  restart();
  CHECK(says(shown("w1"), "no_code"));
  REQUIRE(signal("w1", "5"));
  workflows = std::move(kept);
  restart();
  CHECK(says(outcome_of("w1"), R"("result":5)"));
}

TEST_CASE_METHOD(
    workflow_fixture, "a workflow that is over is kept as long as its retention says") {
  REQUIRE(start_one("over"));
  REQUIRE(start_one("waiting"));
  REQUIRE(signal("over", "7"));
  CHECK(says(outcome_of("over"), R"("result":7)"));
  restart();
  CHECK(says(shown("over"), R"("result":7)"));
  settings.workflows.retention_s = 1;
  settings.workflows.sweep_ms = 20;
  restart();
  const auto is_gone = [&](const std::string& id) {
    const auto found = ask(get_workflow{topic("workflow." + id)});
    return !found && found.error().code == errc::workflow_not_found;
  };
  REQUIRE(eventually([&] { return is_gone("over"); }));
  CHECK(ask(get_topic{topic("workflow.over")}).error().code == errc::topic_not_found);
  CHECK(says(shown("waiting"), R"("status":"running")"));
  // Its id is free again.
  CHECK(get<workflow_answer>(start_one("over", "2")).created);
  restart();
  CHECK(says(shown("over"), R"("input":2)"));
  REQUIRE(signal("waiting", "1"));
  CHECK(says(outcome_of("waiting"), "completed"));
}

TEST_CASE_METHOD(workflow_fixture, "a run says what it waits for") {
  REQUIRE(start_one("w1"));
  const auto explained = [&] {
    return get<workflow_answer>(ask(explain_workflow{topic("workflow.w1")})).body;
  };
  REQUIRE(eventually([&] { return says(explained(), "it waits for the signal 'go'"); }));
  CHECK(says(explained(), R"("command":2,"kind":"signal","name":"go","status":"running")"));
  restart();
  // At once: that it is being replayed is no answer.
  CHECK(says(explained(), "it waits for the signal 'go'"));
  CHECK(says(explained(), R"("replay_ms":)"));
  auto kept = std::exchange(workflows, {});
  restart();
  CHECK(says(explained(), "its code is not here, so nothing of it runs: no_code: no node has"));
  CHECK(says(explained(), R"("stuck":{"class":"bug","code":"no_code")"));
  workflows = std::move(kept);
  restart();
  REQUIRE(signal("w1", "1"));
  CHECK(says(outcome_of("w1"), "completed"));
  CHECK(says(explained(), "it has ended as completed"));
  CHECK(says(explained(), R"("waiting_for":[])"));
}

TEST_CASE_METHOD(workflow_fixture, "terminating ends a run without its code") {
  const auto terminate = [&](const std::string& id) {
    return get<workflow_answer>(ask(terminate_workflow{topic("workflow." + id), "stuck"})).body;
  };
  REQUIRE(start_one("w1"));
  REQUIRE(start_one("w2"));
  REQUIRE(signal("w2", "1"));
  CHECK(says(outcome_of("w2"), "completed"));
  CHECK(says(terminate("w2"), "already_completed"));
  auto kept = std::exchange(workflows, {});
  restart();
  CHECK(says(shown("w1"), "no_code"));
  CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
  CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
  workflows = std::move(kept);
  restart();
  CHECK(says(outcome_of("w1"), R"("status":"failed")"));
  CHECK(says(outcome_of("w1"), R"("code":"terminated","message":"stuck")"));
  CHECK(signal("w1", "5").error().code == errc::wrong_kind);
  // One that waits, and is in memory.
  REQUIRE(start_one("w3"));
  REQUIRE(eventually([&] { return says(shown("w3"), R"("kind":"signal")"); }));
  CHECK(says(terminate("w3"), R"("outcome":"terminated")"));
  CHECK(says(outcome_of("w3"), R"("status":"failed")"));
}

}  // namespace callboard::testing
