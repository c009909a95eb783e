// Runs that nothing would ever wake: each is listed with its reason, counted, and leaves the list
// by itself when it is put right.
#include "actors/run_waits.hpp"

#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/actors/topic/foreign_record.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <callboard/agent.hpp>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;

namespace {

/// Waits for the child `c1` and gives its result.
struct parent_workflow : workflow<parent_workflow> {
  static constexpr std::string_view type = "test.parent";

  flow<json> run(context& ctx, json) {
    child_options options;
    options.id = "c1";
    auto got = co_await ctx.child<json>("test.waiting", json{1}, options);
    co_return got ? *got : json(got.error().code);
  }
};

/// As it was when the run began, and as it is after a mistake.
struct first_workflow : workflow<first_workflow> {
  static constexpr std::string_view type = "test.changing";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.step("prepare", [] { return 1; }).required();
    co_return co_await ctx.signal("go").required();
  }
};

struct mistaken_workflow : workflow<mistaken_workflow> {
  static constexpr std::string_view type = "test.changing";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.step("other", [] { return 1; }).required();
    co_return co_await ctx.signal("go").required();
  }
};

/// Told to go, waits for `other`, which somebody else has started.
struct peer_workflow : workflow<peer_workflow> {
  static constexpr std::string_view type = "test.peer";

  flow<json> run(context& ctx, json input) {
    (void)co_await ctx.signal("go").required();
    const auto& names = input.as_object();
    boost::json::object of_other{{"me", names.at("other")}, {"other", names.at("me")}};
    child_options options;
    options.id = names.at("other").as_string();
    auto got = co_await ctx.child<json>("test.peer", json(std::move(of_other)), options);
    co_return got ? *got : json(got.error().code);
  }
};

/// Wait for the peer `a` of `b`: alone, or until somebody has enough of it.
struct onlooker_workflow : workflow<onlooker_workflow> {
  static constexpr std::string_view type = "test.onlooker";

  flow<json> run(context& ctx, json is_patient) {
    child_options options;
    options.id = "a";
    auto peer = ctx.child<json>(
        "test.peer", json(boost::json::object{{"me", "a"}, {"other", "b"}}), options);
    if (is_patient.as_bool()) {
      auto got = co_await std::move(peer);
      co_return got ? *got : json(got.error().code);
    }
    co_return (co_await any(std::move(peer), ctx.signal("enough"))).index();
  }
};

/// Asks who waits for it, however long that takes.
struct asking_workflow : workflow<asking_workflow> {
  static constexpr std::string_view type = "test.asking";

  flow<json> run(context& ctx, json) {
    auto told =
        co_await ctx.call("desk", "one", "open", 1, {.timeout = std::chrono::milliseconds{0}});
    co_return told ? *told : json(told.error().code);
  }
};

struct desk_agent : agent<desk_agent, std::int64_t> {
  static constexpr std::string_view type = "desk";

  static void handlers(handler_table<desk_agent>& on) { on.message("open", &desk_agent::open); }

  flow<json> open(context& ctx, json) {
    child_options options;
    options.id = "asking";
    auto got = co_await ctx.child<json>("test.asking", json{1}, options);
    co_return got ? *got : json(got.error().code);
  }
};

std::mutex lines_mutex;
std::vector<step_promise<int>> lines;

/// Rings another, which need not do the same, once two of them want to.
struct phone_agent : agent<phone_agent, std::int64_t> {
  static constexpr std::string_view type = "phone";

  static void handlers(handler_table<phone_agent>& on) { on.message("ring", &phone_agent::ring); }

  flow<json> ring(context& ctx, json whom) {
    if (whom.is_null()) co_return "hello";
    co_await ctx.async_step<int>("dial", dial).required();
    auto told = co_await ctx.call(
        "phone",
        from_json<std::string>(whom),
        "ring",
        nullptr,
        {.timeout = std::chrono::milliseconds{0}});
    co_return told ? *told : json(told.error().code);
  }

