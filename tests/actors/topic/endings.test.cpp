// Runs that are ended from outside, whatever their code does; and what they then show.
#include "runtime/binding/bound_event.hpp"

#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json/parse.hpp>

#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;

namespace {

bool says(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

/// The code of a workflow here hangs there while this is so.
std::atomic<bool> hangs_at_start{false};
std::atomic<bool> hangs_behind_signal{false};
std::atomic<bool> hangs_in_step{false};
std::atomic<bool> hangs_when_destroyed{false};
std::atomic<bool> is_behind_step{false};
std::atomic<int> began{0};

void let_go(std::atomic<bool>& hang) {
  hang = false;
  hang.notify_all();
}

struct hanging_workflow : workflow<hanging_workflow> {
  static constexpr std::string_view type = "test.hanging";

  flow<json> run(context& ctx, json) {
    ++began;
    hangs_at_start.wait(true);
    co_await ctx.signal("go").required();
    hangs_behind_signal.wait(true);
    co_return co_await ctx.signal("end").required();
  }
};

/// Hangs when it hears that it is cancelled.
struct catching_workflow : workflow<catching_workflow> {
  static constexpr std::string_view type = "test.catching";

  flow<json> run(context& ctx, json) {
    try {
      co_await ctx.signal("go").required();
    } catch (const cancelled&) {
      hangs_behind_signal.wait(true);
      throw;
    }
    co_return json{};
  }
};

/// Leaves a child and a task that nobody takes, and waits.
struct leading_workflow : workflow<leading_workflow> {
  static constexpr std::string_view type = "test.leading";

  flow<json> run(context& ctx, json) {
    auto [kid, task, end] = co_await all(
        ctx.child("test.hanging", 1, {.id = "kid"}), ctx.task("llm", 1), ctx.signal("end"));
    co_return kid.has_value() && task.has_value() && end.has_value();
  }
};

/// Waits at one step, reads one signal, and then waits at another.
struct stepping_workflow : workflow<stepping_workflow> {
  static constexpr std::string_view type = "test.stepping";

  flow<json> run(context& ctx, json) {
    co_await ctx.signal("first").required();
    co_return co_await ctx.signal("second").required();
  }
};

/// Does not fit what `stepping_workflow` records.
struct other_workflow : workflow<other_workflow> {
  static constexpr std::string_view type = "test.stepping";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("other", [] {}).required();
    co_return json{};
  }
};

/// Says when it is destroyed, which takes until it is let go.
std::atomic<bool> is_destroyed{false};
std::atomic<std::thread::id> stepped_on;
std::atomic<std::thread::id> destroyed_on;

struct slow_to_go {
  slow_to_go() = default;
  slow_to_go(const slow_to_go&) = delete;
  slow_to_go& operator=(const slow_to_go&) = delete;

  ~slow_to_go() {
    destroyed_on = std::this_thread::get_id();
    is_destroyed = true;
    hangs_when_destroyed.wait(true);
  }
};

/// Hangs in the turn that its step begins: on the step's thread, if its actor was at rest.
struct stepping_on_workflow : workflow<stepping_on_workflow> {
  static constexpr std::string_view type = "test.stepping_on";

  flow<json> run(context& ctx, json) {
    const slow_to_go last;
    const auto hang = [] {
      stepped_on = std::this_thread::get_id();
      hangs_in_step.wait(true);
    };
    co_await ctx.step("hang", hang).required();
    is_behind_step = true;
    hangs_behind_signal.wait(true);
    co_return co_await ctx.signal("end").required();
  }
};

struct patient_workflow : workflow<patient_workflow> {
  static constexpr std::string_view type = "test.patient";

