// Runs that are put right by hand: begun anew, forked, their commands ended.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/unmarked.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;

namespace {

std::atomic<bool> is_broken{false};
std::atomic<int> first_runs{0};
std::mutex seen_mutex;
/// Keys of the calls of `second`, in order.
std::vector<std::string> second_keys;
/// The promises of `held_workflow`, by idempotency key.
std::map<std::string, step_promise<int>> held;

struct fragile_workflow : workflow<fragile_workflow> {
  static constexpr std::string_view type = "test.fragile";

  flow<json> run(context& ctx, json) {
    const auto first = co_await ctx.step("first", [] { return ++first_runs; }).required();
    const auto drawn = ctx.random();
    const auto second = co_await ctx
                            .step(
                                "second",
                                [](const step_attempt& attempt) -> outcome<int> {
                                  const std::lock_guard lock{seen_mutex};
                                  second_keys.push_back(unmarked(attempt.idempotency_key));
                                  if (is_broken) return give_up("broken", "it is broken");
                                  return 2;
                                })
                            .required();
    co_return json(boost::json::object{{"first", first}, {"second", second}, {"drawn", drawn}});
  }
};

/// Version 2 needs one step more at the end.
struct fragile_workflow_2 : workflow<fragile_workflow_2> {
  static constexpr std::string_view type = "test.fragile";
  static constexpr std::uint32_t version = 2;

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.step("first", [] { return ++first_runs; }).required();
    co_return json(co_await ctx.step("other", [] { return 22; }).required());
  }
};

struct large_workflow : workflow<large_workflow> {
  static constexpr std::string_view type = "test.large";

  flow<json> run(context& ctx, json input) {
    const auto bytes = from_json<std::size_t>(input);
    ctx.set_status(json(std::string(config{}.workflows.state_bytes_max + 1, 's')));
    const auto got = co_await ctx.step("make", [bytes] { return std::string(bytes, 'x'); });
    if (!got) co_return json(got.error().code);
    co_return json(*got + *got);
  }
};

/// Many events in few transitions, and then the signal `go`.
struct long_workflow : workflow<long_workflow> {
  static constexpr std::string_view type = "test.long";

  flow<json> run(context& ctx, json input) {
    const auto rounds = from_json<int>(input);
    for (int i = 0; i < rounds; ++i) {
      for (int shown = 0; shown < 1000; ++shown)
        co_await ctx.update(shown).required();
      (void)co_await ctx.step("first", [] { return ++first_runs; }).required();
    }
    co_return co_await ctx.signal("go").required();
  }
};

/// Hands on more than it may, of each kind; gives the codes.
struct generous_workflow : workflow<generous_workflow> {
  static constexpr std::string_view type = "test.generous";

  flow<json> run(context& ctx, json) {
    const std::string much(3000, 'x');
    boost::json::array codes;
    codes.push_back(json(error_of(co_await ctx.publish("orders", much))));
    codes.push_back(json(error_of(co_await ctx.task("llm", much))));
    codes.push_back(json(error_of(co_await ctx.child<json>("test.long", much))));
    (void)co_await ctx.update(much);
    codes.push_back(json(error_of(co_await ctx.step("small", [] { return 1; }))));
    co_return codes;
  }

  template <class Outcome>
  static std::string error_of(const Outcome& got) {
    return got ? "none" : got.error().code;
  }
};

struct stated_workflow : workflow<stated_workflow> {
  static constexpr std::string_view type = "test.stated";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.step("first", [] { return ++first_runs; }).required();
    ctx.set_status("drafted");
    co_return co_await ctx.signal("go").required();
  }
};

/// Has the workflow of that id as its child.
struct circular_workflow : workflow<circular_workflow> {
  static constexpr std::string_view type = "test.circular";

  flow<json> run(context& ctx, json id) {
    const auto got = co_await ctx.child("test.circular", id, {.id = from_json<std::string>(id)});
    co_return got ? *got : json(got.error().code);
  }
};

