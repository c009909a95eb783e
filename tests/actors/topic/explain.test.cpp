// Every sentence that a run says of where it is: on virtual time, where nothing happens by itself.
#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json/parse.hpp>

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// Of steps that never end; they hold the actors of their runs.
std::vector<step_promise<int>> kept;

/// What it does is its input.
struct waiting_for_all : workflow<waiting_for_all> {
  static constexpr std::string_view type = "test.all";

  flow<json> run(context& ctx, json input) {
    const auto what = std::string{input.as_string()};
    if (what == "sleep") co_await ctx.sleep(1h).required();
    if (what == "fail") throw run_failed{failure{failure_class::permanent, "broken", "it broke"}};
    if (what == "step") {
      (void)co_await ctx.async_step<int>(
          "elsewhere",
          [](const step_attempt&, step_promise<int> to) { kept.push_back(std::move(to)); });
    }
    if (what == "retry") {
      const retry_policy slowly{.first_delay_ms = 3'600'000, .delay_max_ms = 3'600'000};
      const failure busy{failure_class::retryable, "busy", "try later"};
      (void)co_await ctx.step(
          "shaky", [busy]() -> outcome<int> { return std::unexpected{busy}; }, slowly);
    }
    if (what == "put off") {
      const failure later{failure_class::rate, "slow_down", "come back later", 3'600'000};
      (void)co_await ctx.step(
          "polite",
          [later]() -> outcome<int> { return std::unexpected{later}; },
          retry_policy{.attempts_max = 2});
    }
    if (what == "publish") {
      co_await ctx.signal("go").required();
      (void)co_await ctx.publish("orders", 1);
    }
    if (what == "update") {
      co_await ctx.signal("go").required();
      (void)co_await ctx.update(1);
    }
    if (what == "call") (void)co_await ctx.call("desk", "ann", "think", 1);
    if (what == "many") {
      std::vector<flow<json>> parts;
      for (const auto* name : {"a", "b", "c", "d", "e"})
        parts.push_back(ctx.signal(name).required());
      (void)co_await all(std::move(parts));
    }
    if (what == "children") {
      (void)co_await all(
          ctx.child("test.all", "sleep", {.id = "first"}),
          ctx.child("test.all", "sleep", {.id = "second"}));
    }
    if (what == "long") {
      std::vector<flow<json>> parts;
      parts.push_back(ctx.signal("never").required());
      parts.push_back(many_updates(ctx));
      (void)co_await all(std::move(parts));
    }
    co_return json(1);
  }

  static flow<json> many_updates(context& ctx) {
    for (int i = 0; i < 1500; ++i)
      co_await ctx.update(i).required();
    co_return json(1);
  }
};

struct desk : agent<desk, int> {
  static constexpr std::string_view type = "desk";

  static void handlers(handler_table<desk>& on) {
    on.message("think", &desk::think);
    on.message("leave", &desk::leave);
  }

  flow<int> think(context& ctx, int) {
    co_await ctx.sleep(1h).required();
    co_return 1;
  }

  flow<int> leave(context&, int) {
    throw cancelled{};
    co_return 1;
  }
};

class explain_fixture {
public:
  explain_fixture() {
    REQUIRE(workflows.add(waiting_for_all::definition()));
    REQUIRE(workflows.add(desk::definition()));
    broker = std::make_unique<virtual_broker>(config{}, &workflows);
  }

  ~explain_fixture() { kept.clear(); }

  explain_fixture(const explain_fixture&) = delete;
  explain_fixture& operator=(const explain_fixture&) = delete;

  void start(const std::string& what, const std::string& mirror = {}) {
    start_workflow ask{broker->topic("workflow.w1"), "test.all", '"' + what + '"', {}, {}};
    ask.mirror = mirror;
    REQUIRE(broker->ask_now(std::move(ask)));
    broker->advance(100ms);
  }

  std::string explained(const std::string& channel = "workflow.w1") {
    const auto id = broker->ask(explain_workflow{broker->topic(channel)});
    broker->advance(2500ms);
    REQUIRE(broker->got.answered.contains(id));
    const auto& answer = broker->got.answered.at(id);
    if (!answer) FAIL(answer.error().detail);
    return std::get<workflow_answer>(*answer).body;
  }

  boost::json::object shown() { return boost::json::parse(explained()).as_object(); }

  /// What the runs of `w1` would record now.
  std::int64_t now_ms() {
    return broker->journal.shard_time(broker->shard_of("workflow.w1")).time_since_epoch().count();
  }

  bool says(std::string_view what, const std::string& channel = "workflow.w1") {
    const auto text = explained(channel);
    UNSCOPED_INFO(text);
    return text.find(what) != std::string::npos;
  }