  flow<json> run(context& ctx, json) {
    co_await any(ctx.sleep(std::chrono::hours{24}), ctx.signal("go", std::chrono::hours{48}));
    co_return json{};
  }
};

class endings_fixture : public broker_fixture {
public:
  endings_fixture() {
    if (!workflows.add(hanging_workflow::definition())
        || !workflows.add(catching_workflow::definition())
        || !workflows.add(leading_workflow::definition())
        || !workflows.add(patient_workflow::definition())
        || !workflows.add(stepping_on_workflow::definition())
        || !workflows.add(stepping_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
    hangs_at_start = false;
    hangs_behind_signal = false;
    is_behind_step = false;
    is_destroyed = false;
    hangs_in_step = false;
    hangs_when_destroyed = false;
  }

  // So that the pools can end.
  ~endings_fixture() {
    let_go(hangs_at_start);
    let_go(hangs_in_step);
    let_go(hangs_when_destroyed);
    let_go(hangs_behind_signal);
  }

  void begin(const std::string& id, const std::string& type) {
    REQUIRE(ask(start_workflow{topic("workflow." + id), type, "1", {}, {}}));
  }

  std::string shown(const std::string& id) {
    auto answer = ask(get_workflow{topic("workflow." + id)});
    return answer ? std::get<workflow_answer>(*answer).body : answer.error().detail;
  }

  result<control_answer>
  signal(const std::string& id, const std::string& name, const std::string& payload = "1") {
    return ask(signal_workflow{topic("workflow." + id), name, payload, {}});
  }

  std::string terminate(const std::string& id) {
    auto answer = ask(terminate_workflow{topic("workflow." + id), "enough", "ada"});
    return answer ? std::get<workflow_answer>(*answer).body : answer.error().detail;
  }

  /// All at once, in this order; their answers.
  std::vector<result<control_answer>> ask_all(std::vector<control_body> all) {
    constexpr std::uint64_t first = 1'000'000;
    for (std::size_t i = 0; i < all.size(); ++i)
      REQUIRE(router->control({correlation_id{first + i}, std::move(all[i])}, self()));
    return answers_to(first, all.size());
  }

  std::vector<result<control_answer>> answers_to(std::uint64_t first, std::size_t count) {
    std::map<std::uint64_t, result<control_answer>> got;
    while (got.size() < count) {
      (*client)->receive(
          [&](boxed<control_reply>& reply) {
            got.emplace(reply->correlation.raw(), std::move(reply->outcome));
          },
          caf::after(patience) >> [] { FAIL("no answer"); });
    }
    std::vector<result<control_answer>> answers;
    for (std::size_t i = 0; i < count; ++i)
      answers.push_back(std::move(got.at(first + i)));
    return answers;
  }

  /// What `shown` says of a command.
  std::string status_of(const std::string& id, std::size_t command) {
    const auto body = boost::json::parse(shown(id)).as_object();
    const auto& steps = body.at("steps").as_array();
    if (steps.size() < command) return {};
    return std::string{steps.at(command - 1).at("status").as_string()};
  }

  /// Timers that the views know.
  int timers() {
    int count = 0;
    for (std::uint32_t i = 0; i < journal->shard_count(); ++i) {
      auto reader = journal->read(shard_id{i});
      REQUIRE(reader);
      REQUIRE((*reader)->scan(storage::view_id::workflow_timer, {}, {}, [&](auto, auto) {
        ++count;
        return true;
      }));
    }
    return count;
  }

  /// Types of the events of its channel.
  std::string history(const std::string& id) {
    auto page = ask(read_events{topic("workflow." + id), runtime::from_first{}, 1000});
    if (!page) return page.error().detail;
    std::string types;
    for (const auto& one : std::get<event_page>(*page).batch->events) {
      const auto event = runtime::bound_event::read(one.stored, one.time);
      REQUIRE(event);
      types += event->type() + ' ';
    }
    return types;
  }
};

}  // namespace

TEST_CASE_METHOD(endings_fixture, "a run whose code hangs can be terminated") {
  SECTION("behind a signal") {
    begin("w1", "test.hanging");
    hangs_behind_signal = true;
    // Neither what was before it in the queue nor the code holds it up.
    const auto got = ask_all(
        {signal_workflow{topic("workflow.w1"), "go", "1", {}},
         signal_workflow{topic("workflow.w1"), "go", "1", {}},
         terminate_workflow{topic("workflow.w1"), "enough", "ada"}});
    REQUIRE(got[2]);
    CHECK(says(std::get<workflow_answer>(*got[2]).body, R"("outcome":"terminated")"));
    CHECK(says(shown("w1"), R"("code":"terminated")"));
    let_go(hangs_behind_signal);
    restart();
    CHECK(says(shown("w1"), R"("code":"terminated")"));
  }
  SECTION("while its history is replayed") {
    begin("w1", "test.hanging");
    REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
    hangs_at_start = true;
    restart();
    CHECK(says(shown("w1"), R"("status":"running")"));
    CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
    CHECK(says(shown("w1"), R"("status":"failed")"));
    CHECK(history("w1") == "workflow.started signal.awaited workflow.failed ");
  }
}

TEST_CASE_METHOD(endings_fixture, "a run whose code hangs in its first turn can be terminated") {
  hangs_at_start = true;
  const control_body start = start_workflow{topic("workflow.w1"), "test.hanging", "1", {}, {}};
  const control_body end = terminate_workflow{topic("workflow.w1"), "enough", "ada"};
  std::vector<result<control_answer>> got;
  if (GENERATE(true, false)) {
    got = ask_all({start, end});
  } else {
    const auto before = began.load();
    REQUIRE(router->control({correlation_id{1'000'000}, start}, self()));
    REQUIRE(eventually([&] { return began > before; }));
    REQUIRE(router->control({correlation_id{1'000'001}, end}, self()));
    got = answers_to(1'000'000, 2);
  }
  REQUIRE(got[0]);
  REQUIRE(got[1]);
  CHECK(says(std::get<workflow_answer>(*got[1]).body, R"("outcome":"terminated")"));
  CHECK(says(shown("w1"), R"("code":"terminated")"));
  CHECK(history("w1") == "workflow.started workflow.failed ");
  let_go(hangs_at_start);
  restart();
  CHECK(says(shown("w1"), R"("code":"terminated")"));
}

TEST_CASE_METHOD(
    endings_fixture, "a cancel of code that hangs is answered, and comes behind its turn") {
  begin("w1", "test.hanging");
  hangs_behind_signal = true;
  constexpr std::uint64_t of_signal = 1;
  REQUIRE(router->control(
      {correlation_id{of_signal}, signal_workflow{topic("workflow.w1"), "go", "1", {}}}, self()));
  const auto got = ask_all(
      {cancel_workflow{topic("workflow.w1"), "too long", {}, "ada"},
       cancel_workflow{topic("workflow.w1"), "again", {}, "bob"}});
  for (const auto& answer : got) {
    REQUIRE(answer);
    CHECK(says(std::get<workflow_answer>(*answer).body, R"("outcome":"cancelling")"));
  }
  // Nothing is recorded of it yet, and it is known all the same.
  CHECK(history("w1") == "workflow.started signal.awaited ");
  auto explained = ask(explain_workflow{topic("workflow.w1")});
  REQUIRE(explained);
  CHECK(says(std::get<workflow_answer>(*explained).body, "it is cancelled once this turn"));
  let_go(hangs_behind_signal);
  REQUIRE(answers_to(of_signal, 1)[0]);
  CHECK(eventually([&] { return says(shown("w1"), R"("status":"cancelled")"); }));
  CHECK(
      history("w1")
      == "workflow.started signal.awaited signal.received signal.awaited workflow.cancelling "
         "command.cancelled workflow.cancelled ");
  restart();
  CHECK(says(shown("w1"), R"("status":"cancelled")"));
}

TEST_CASE_METHOD(endings_fixture, "a cancel of code that hangs when it hears of it is answered") {
  begin("w1", "test.catching");
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
  hangs_behind_signal = true;
  auto first = ask(cancel_workflow{topic("workflow.w1"), "too long", {}, "ada"});
  REQUIRE(first);
  CHECK(says(std::get<workflow_answer>(*first).body, R"("outcome":"cancelling")"));
  // What was written is for all who ask.
  auto second = ask(cancel_workflow{topic("workflow.w1"), "again", {}, "ada"});
  REQUIRE(second);
  CHECK(says(std::get<workflow_answer>(*second).body, R"("outcome":"cancelling")"));
  let_go(hangs_behind_signal);
  CHECK(eventually([&] { return says(shown("w1"), R"("status":"cancelled")"); }));
  CHECK(
      history("w1")
      == "workflow.started signal.awaited workflow.cancelling command.cancelled "
         "workflow.cancelled ");
}

TEST_CASE_METHOD(endings_fixture, "a cancel of code that hangs in a replay is recorded behind it") {
  begin("w1", "test.hanging");
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
  hangs_at_start = true;
  restart();
  auto asked = ask(cancel_workflow{topic("workflow.w1"), "too long", {}, "ada"});
  REQUIRE(asked);
  CHECK(says(std::get<workflow_answer>(*asked).body, R"("outcome":"cancelling")"));
  let_go(hangs_at_start);
  CHECK(eventually([&] { return says(shown("w1"), R"("status":"cancelled")"); }));
  CHECK(
      history("w1")
      == "workflow.started signal.awaited workflow.cancelling command.cancelled "
         "workflow.cancelled ");
}

TEST_CASE_METHOD(endings_fixture, "a restart that a terminate overtakes is done behind it") {
  begin("w1", "test.hanging");
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
  hangs_behind_signal = true;
  REQUIRE(router->control(
      {correlation_id{1'000'000}, signal_workflow{topic("workflow.w1"), "go", "1", {}}}, self()));
  REQUIRE(router->control(
      {correlation_id{1'000'001},
       restart_workflow{topic("workflow.w1"), {"go", "try again", "ann"}}},
      self()));
  REQUIRE(eventually([&] {
    auto explained = ask(explain_workflow{topic("workflow.w1")});
    return explained && says(std::get<workflow_answer>(*explained).body, R"("inputs_waiting":1)");
  }));
  REQUIRE(router->control(
      {correlation_id{1'000'002}, terminate_workflow{topic("workflow.w1"), "enough", "ada"}},
      self()));
  const auto got = answers_to(1'000'000, 3);
  REQUIRE(got[1]);
  CHECK(says(std::get<workflow_answer>(*got[1]).body, R"("run":2)"));
  REQUIRE(got[2]);
  CHECK(says(std::get<workflow_answer>(*got[2]).body, R"("outcome":"terminated")"));
  CHECK(says(shown("w1"), R"("run":2)"));
  CHECK(says(shown("w1"), R"("status":"running")"));
  let_go(hangs_behind_signal);
}

TEST_CASE_METHOD(endings_fixture, "code that was given up is destroyed where turns run") {
  hangs_in_step = true;
  hangs_behind_signal = true;
  hangs_when_destroyed = true;
  begin("w1", "test.stepping_on");
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"step")"); }));
  let_go(hangs_in_step);
  REQUIRE(eventually([] { return is_behind_step.load(); }));
  CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
  let_go(hangs_behind_signal);
  REQUIRE(eventually([] { return is_destroyed.load(); }));
  // Not on its step's thread either, and its actor answers meanwhile.
  CHECK(destroyed_on.load() != stepped_on.load());
  CHECK(says(shown("w1"), R"("code":"terminated")"));
  let_go(hangs_when_destroyed);
}

TEST_CASE_METHOD(endings_fixture, "code of a run that leaves memory is destroyed where turns run") {
  begin("w1", "test.stepping_on");
  REQUIRE(eventually([] { return is_behind_step.load(); }));
  hangs_when_destroyed = true;
  // It is idle.
  REQUIRE(eventually([] { return is_destroyed.load(); }));
  // It holds up no actor.
  CHECK(says(shown("w1"), R"("status":"running")"));
  let_go(hangs_when_destroyed);
}

TEST_CASE_METHOD(endings_fixture, "a run that is not in memory is terminated without its code") {
  begin("w1", "test.hanging");
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"signal")"); }));
  restart();
  const auto before = began.load();
  CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
  CHECK(says(shown("w1"), R"("message":"enough")"));
  CHECK(began == before);
  CHECK(history("w1") == "workflow.started signal.awaited workflow.failed ");
  CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
  CHECK(says(terminate("nobody"), "there is no workflow"));
}