/// Has the second of the ids as its child, with the ids in turn.
struct chained_workflow : workflow<chained_workflow> {
  static constexpr std::string_view type = "test.chained";

  flow<json> run(context& ctx, std::vector<std::string> ids) {
    std::ranges::rotate(ids, ids.begin() + 1);
    const auto got = co_await ctx.child("test.chained", to_json(ids), {.id = ids.front()});
    co_return got ? *got : json(got.error().code);
  }
};

struct held_workflow : workflow<held_workflow> {
  static constexpr std::string_view type = "test.held";

  flow<json> run(context& ctx, json) {
    auto got = co_await ctx.async_step<int>(
        "elsewhere", [](const step_attempt& attempt, step_promise<int> promise) {
          const std::lock_guard lock{seen_mutex};
          held.insert_or_assign(unmarked(attempt.idempotency_key), std::move(promise));
        });
    if (!got) co_return json(got.error().code);
    const auto go = co_await ctx.signal("go").required();
    co_return json(boost::json::object{{"got", *got}, {"go", go}});
  }
};

bool is_held(const std::string& key) {
  const std::lock_guard lock{seen_mutex};
  return held.contains(key);
}

step_promise<int> take_held(const std::string& key) {
  const std::lock_guard lock{seen_mutex};
  return held.extract(key).mapped();
}