  /// Nothing is written from the next append on.
  void signal_and_hold() {
    (void)broker->ask(signal_workflow{broker->topic("workflow.w1"), "go", "1", ""});
    broker->run();
    broker->journal.refuse_next({errc::overloaded, "not now", 0}, 1'000'000);
    broker->settle();
  }

  void let_go() {
    broker->journal.refuse_next({errc::overloaded, "not now", 0}, 0);
    broker->advance(1s);
  }

  runtime::workflow_registry workflows;
  std::unique_ptr<virtual_broker> broker;
};

}  // namespace

TEST_CASE_METHOD(explain_fixture, "a run says what it waits for", "[actors]") {
  const auto [what, sentence] = GENERATE(table<std::string, std::string>({
      {"sleep", R"("summary":"it waits for its timer")"},
      {"step", R"("summary":"it waits for the step 'elsewhere' to end")"},
      {"retry",
       "it waits for the step 'shaky' to end (attempt 2 comes next; the last one failed: busy: try "
       "later)"},
      {"put off",
       "it waits for the step 'polite' to end (attempt 2 comes next; the last one failed: "
       "slow_down: come back later; 1 asked to come back later, which counts as no attempt)"},
      {"call", "it waits for the reply of agent 'desk/ann/think'"},
      {"publish", R"("summary":"it waits for the signal 'go'")"},
      {"many", "it waits for the signal 'a' and the signal 'b' and the signal 'c' and 2 more"},
      {"long", R"("summary":"it waits for the signal 'never'")"},
      {"none", R"("summary":"it has ended as completed")"},
      {"fail", R"("summary":"it has ended as failed: broken: it broke")"},
  }));
  start(what);
  INFO(what);
  CHECK(says(sentence));
}

TEST_CASE_METHOD(
    explain_fixture, "who waits for an agent is told what the agent does", "[actors]") {
  start("call");
  CHECK(says("'desk/ann/think' (which handles this message 'think' since "));
  CHECK(says("in its sleep 'sleep' since "));
  CHECK(says(R"("messages_waiting":1)"));
  CHECK(says(R"("ahead":0)"));
  // The agent itself tells the same.
  CHECK(says("it handles message 'think' since ", "workflow.agent.desk.ann"));
  CHECK(says("it waits for its timer", "workflow.agent.desk.ann"));

  start_workflow second{broker->topic("workflow.w2"), "test.all", R"("call")", {}, {}};
  REQUIRE(broker->ask_now(std::move(second)));
  broker->advance(100ms);
  CHECK(says("; this message is number 1 of 1 that wait", "workflow.w2"));
  CHECK(says(R"("ahead":1)", "workflow.w2"));
  CHECK(says("; 1 more wait"));
  CHECK(says(R"("messages_waiting":2)", "workflow.agent.desk.ann"));
}

TEST_CASE_METHOD(explain_fixture, "a run says that what it sends is not written yet", "[actors]") {
  const auto is_update = GENERATE(true, false);
  start(is_update ? "update" : "publish", is_update ? "mirrored" : "");
  signal_and_hold();
  CHECK(says(
      is_update ? "it waits for its update to be on disk in the topic that mirrors it"
                : "it waits for its event to be on disk in topic 'orders'"));
  let_go();
  CHECK(says("it has ended as completed"));
}

TEST_CASE_METHOD(explain_fixture, "a run says that it is at work", "[actors]") {
  start("publish");
  broker->journal.refuse_next({errc::overloaded, "not now", 0}, 1'000'000);
  (void)broker->ask(signal_workflow{broker->topic("workflow.w1"), "go", "1", ""});
  CHECK(says("its code is at work, or what it did is on its way to the disk"));
  let_go();
  CHECK(says("it has ended as completed"));
}

TEST_CASE_METHOD(explain_fixture, "a run says that the disk has no room", "[actors]") {
  start("publish");
  broker->journal.refuse_next({errc::storage_full, "not now", 0}, 1'000'000);
  (void)broker->ask(signal_workflow{broker->topic("workflow.w1"), "go", "1", ""});
  CHECK(says("what it did is not on the disk, and is tried again until it is: storage_full: not "
             "now"));
  broker->journal.refuse_next({errc::storage_full, "not now", 0}, 0);
  broker->advance(10s);
  CHECK(says("it has ended as completed"));
}