TEST_CASE_METHOD(endings_fixture, "no timer is left of a run that is ended without its code") {
  begin("w1", "test.patient");
  CHECK(eventually([&] { return timers() == 2; }));
  restart();
  CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
  CHECK(eventually([&] { return timers() == 0; }));
}

TEST_CASE_METHOD(endings_fixture, "what a run leaves is told without its code") {
  begin("w1", "test.leading");
  const auto kid_waits = [&] { return says(shown("kid"), R"("kind":"signal")"); };
  REQUIRE(eventually(kid_waits));
  REQUIRE(eventually([&] { return says(shown("w1"), R"("kind":"task")"); }));
  auto kept = std::exchange(workflows, {});
  if (!workflows.add(hanging_workflow::definition())) FAIL("cannot add the workflow");
  restart();
  CHECK(says(terminate("w1"), R"("outcome":"terminated")"));
  CHECK(eventually([&] { return says(shown("kid"), R"("status":"cancelled")"); }));
  workflows = std::move(kept);
}

TEST_CASE_METHOD(endings_fixture, "what was open when a run ended is shown as abandoned") {
  begin("w1", "test.stepping");
  REQUIRE(signal("w1", "first"));
  REQUIRE(eventually([&] { return status_of("w1", 2) == "running"; }));
  CHECK(status_of("w1", 1) == "completed");
  CHECK(says(terminate("w1"), "terminated"));
  CHECK(status_of("w1", 1) == "completed");
  CHECK(status_of("w1", 2) == "abandoned");
  restart();
  CHECK(status_of("w1", 1) == "completed");
  CHECK(status_of("w1", 2) == "abandoned");
}