bool says(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

class repair_fixture : public broker_fixture {
public:
  repair_fixture() {
    is_broken = false;
    first_runs = 0;
    second_keys.clear();
    held.clear();
    if (!workflows.add(fragile_workflow::definition())
        || !workflows.add(large_workflow::definition())
        || !workflows.add(held_workflow::definition())
        || !workflows.add(stated_workflow::definition())
        || !workflows.add(circular_workflow::definition())
        || !workflows.add(chained_workflow::definition())
        || !workflows.add(generous_workflow::definition())
        || !workflows.add(long_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  void start_one(const std::string& id, const std::string& type) {
    REQUIRE(ask(start_workflow{topic("workflow." + id), type, "1", "c-" + id, {}}));
  }

  boost::json::object read(control_body body) {
    auto answer = ask(std::move(body));
    if (!answer) FAIL(answer.error().detail);
    return boost::json::parse(std::get<workflow_answer>(*answer).body).as_object();
  }

  std::string ended(const std::string& id) {
    return boost::json::serialize(read(await_workflow{topic("workflow." + id), 10'000}));
  }

  boost::json::object shown(const std::string& id) {
    return read(get_workflow{topic("workflow." + id)});
  }

  result<control_answer>
  restart_from(const std::string& id, const std::string& from, std::uint32_t version = 0) {
    return ask(restart_workflow{
        topic("workflow." + id),
        {.from = from, .reason = "put right", .who = "ann", .version = version}});
  }

  result<control_answer>
  fork_from(const std::string& id, const std::string& to, const std::string& from) {
    return ask(fork_workflow{
        topic("workflow." + id),
        topic("workflow." + to),
        {.from = from, .reason = "to look", .who = "ann"}});
  }

  result<control_answer>
  resolve(const std::string& id, std::uint32_t command, const std::string& with, bool failed) {
    return ask(resolve_command{
        topic("workflow." + id), command, "resolved", "asked the bank", "ann", with, failed});
  }

  std::string channel(const std::string& id) {
    auto page = ask(read_events{.topic = topic("workflow." + id), .from = runtime::from_first{}});
    if (!page) FAIL(page.error().detail);
    std::string text;
    for (const auto& one : std::get<event_page>(*page).batch->events)
      text += std::string{runtime::event_proto(one.stored)} + '\n';
    return text;
  }
};

}  // namespace

TEST_CASE_METHOD(repair_fixture, "a failed run goes on at the step that failed") {
  is_broken = true;
  start_one("w1", "test.fragile");
  REQUIRE(says(ended("w1"), R"("code":"broken")"));
  is_broken = false;
  const auto from = GENERATE("second", "2");
  REQUIRE(restart_from("w1", from));
  const auto result = ended("w1");
  CHECK(says(result, R"("status":"completed")"));
  CHECK(says(result, R"("first":1,"second":2)"));
  CHECK(first_runs == 1);
  CHECK(second_keys == std::vector<std::string>{"w1.1.2", "w1.2.2"});
  CHECK(shown("w1").at("run").as_int64() == 2);
  const auto story = channel("w1");
  CHECK(says(story, "workflow.restarted"));
  CHECK(says(
      story,
      R"("who":"ann","reason":"put right","from":{"id":"w1","run":1,"command":2,"name":"second"})"));
  restart();
  CHECK(ended("w1") == result);
  // Once more, from the very beginning: also a run that completed.
  REQUIRE(restart_from("w1", "first"));
  CHECK(says(ended("w1"), R"("first":2,"second":2)"));
  CHECK(shown("w1").at("run").as_int64() == 3);
}

TEST_CASE_METHOD(repair_fixture, "a restart survives the node, and is replayed like any run") {
  start_one("w1", "test.held");
  REQUIRE(eventually([] { return is_held("w1.1.1"); }));
  take_held("w1.1.1").complete(1);
  REQUIRE(eventually([&] { return says(boost::json::serialize(shown("w1")), "\"signal\""); }));
  REQUIRE(restart_from("w1", "go"));
  restart();
  // The copy of the record has the result of the step, the new run only asked for the signal.
  CHECK_FALSE(is_held("w1.2.1"));
  CHECK(shown("w1").at("run").as_int64() == 2);
  REQUIRE(ask(signal_workflow{topic("workflow.w1"), "go", "7", "k"}));
  CHECK(says(ended("w1"), R"({"got":1,"go":7})"));
}

TEST_CASE_METHOD(
    repair_fixture, "a running run is ended first, and what its steps bring is dropped") {
  start_one("w1", "test.held");
  REQUIRE(eventually([] { return is_held("w1.1.1"); }));
  REQUIRE(restart_from("w1", "elsewhere"));
  REQUIRE(eventually([] { return is_held("w1.2.1"); }));
  take_held("w1.1.1").complete(1);
  // Behind whatever the late result could have done.
  REQUIRE(ask(signal_workflow{topic("workflow.w1"), "go", "7", "k"}));
  CHECK(shown("w1").at("steps").as_array().at(0).at("status") == "running");
  take_held("w1.2.1").complete(2);
  CHECK(says(ended("w1"), R"({"got":2,"go":7})"));
  CHECK(says(channel("w1"), R"("code":"restarted")"));
}

TEST_CASE_METHOD(repair_fixture, "a long record is copied in slices") {
  REQUIRE(ask(start_workflow{topic("workflow.w1"), "test.long", "3", {}, {}}));
  REQUIRE(eventually([&] { return says(boost::json::serialize(shown("w1")), "\"signal\""); }));
  // From the last command, and from one before which several slices end.
  REQUIRE(restart_from("w1", "go"));
  CHECK(eventually([&] { return shown("w1").at("commands").as_int64() == 3004; }));
  CHECK(first_runs == 3);
  const auto copied_bytes = shown("w1").at("history_bytes");
  restart();
  CHECK(shown("w1").at("history_bytes") == copied_bytes);
  CHECK(shown("w1").at("run").as_int64() == 2);
  CHECK(says(boost::json::serialize(shown("w1")), "\"signal\""));
  REQUIRE(restart_from("w1", "2002"));
  REQUIRE(ask(signal_workflow{topic("workflow.w1"), "go", "7", "k"}));
  CHECK(says(ended("w1"), R"("result":7)"));
  CHECK(first_runs == 5);
  CHECK(shown("w1").at("run").as_int64() == 3);
  // Once it has ended, how it came to that is shown, and that it is not all.
  const auto bytes = shown("w1").at("history_bytes");
  restart();
  const auto last = shown("w1");
  CHECK(last.at("history_bytes") == bytes);
  CHECK(last.at("steps").as_array().back().at("name") == "go");
  CHECK(last.at("steps").as_array().back().at("status") == "completed");
  const auto omitted = last.at("steps_omitted").as_int64();
  CHECK(omitted + static_cast<std::int64_t>(last.at("steps").as_array().size()) == 3004);
  CHECK(last.at("input").as_int64() == 3);
}

TEST_CASE_METHOD(repair_fixture, "a record of a hundred thousand commands is restarted") {
  REQUIRE(ask(start_workflow{topic("workflow.w1"), "test.long", "100", {}, {}}));
  const auto commands = [&] { return shown("w1").at("commands").as_int64(); };
  for (int tries = 0; tries < 100 && commands() < 100'101; ++tries)
    (void)read(await_workflow{topic("workflow.w1"), 1000});
  REQUIRE(commands() == 100'101);
  REQUIRE(restart_from("w1", "go"));
  CHECK(shown("w1").at("run").as_int64() == 2);
  REQUIRE(ask(signal_workflow{topic("workflow.w1"), "go", "7", "k"}));
  CHECK(says(ended("w1"), R"("result":7)"));
  CHECK(first_runs == 100);
}

TEST_CASE_METHOD(repair_fixture, "a copy that was never finished is nothing, and is made anew") {
  REQUIRE(ask(start_workflow{topic("workflow.w1"), "test.long", "3", {}, {}}));
  REQUIRE(eventually([&] { return says(boost::json::serialize(shown("w1")), "\"signal\""); }));
  const auto events_of = [&](const std::string& id) {
    const auto known = ask(get_topic{topic("workflow." + id)});
    return known ? std::get<topic_description>(*known).last_seq.raw() : 0;
  };
  const auto before = events_of("w1");
  const bool is_fork = GENERATE(false, true);
  const std::string id = is_fork ? "w2" : "w1";
  const rerun_order order{.from = "go", .reason = "put right", .who = "ann"};
  const control_body body =
      is_fork ? control_body{fork_workflow{topic("workflow.w1"), topic("workflow.w2"), order}}
              : control_body{restart_workflow{topic("workflow.w1"), order}};
  const auto begun = is_fork ? 500U : before + 500;
  {
    // Its answer must not come among those of the others.
    caf::scoped_actor asker{*system, true};
    REQUIRE(
        router->control({correlation_id{1 << 20}, body}, caf::actor_cast<caf::actor>(asker.ptr())));
    REQUIRE(eventually([&] { return events_of(id) >= begun; }));
  }
  restart();
  const auto left = events_of(id);
  INFO(left);
  const auto first = shown("w1");
  if (is_fork && left < 3000) {
    CHECK(ask(get_workflow{topic("workflow.w2")}).error().code == errc::workflow_not_found);
  }
  if (!is_fork && left < before + 3000) CHECK(first.at("run").as_int64() == 1);
  CHECK(first.at("status") == "running");
  // A run goes on behind what is left of a copy, and the next copy leaves that out.
  REQUIRE(ask(body));
  REQUIRE(ask(signal_workflow{topic("workflow." + id), "go", "7", "k"}));
  CHECK(says(ended(id), R"("result":7)"));
  CHECK(shown(id).at("commands").as_int64() == 3004);
  CHECK(first_runs == 3);
  restart();
  CHECK(says(ended(id), R"("result":7)"));
}

TEST_CASE_METHOD(repair_fixture, "a run may be restarted into another version") {
  REQUIRE(workflows.add(fragile_workflow_2::definition()));
  is_broken = true;
  auto answer = ask(start_workflow{topic("workflow.w1"), "test.fragile", "1", {}, {}});
  REQUIRE(answer);
  CHECK(says(ended("w1"), R"("result":22)"));
  REQUIRE(restart_from("w1", "other", 1));
  CHECK(says(ended("w1"), R"("code":"broken")"));
  CHECK(shown("w1").at("version").as_int64() == 1);
  CHECK(restart_from("w1", "1", 7).error().code == errc::bad_request);
}

TEST_CASE_METHOD(repair_fixture, "a fork shows the state that its code has come to") {
  const auto state_of = [&](const std::string& id) {
    return boost::json::serialize(shown(id).at("state"));
  };
  start_one("w1", "test.stated");
  REQUIRE(eventually([&] { return state_of("w1") == R"("drafted")"; }));
  REQUIRE(fork_from("w1", "w2", "go"));
  CHECK(eventually([&] { return state_of("w2") == R"("drafted")"; }));
  restart();
  CHECK(eventually([&] { return state_of("w2") == R"("drafted")"; }));
}

TEST_CASE_METHOD(repair_fixture, "a workflow that would wait for itself hears so") {
  const auto begin = [&](const std::string& id, const std::string& child) {
    REQUIRE(
        ask(start_workflow{topic("workflow." + id), "test.circular", '"' + child + '"', "", {}}));
  };
  begin("w1", "w1");
  CHECK(says(ended("w1"), R"("result":"child_cycle")"));
  // A child that would be its own.
  begin("w2", "w3");
  CHECK(says(ended("w2"), R"("result":"child_cycle")"));
  // What is an agent's is no child's, whatever this node is started with.
  begin("w4", "agent.smith");
  CHECK(says(ended("w4"), R"("result":"bad_request")"));
}

TEST_CASE_METHOD(repair_fixture, "a circle of children is told, also after a restart") {
  const auto begin = [&](const std::vector<std::string>& ids) {
    const auto input = boost::json::serialize(to_json(ids));
    REQUIRE(ask(start_workflow{topic("workflow." + ids.front()), "test.chained", input, "", {}}));
  };
  begin({"a1", "a2", "a3"});
  CHECK(says(ended("a1"), R"("result":"child_cycle")"));
  CHECK(says(ended("a3"), R"("result":"child_cycle")"));
  REQUIRE(restart_from("a3", ""));
  CHECK(says(ended("a3"), R"("result":"child_cycle")"));
  std::vector<std::string> ids;
  for (int i = 0; i < 70; ++i)
    ids.push_back("b" + std::to_string(i));
  begin(ids);
  CHECK(says(ended("b0"), R"("result":"children_too_deep")"));
  CHECK(says(ended("b63"), R"("result":"children_too_deep")"));
  CHECK(ask(get_workflow{topic("workflow.b64")}).error().code == errc::workflow_not_found);
}

TEST_CASE_METHOD(repair_fixture, "restarts that make no sense are refused and change nothing") {
  start_one("w1", "test.fragile");
  const auto result = ended("w1");
  CHECK(restart_from("w1", "nothing").error().code == errc::not_found);
  CHECK(restart_from("w1", "17").error().code == errc::not_found);
  CHECK(restart_from("w9", "1").error().code == errc::workflow_not_found);
  CHECK(fork_from("w9", "w10", "").error().code == errc::workflow_not_found);
  CHECK(ask(get_workflow{topic("workflow.w10")}).error().code == errc::workflow_not_found);
  CHECK(fork_from("w1", "w1", "").error().code == errc::workflow_exists);
  CHECK(ended("w1") == result);
  CHECK(shown("w1").at("run").as_int64() == 1);
}

TEST_CASE_METHOD(repair_fixture, "a fork goes its own way from the same record") {
  start_one("w1", "test.held");
  REQUIRE(eventually([] { return is_held("w1.1.1"); }));
  take_held("w1.1.1").complete(1);
  REQUIRE(eventually([&] { return says(boost::json::serialize(shown("w1")), "\"signal\""); }));
  auto made = fork_from("w1", "w2", "");
  REQUIRE(made);
  CHECK(std::get<workflow_answer>(*made).created);
  auto again = fork_from("w1", "w2", "");
  REQUIRE(again);
  CHECK_FALSE(std::get<workflow_answer>(*again).created);
  CHECK(fork_from("w1", "w2", "go").error().code == errc::workflow_exists);
  REQUIRE(ask(signal_workflow{topic("workflow.w2"), "go", "7", "k"}));
  CHECK(says(ended("w2"), R"({"got":1,"go":7})"));
  CHECK_FALSE(is_held("w2.1.1"));
  CHECK(says(channel("w2"), "workflow.forked"));
  CHECK(shown("w1").at("status") == "running");
  // From an earlier command; its step is made anew, under the fork's own key.
  REQUIRE(fork_from("w1", "w3", "elsewhere"));
  REQUIRE(eventually([] { return is_held("w3.1.1"); }));
  const auto lost = take_held("w3.1.1");
  restart();
  REQUIRE(eventually([] { return is_held("w3.1.1"); }));
  take_held("w3.1.1").complete(3);
  REQUIRE(ask(signal_workflow{topic("workflow.w3"), "go", "8", "k"}));
  CHECK(says(ended("w3"), R"({"got":3,"go":8})"));
}

TEST_CASE_METHOD(repair_fixture, "a run without code is forked and restarted all the same") {
  start_one("w1", "test.held");
  REQUIRE(eventually([] { return is_held("w1.1.1"); }));
  auto kept = std::exchange(workflows, {});
  restart();
  REQUIRE(restart_from("w1", "elsewhere"));
  CHECK(says(boost::json::serialize(shown("w1")), "no_code"));
  REQUIRE(fork_from("w1", "w2", ""));
  CHECK(says(boost::json::serialize(shown("w2")), "no_code"));
  CHECK(resolve("w1", 1, "5", false).error().code == errc::wrong_kind);
  workflows = std::move(kept);
  restart();
  REQUIRE(eventually([] { return is_held("w1.2.1"); }));
  REQUIRE(eventually([] { return is_held("w2.1.1"); }));
}

TEST_CASE_METHOD(repair_fixture, "an open command is ended by hand") {
  start_one("w1", "test.held");
  REQUIRE(eventually([] { return is_held("w1.1.1"); }));
  SECTION("with a result") {
    REQUIRE(resolve("w1", 1, "5", false));
    // Too late, and dropped.
    take_held("w1.1.1").complete(1);
    CHECK(resolve("w1", 1, "6", false).error().code == errc::wrong_kind);
    REQUIRE(resolve("w1", 2, "7", false));
    CHECK(says(ended("w1"), R"({"got":5,"go":7})"));
    CHECK(says(
        channel("w1"), R"("by_hand":{"how":"resolved","who":"ann","reason":"asked the bank"})"));
  }
  SECTION("with a failure") {
    REQUIRE(
        resolve("w1", 1, R"({"class":"permanent","code":"lost","message":"it is gone"})", true));
    CHECK(says(ended("w1"), R"("result":"lost")"));
  }
  SECTION("and never one that is not there") {
    CHECK(resolve("w1", 2, "5", false).error().code == errc::wrong_kind);
    CHECK(resolve("w9", 1, "5", false).error().code == errc::workflow_not_found);
    return;
  }
  const auto result = ended("w1");
  restart();
  CHECK(ended("w1") == result);
  CHECK(resolve("w1", 1, "5", false).error().code == errc::wrong_kind);
}

TEST_CASE_METHOD(repair_fixture, "workflows that nothing would wake are listed with the reason") {
  const auto list = [&](bool stuck, std::string status = {}) {
    list_workflows ask;
    ask.tenant = topic("x").tenant;
    ask.stuck = stuck;
    ask.status = std::move(status);
    return boost::json::serialize(read(std::move(ask)).at("workflows"));
  };
  start_one("w1", "test.held");
  start_one("w2", "test.fragile");
  (void)ended("w2");
  CHECK(list(true) == "[]");
  CHECK_FALSE(says(list(false), "stuck"));
  auto kept = std::exchange(workflows, {});
  restart();
  CHECK(says(list(true), R"("id":"w1")"));
  CHECK(says(list(true), R"("stuck":{"class":"bug","code":"no_code")"));
  CHECK_FALSE(says(list(true), "w2"));
  // As `show` says.
  CHECK(says(list(false, "blocked"), R"("id":"w1")"));
  CHECK_FALSE(says(list(false, "blocked"), "w2"));
  CHECK(list(false, "running") == "[]");
  workflows = std::move(kept);
  restart();
  CHECK(list(true) == "[]");
  CHECK(list(false, "blocked") == "[]");
}

TEST_CASE_METHOD(repair_fixture, "what is too large for a history fails at once") {
  const auto most = settings.workflows.result_bytes_max;
  const auto start = [&](const std::string& id, const std::string& input) {
    return ask(start_workflow{topic("workflow." + id), "test.large", input, {}, {}});
  };
  // The step, and then the run.
  REQUIRE(start("w1", std::to_string(most + 1)));
  CHECK(says(ended("w1"), R"("result":"result_too_large")"));
  REQUIRE(start("w2", std::to_string(most - 10)));
  CHECK(says(ended("w2"), R"("status":"failed")"));
  CHECK(says(ended("w2"), R"("code":"result_too_large")"));
  CHECK(says(boost::json::serialize(shown("w2").at("state")), "state_too_large"));
  CHECK(
      start("w3", '"' + std::string(settings.workflows.input_bytes_max, 'x') + '"').error().code
      == errc::too_large);
  start_one("w4", "test.held");
  const auto refused = ask(signal_workflow{
      topic("workflow.w4"),
      "go",
      '"' + std::string(settings.workflows.signal_bytes_max, 'x') + '"',
      ""});
  REQUIRE_FALSE(refused);
  CHECK(says(refused.error().detail, "1048576 bytes (workflows.signal_bytes_max)"));
  CHECK(refused.error().code == errc::too_large);
}

TEST_CASE_METHOD(repair_fixture, "what is too large is a setting") {
  settings.workflows.arguments_bytes_max = 2000;
  settings.workflows.result_bytes_max = 1000;
  settings.workflows.input_bytes_max = 500;
  settings.workflows.signal_bytes_max = 400;
  settings.workflows.state_bytes_max = 300;
  restart();
  start_one("w1", "test.generous");
  const auto result = ended("w1");
  CHECK(says(
      result, R"(["arguments_too_large","arguments_too_large","arguments_too_large","none"])"));
  const auto story = channel("w1");
  CHECK_FALSE(says(story, "xxxx"));
  CHECK(says(story, R"("arguments_too_large":true)"));
  CHECK(says(story, "2000 bytes (workflows.arguments_bytes_max)"));
  restart();
  CHECK(ended("w1") == result);
  const auto refusal = ask(
      start_workflow{topic("workflow.w2"), "test.held", '"' + std::string(500, 'x') + '"', {}, {}});
  CHECK(says(refusal.error().detail, "500 bytes (workflows.input_bytes_max)"));
  REQUIRE(ask(start_workflow{topic("workflow.w3"), "test.large", "1001", {}, {}}));
  CHECK(says(ended("w3"), R"("result":"result_too_large")"));
  CHECK(says(channel("w3"), "1000 bytes (workflows.result_bytes_max)"));
  CHECK(says(boost::json::serialize(shown("w3").at("state")), "more than 300 bytes"));
}

TEST_CASE_METHOD(repair_fixture, "only what is over, and for so long, is deleted by the sweep") {
  using namespace std::chrono_literals;
  start_one("w1", "test.held");
  start_one("w2", "test.fragile");
  (void)ended("w2");
  const auto delete_if = [&](const std::string& id, std::chrono::milliseconds after_now) {
    const auto now = journal->shard_time(shard_id{0});
    return ask(delete_topic{topic("workflow." + id), now + after_now});
  };
  CHECK(delete_if("w1", 1h).error().code == errc::wrong_kind);
  CHECK(delete_if("w2", -1h).error().code == errc::wrong_kind);
  // Begun anew before the deletion came.
  REQUIRE(restart_from("w2", "first"));
  (void)ended("w2");
  CHECK(delete_if("w2", -1h).error().code == errc::wrong_kind);
  CHECK(shown("w2").at("run").as_int64() == 2);
  REQUIRE(delete_if("w2", 1h));
  CHECK(ask(get_workflow{topic("workflow.w2")}).error().code == errc::workflow_not_found);
  CHECK(shown("w1").at("status") == "running");
}

}  // namespace callboard::testing