  static void dial(const step_attempt&, step_promise<int> promise) {
    std::vector<step_promise<int>> ready;
    {
      const std::lock_guard lock{lines_mutex};
      lines.push_back(std::move(promise));
      if (lines.size() == 2) ready.swap(lines);
    }
    for (auto& one : ready)
      one.complete(1);
  }
};

bool says(const std::string& text, std::string_view what) {
  INFO(text);
  return text.find(what) != std::string::npos;
}

class stuck_fixture : public broker_fixture {
public:
  stuck_fixture() {
    settings.workflows.sweep_ms = 50;
    if (!workflows.add(parent_workflow::definition())
        || !workflows.add(first_workflow::definition())
        || !workflows.add(peer_workflow::definition())
        || !workflows.add(onlooker_workflow::definition())
        || !workflows.add(asking_workflow::definition()) || !workflows.add(desk_agent::definition())
        || !workflows.add(phone_agent::definition())) {
      FAIL("cannot add the workflows");
    }
    restart();
  }

  boost::json::object read(control_body body) {
    auto answer = ask(std::move(body));
    if (!answer) FAIL(answer.error().detail);
    return boost::json::parse(std::get<workflow_answer>(*answer).body).as_object();
  }

  std::string explained(const std::string& id) {
    return boost::json::serialize(read(explain_workflow{topic("workflow." + id)}));
  }

  std::string stuck() {
    list_workflows ask;
    ask.tenant = topic("x").tenant;
    ask.stuck = true;
    return boost::json::serialize(read(std::move(ask)).at("workflows"));
  }

  void start_one(const std::string& id, const std::string& type, const std::string& input = "1") {
    REQUIRE(ask(start_workflow{topic("workflow." + id), type, input, {}, {}}));
  }

  void signal(const std::string& id, const std::string& name) {
    REQUIRE(ask(signal_workflow{topic("workflow." + id), name, "1", ""}));
  }