TEST_CASE_METHOD(endings_fixture, "what a blocked run waits for is not shown as done") {
  begin("w1", "test.stepping");
  REQUIRE(signal("w1", "first"));
  REQUIRE(eventually([&] { return status_of("w1", 2) == "running"; }));
  auto kept = std::exchange(workflows, {});
  if (!workflows.add(other_workflow::definition())) FAIL("cannot add the workflow");
  restart();
  REQUIRE(eventually([&] { return says(shown("w1"), R"("status":"blocked")"); }));
  CHECK(status_of("w1", 1) == "completed");
  CHECK(status_of("w1", 2) == "running");
  CHECK(says(shown("w1"), R"("commands":2)"));
  // What is sent meanwhile is known to be there.
  REQUIRE(signal("w1", "junk"));
  auto explained = ask(explain_workflow{topic("workflow.w1")});
  REQUIRE(explained);
  CHECK(says(std::get<workflow_answer>(*explained).body, R"("signals_unread":1)"));
  workflows = std::move(kept);
}

TEST_CASE_METHOD(endings_fixture, "what nobody has read is shown, also where the code is not") {
  begin("w1", "test.stepping");
  for (int i = 0; i < 3; ++i)
    REQUIRE(signal("w1", "junk"));
  const auto unread = [&] {
    auto explained = ask(explain_workflow{topic("workflow.w1")});
    REQUIRE(explained);
    const auto body = std::get<workflow_answer>(*explained).body;
    return boost::json::parse(body).at("signals_unread").as_int64();
  };
  CHECK(unread() == 3);
  REQUIRE(signal("w1", "first"));
  REQUIRE(eventually([&] { return status_of("w1", 2) == "running"; }));
  CHECK(unread() == 3);
  auto kept = std::exchange(workflows, {});
  restart();
  CHECK(unread() == 3);
  REQUIRE(signal("w1", "junk"));
  CHECK(unread() == 4);
  workflows = std::move(kept);
  restart();
  CHECK(unread() == 4);
  REQUIRE(signal("w1", "second", "7"));
  auto ended = ask(await_workflow{topic("workflow.w1"), 10'000});
  REQUIRE(ended);
  CHECK(says(std::get<workflow_answer>(*ended).body, R"("result":7)"));
}

TEST_CASE_METHOD(endings_fixture, "the key of a signal stands for what it said") {
  begin("w1", "test.stepping");
  const auto send = [&](const std::string& name, const std::string& payload) {
    return ask(signal_workflow{topic("workflow.w1"), name, payload, "k"});
  };
  const auto is_conflict = [](const result<control_answer>& answer) {
    return !answer && answer.error().code == errc::id_conflict;
  };
  REQUIRE(send("other", R"({"a":1,"b":2})"));
  for (int life = 0; life < 2; ++life) {
    auto again = send("other", R"({"b":2,"a":1.0})");
    REQUIRE(again);
    CHECK(says(std::get<workflow_answer>(*again).body, R"("duplicate":true)"));
    CHECK(is_conflict(send("other", R"({"a":1,"b":3})")));
    CHECK(is_conflict(send("first", R"({"a":1,"b":2})")));
    restart();
  }
}

TEST_CASE_METHOD(endings_fixture, "the channel of a workflow that runs cannot be deleted") {
  begin("w1", "test.stepping");
  const auto remove = [&] { return ask(delete_topic{topic("workflow.w1")}); };
  REQUIRE_FALSE(remove());
  CHECK(remove().error().code == errc::wrong_kind);
  restart();
  CHECK(remove().error().code == errc::wrong_kind);
  CHECK(says(terminate("w1"), "terminated"));
  CHECK(remove());
  CHECK(says(shown("w1"), "there is no workflow"));
}

TEST_CASE_METHOD(endings_fixture, "the same start in another spelling is the same") {
  const auto start = [&](const std::string& input) {
    return ask(start_workflow{topic("workflow.w1"), "test.stepping", input, {}, {}});
  };
  REQUIRE(start(R"({"a":1,"b":[1,2]})"));
  CHECK(start(R"({"b":[1,2],"a":1})"));
  CHECK(start(R"({ "a": 1.0, "b": [1, 2] })"));
  CHECK(start(R"({"a":1,"b":[2,1]})").error().code == errc::workflow_exists);
}

}  // namespace callboard::testing