TEST_CASE_METHOD(explain_fixture, "an end that is told again takes no more memory", "[actors]") {
  start("children");
  const auto end_of = [&](std::uint32_t command) {
    end_child end;
    end.topic = broker->topic("workflow.w1");
    end.run = 1;
    end.command = command;
    end.result = std::to_string(command);
    return end;
  };
  broker->journal.refuse_next({errc::storage_full, "not now", 0}, 1'000'000);
  std::vector<std::uint64_t> told;
  for (int i = 0; i < 5; ++i) {
    for (const std::uint32_t child : {1, 2})
      told.push_back(broker->ask(end_of(child)));
    broker->settle();
  }
  // One is being written, the other waits for it.
  CHECK(shown().at("inputs_waiting") == 1);
  broker->journal.refuse_next({errc::storage_full, "not now", 0}, 0);
  broker->advance(10s);
  CHECK(says(R"("summary":"it has ended as completed")"));
  // Whoever told it last knows that it is heard.
  for (const auto last : {told.size() - 2, told.size() - 1}) {
    REQUIRE(broker->got.answered.contains(told.at(last)));
    CHECK(broker->got.answered.at(told.at(last)));
  }
}

TEST_CASE_METHOD(explain_fixture, "an agent says that it waits for a message", "[actors]") {
  call_agent call;
  call.topic = broker->topic("workflow.agent.desk.bob");
  call.type = "agent:desk";
  call.message = "nothing of the kind";
  call.payload = "1";
  call.id = "m1";
  REQUIRE(broker->ask_now(std::move(call)));
  CHECK(says(R"("summary":"it waits for a message")", "workflow.agent.desk.bob"));
  CHECK(says(R"("messages_waiting":0)", "workflow.agent.desk.bob"));
}

TEST_CASE_METHOD(explain_fixture, "an agent says that its code failed", "[actors]") {
  call_agent call;
  call.topic = broker->topic("workflow.agent.desk.bob");
  call.type = "agent:desk";
  call.message = "leave";
  call.payload = "1";
  call.id = "m1";
  (void)broker->ask(std::move(call));
  broker->advance(1s);
  CHECK(says(R"("summary":"its code failed, so nothing of it runs: )", "workflow.agent.desk.bob"));
}

TEST_CASE_METHOD(explain_fixture, "a run says how much of it is copied", "[actors]") {
  start("long");
  REQUIRE(broker->ask_now(terminate_workflow{broker->topic("workflow.w1"), "enough"}));
  broker->journal.refuse_next({errc::overloaded, "not now", 0}, 1'000'000);
  (void)broker->ask(restart_workflow{broker->topic("workflow.w1"), {.from = "1400"}});
  broker->advance(1s);
  CHECK(says("it is being begun anew: 500 of 1400 events are copied"));
  let_go();
  CHECK(says(R"("summary":"it waits for the signal 'never'")"));
}

TEST_CASE_METHOD(explain_fixture, "a run says that it is replayed", "[actors]") {
  start("sleep");
  broker->crash();
  const auto id = broker->ask(explain_workflow{broker->topic("workflow.w1")});
  // Of what is read, and then of the replay, nobody does anything while time passes.
  for (int i = 0; i < 10 && !broker->got.answered.contains(id); ++i) {
    broker->run_actors();
    broker->tick(2500ms);
    broker->run_actors();
    if (!broker->got.answered.contains(id)) broker->read();
  }
  REQUIRE(broker->got.answered.contains(id));
  const auto& answer = broker->got.answered.at(id);
  REQUIRE(answer);
  CHECK(std::get<workflow_answer>(*answer).body.contains(
      R"("summary":"its history is being replayed")"));
  broker->settle();
  CHECK(says("it waits for its timer"));
}

TEST_CASE_METHOD(explain_fixture, "a run says since when it is so, and when it wakes", "[actors]") {
  const auto began = now_ms();
  start("sleep");
  auto told = shown();
  const auto wait = [&] { return told.at("waiting_for").at(0).as_object(); };
  const auto due = began + 3'600'000;
  CHECK(told.at("since_ms") == began);
  CHECK(wait().at("since_ms") == began);
  CHECK(wait().at("due_ms") == due);
  CHECK(told.at("next_wake_ms") == due);
  // Something else is recorded meanwhile; the wait is as old as it was, also behind a restart.
  const auto signalled = now_ms();
  REQUIRE(signalled > began);
  REQUIRE(broker->ask_now(signal_workflow{broker->topic("workflow.w1"), "go", "1", ""}));
  for (const bool is_restarted : {false, true}) {
    INFO(is_restarted);
    if (is_restarted) broker->crash();
    told = shown();
    CHECK(told.at("since_ms") == signalled);
    CHECK(wait().at("since_ms") == began);
    CHECK(told.at("next_wake_ms") == due);
  }
  broker->advance(std::chrono::milliseconds{due - now_ms()});
  told = shown();
  CHECK(told.at("since_ms").as_int64() >= due);
  CHECK_FALSE(told.contains("next_wake_ms"));
}

}  // namespace callboard::testing