  std::string result_of(const std::string& id) {
    return boost::json::serialize(read(await_workflow{topic("workflow." + id), 10'000}));
  }

  /// Looked for by the sweep alone.
  bool becomes_stuck(std::string_view code, int count = 1) {
    const auto gauge = "callboard_workflows_stuck " + std::to_string(count) + "\n";
    return eventually([&] {
      return stuck().find(code) != std::string::npos && exposed().find(gauge) != std::string::npos;
    });
  }

  bool is_stuck_no_more() {
    return eventually([&] {
      return stuck() == "[]" && exposed().find("callboard_workflows_stuck 0") != std::string::npos;
    });
  }

  /// Puts an event into the channel that no history has.
  void write_nonsense(const topic_ref& channel) {
    auto written =
        write_past(*journal, shard_of(channel), channel, [](entity_id entity, sequence last) {
          return storage::record_draft{
              storage::record_kind::event,
              entity,
              last.next(),
              make_request(1, {"nonsense"}).events.front().stored};
        });
    REQUIRE(written.get());
  }

  void lose(const topic_ref& channel) {
    REQUIRE(lose_channel(*journal, shard_of(channel), channel).get());
  }

  [[nodiscard]] shard_id shard_of(const topic_ref& channel) const {
    return shard_id{shard_index(channel, journal->shard_count())};
  }
};

}  // namespace

TEST_CASE_METHOD(stuck_fixture, "a blocked run leaves the list when its code fits again") {
  start_one("w1", "test.changing");
  REQUIRE(eventually([&] { return says(explained("w1"), "the signal 'go'"); }));
  CHECK(stuck() == "[]");
  auto fitting = std::exchange(workflows, {});
  REQUIRE(workflows.add(mistaken_workflow::definition()));
  restart();
  CHECK(says(explained("w1"), "its code does not fit its history"));
  CHECK(becomes_stuck("command_differs"));
  workflows = std::move(fitting);
  restart();
  // Nobody asks for it: it waits for a signal, and nothing but the sweep would load it.
  CHECK(is_stuck_no_more());
  restart();
  CHECK(stuck() == "[]");
  CHECK(says(explained("w1"), "it waits for the signal 'go'"));
  REQUIRE(ask(signal_workflow{topic("workflow.w1"), "go", "7", ""}));
  CHECK(says(
      boost::json::serialize(read(await_workflow{topic("workflow.w1"), 10'000})), R"("result":7)"));
}

TEST_CASE_METHOD(stuck_fixture, "code that fits no more is found though nothing wakes the run") {
  start_one("w1", "test.changing");
  REQUIRE(eventually([&] { return says(explained("w1"), "the signal 'go'"); }));
  workflows = {};
  REQUIRE(workflows.add(mistaken_workflow::definition(), "00000000deadbeef"));
  restart();
  // Nobody asks for it, and it waits for a signal.
  CHECK(becomes_stuck("command_differs"));
}

TEST_CASE_METHOD(stuck_fixture, "a run whose child is gone is stuck until that is put right") {
  start_one("w1", "test.parent");
  REQUIRE(eventually([&] { return says(explained("w1"), R"("child":{"id":"c1","run":1,)"); }));
  CHECK(says(
      explained("w1"),
      "it waits for its child of type 'test.waiting' to end (workflow 'c1', which is running)"));
  CHECK(stuck() == "[]");
  // Nobody can do that while it runs.
  const auto kept = ask(delete_topic{topic("workflow.c1")});
  REQUIRE_FALSE(kept);
  CHECK(kept.error().code == errc::wrong_kind);
  lose(topic("workflow.c1"));
  REQUIRE(becomes_stuck("child_missing"));
  CHECK(says(stuck(), R"("id":"w1")"));
  CHECK(says(explained("w1"), "workflow 'c1', which does not exist"));
  CHECK(says(explained("w1"), R"("stuck":{"class":"bug","code":"child_missing")"));
  REQUIRE(ask(
      resolve_command{topic("workflow.w1"), 1, "resolved", "asked the bank", "ann", "5", false}));
  CHECK(says(
      boost::json::serialize(read(await_workflow{topic("workflow.w1"), 10'000})), R"("result":5)"));
  CHECK(is_stuck_no_more());
}

TEST_CASE_METHOD(stuck_fixture, "a stuck run that is deleted leaves the list, also for its next") {
  start_one("w1", "test.parent");
  REQUIRE(eventually([&] { return says(explained("w1"), R"("child":{"id":"c1","run":1,)"); }));
  lose(topic("workflow.c1"));
  REQUIRE(becomes_stuck("child_missing"));
  REQUIRE(ask(terminate_workflow{topic("workflow.w1"), "", "ann"}));
  CHECK(stuck() == "[]");
  // Until it knows that there is no child to be told, in memory either.
  restart();
  REQUIRE(eventually([&] { return ask(delete_topic{topic("workflow.w1")}).has_value(); }));
  CHECK(stuck() == "[]");
  start_one("w1", "test.waiting");
  CHECK(stuck() == "[]");
  CHECK_FALSE(says(explained("w1"), "child_missing"));
}

TEST_CASE_METHOD(stuck_fixture, "runs that wait for each other are stuck until one is cancelled") {
  start_one("a", "test.peer", R"({"me":"a","other":"b"})");
  start_one("b", "test.peer", R"({"me":"b","other":"a"})");
  start_one("patient", "test.onlooker", "true");
  start_one("other", "test.onlooker", "false");
  signal("a", "go");
  REQUIRE(eventually([&] { return says(explained("a"), R"("child":{"id":"b")"); }));
  REQUIRE(eventually([&] { return says(explained("patient"), R"("child":{"id":"a")"); }));
  // That is a chain as long as somebody may tell `b` to go.
  signal("b", "go");
  REQUIRE(becomes_stuck("wait_cycle", 3));
  for (int life = 0; life < 2; ++life) {
    CHECK(says(
        explained("a"),
        "workflow 'a' waits for workflow 'b', which waits for workflow 'a', so none of them would "
        "ever end: cancel one of them"));
    CHECK(says(explained("a"), R"("stuck":{"class":"bug","code":"wait_cycle")"));
    CHECK(
        says(explained("b"), "workflow 'b' waits for workflow 'a', which waits for workflow 'b'"));
    CHECK(says(explained("patient"), "'patient' waits for workflow 'a', which waits for workflow"));
    // It can be told that somebody has enough of it.
    CHECK_FALSE(says(stuck(), R"("id":"other")"));
    restart();
    REQUIRE(becomes_stuck("wait_cycle", 3));
  }
  REQUIRE(ask(cancel_workflow{topic("workflow.a"), ""}));
  CHECK(says(result_of("b"), "child_cancelled"));
  CHECK(says(result_of("patient"), "child_cancelled"));
  CHECK(is_stuck_no_more());
}

TEST_CASE_METHOD(stuck_fixture, "runs that wait for one that waits for nobody are not stuck") {
  start_one("a", "test.peer", R"({"me":"a","other":"b"})");
  start_one("b", "test.peer", R"({"me":"b","other":"a"})");
  start_one("patient", "test.onlooker", "true");
  signal("a", "go");
  REQUIRE(eventually([&] { return says(explained("patient"), R"("child":{"id":"a")"); }));
  // Found behind all of them in order of key, at a time at which they have been looked at.
  start_one("z", "test.parent");
  REQUIRE(eventually([&] { return says(explained("z"), R"("child":{"id":"c1","run":1,)"); }));
  lose(topic("workflow.c1"));
  REQUIRE(becomes_stuck("child_missing"));
  CHECK_FALSE(says(stuck(), "wait_cycle"));
}

TEST_CASE_METHOD(stuck_fixture, "an agent whose handler waits for who asks it is stuck with it") {
  call_agent call;
  call.topic = topic("workflow.agent.desk.one");
  call.type = "agent:desk";
  call.message = "open";
  call.payload = "1";
  call.id = "m1";
  REQUIRE(ask(std::move(call)));
  REQUIRE(becomes_stuck("wait_cycle", 2));
  CHECK(says(
      explained("asking"),
      "workflow 'asking' waits for agent 'desk/one', which waits for workflow 'asking'"));
  CHECK(says(explained("agent.desk.one"), "agent 'desk/one' waits for workflow 'asking'"));
  REQUIRE(ask(cancel_workflow{topic("workflow.asking"), ""}));
  CHECK(is_stuck_no_more());
}

TEST_CASE_METHOD(stuck_fixture, "two agents that call each other are stuck until one goes on") {
  const auto ring = [&](const std::string& who, const std::string& whom) {
    call_agent call;
    call.topic = topic("workflow.agent.phone." + who);
    call.type = "agent:phone";
    call.message = "ring";
    call.payload = '"' + whom + '"';
    call.id = "m1";
    REQUIRE(ask(std::move(call)));
  };
  ring("a", "b");
  ring("b", "a");
  REQUIRE(becomes_stuck("wait_cycle", 2));
  CHECK(says(
      explained("agent.phone.a"),
      "agent 'phone/a' waits for agent 'phone/b', which waits for agent 'phone/a', so none of them "
      "would ever end: end what one waits for by hand (`workflow resolve` or `skip`)"));
  CHECK(says(
      explained("agent.phone.b"),
      "agent 'phone/b' waits for agent 'phone/a', which waits for agent 'phone/b'"));
  CHECK(says(stuck(), R"("id":"agent.phone.a")"));
  const auto waiting = read(explain_workflow{topic("workflow.agent.phone.a")}).at("waiting_for");
  std::uint32_t command = 0;
  for (const auto& one : waiting.as_array()) {
    if (one.at("kind") == "call") command = one.at("command").to_number<std::uint32_t>();
  }
  REQUIRE(ask(resolve_command{
      topic("workflow.agent.phone.a"), command, "resolved", "hung up", "ann", "5", false}));
  CHECK(is_stuck_no_more());
}

TEST_CASE_METHOD(stuck_fixture, "what a run waits for is looked at without waking it") {
  start_one("c1", "test.waiting");
  const auto look = [&](const std::string& id) {
    return look_at(*journal, awaited{7, topic("workflow." + id), {}, {}});
  };
  CHECK(look("c1").state == wait_state::there);
  CHECK(look("c1").command == 7);
  REQUIRE(ask(signal_workflow{topic("workflow.c1"), "go", "7", ""}));
  (void)read(await_workflow{topic("workflow.c1"), 10'000});
  CHECK(look("c1").state == wait_state::ended);
  CHECK(look("c1").words == "workflow 'c1', which has ended as completed");
  CHECK(look("c2").state == wait_state::missing);
  const queue_ref queue{topic("x").tenant, queue_name::parse("llm").value()};
  const auto look_at_task = [&](const std::string& origin) {
    return look_at(*journal, awaited{1, {}, queue, origin});
  };
  CHECK(look_at_task("1/1/f/workflow.w").state == wait_state::queue_missing);
  enqueue_task ask_for{queue, {}};
  ask_for.task.payload = shared_bytes{std::string{"1"}};
  ask_for.task.origin = "1/1/f/workflow.w";
  REQUIRE(ask(ask_for));
  CHECK(look_at_task("1/1/f/workflow.w").state == wait_state::there);
  CHECK(look_at_task("1/2/f/workflow.w").state == wait_state::missing);
}

TEST_CASE_METHOD(stuck_fixture, "an unreadable run can be terminated though others ask for it") {
  start_one("w1", "test.waiting");
  REQUIRE(eventually([&] { return says(explained("w1"), "the signal 'go'"); }));
  write_nonsense(topic("workflow.w1"));
  restart();
  const auto channel = topic("workflow.w1");
  router->attach({channel, 10}, self());
  // The relay waits, so the run is read again and again.
  CHECK(ask(get_workflow{channel}).error().code == errc::corruption);
  // Also right behind somebody else who asks.
  if (GENERATE(false, true)) {
    REQUIRE(router->control({correlation_id{1'000'000}, get_workflow{channel}}, self()));
    REQUIRE(router->control(
        {correlation_id{1'000'001}, terminate_workflow{channel, "beyond repair", "ada"}}, self()));
    int answers = 0;
    while (answers < 2) {
      (*client)->receive(
          [&](boxed<control_reply>& reply) {
            ++answers;
            if (reply->correlation.raw() == 1'000'001) CHECK(reply->outcome);
          },
          caf::after(patience) >> [] { FAIL("no answer"); });
    }
  } else {
    CHECK(ask(terminate_workflow{channel, "beyond repair", "ada"}));
  }
  CHECK(says(boost::json::serialize(read(get_workflow{channel})), R"("message":"beyond repair")"));
}

TEST_CASE_METHOD(stuck_fixture, "a run whose history cannot be read is found though nobody asks") {
  start_one("w1", "test.waiting");
  start_one("w2", "test.waiting");
  REQUIRE(eventually([&] { return says(explained("w1"), "the signal 'go'"); }));
  write_nonsense(topic("workflow.w1"));
  restart();
  REQUIRE(becomes_stuck("history_unreadable"));
  CHECK(says(stuck(), R"("id":"w1")"));
  CHECK(says(stuck(), "of a run is unreadable"));
  CHECK_FALSE(says(stuck(), R"("id":"w2")"));
  CHECK(ask(get_workflow{topic("workflow.w1")}).error().code == errc::corruption);
  // It can be ended all the same, and is then known by its row.
  for (int life = 0; life < 2; ++life) {
    const auto ended = read(terminate_workflow{topic("workflow.w1"), "beyond repair", "ada"});
    CHECK(ended.at("outcome") == "terminated");
    CHECK(says(
        boost::json::serialize(read(get_workflow{topic("workflow.w1")})),
        R"("message":"beyond repair")"));
    CHECK(is_stuck_no_more());
    restart();
  }
  REQUIRE(ask(delete_topic{topic("workflow.w1")}));
}

}  // namespace callboard::testing
