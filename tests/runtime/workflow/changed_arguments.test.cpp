// What a build hands on otherwise than it is recorded: told beside whether it fits.
#include "runtime/workflow/run_check.hpp"

#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/join.hpp>
#include <callboard/workflow.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace callboard {

using namespace std::chrono_literals;
using boost::json::object;
using runtime::changed_argument;
using runtime::replay_check;
using runtime::run_event;
using runtime::run_event_kind;
using tests::scripted_run;

namespace {

/// Asks for one of each. Version by version the same, but for what is handed on.
template <bool IsChanged>
struct handing_on : workflow<handing_on<IsChanged>> {
  static constexpr std::string_view type = "handing_on";

  flow<json> run(context& ctx, json) {
    const auto now = IsChanged ? 2 : 1;
    const std::string much(300, IsChanged ? 'y' : 'x');
    model_request question;
    question.model = IsChanged ? "large" : "small";
    question.messages.emplace_back(user_message(much));
    co_await all(
        ctx.step("step", [] { return IsChanged; }),
        ctx.publish("out", object{{"total", now}, {"same", 1.5}}),
        ctx.child("kid", IsChanged ? json("kid") : json(nullptr), {.id = "k"}),
        ctx.call("agent", "a", "ask", object{{"deep", object{{"count", now}}}}, {.timeout = 1h}),
        ctx.task(
            "llm",
            much,
            {.priority = IsChanged ? task_priority::bulk : task_priority::normal, .timeout = 0ms}),
        ctx.model("say", std::move(question)),
        ctx.sleep(IsChanged ? 2h : 1h),
        ctx.signal("go", IsChanged ? 3h : 1h),
        ctx.sleep_until(std::chrono::sys_time{std::chrono::milliseconds{9'000'000 + now}}));
    co_return json{};
  }
};

struct waits_first : workflow<waits_first> {
  static constexpr std::string_view type = "waits_first";

  flow<json> run(context& ctx, json) {
    co_await ctx.signal("go").required();
    co_await ctx.sleep(1h).required();
    co_return json{};
  }
};

replay_check check(const workflow_definition& code, const scripted_run& run) {
  runtime::workflow_registry classes;
  REQUIRE(classes.add(code));
  auto checked = runtime::check_replay(classes, {"w1", run.history});
  REQUIRE(checked);
  return *std::move(checked);
}

/// A run whose start names its class.
template <class Workflow>
scripted_run begun() {
  scripted_run run{Workflow::definition()};
  runtime::run_start start;
  start.identity = scripted_run::identity();
  start.identity.type = Workflow::type;
  start.build = "0123";
  const auto time = run.history.front().time;
  run.history.front() = runtime::make_started(start);
  run.history.front().time = time;
  return run;
}

}  // namespace

TEST_CASE("arguments that a build changes are told, and are no mismatch", "[workflow][replay]") {
  const auto run = begun<handing_on<false>>();
  const auto same = check(handing_on<false>::definition(), run);
  CHECK_FALSE(same.mismatch);
  CHECK(same.changed.empty());
  const auto other = check(handing_on<true>::definition(), run);
  CHECK_FALSE(other.mismatch);
  CHECK(other.changed_omitted == 0);
  std::map<std::string, const changed_argument*> by_place;
  for (const auto& one : other.changed)
    by_place[std::to_string(one.command) + ' ' + one.member] = &one;
  const auto says = [&](const std::string& place, std::string_view before, std::string_view now) {
    INFO(place);
    REQUIRE(by_place.contains(place));
    CHECK(by_place.at(place)->recorded == before);
    CHECK(by_place.at(place)->attempted == now);
  };
  says("2 data.total", "1", "2");
  says("3 input", "null", R"("kid")");
  says("4 payload.deep.count", "1", "2");
  says("5 priority", R"("normal")", R"("bulk")");
  says("6 model", R"("small")", R"("large")");
  says("7 delay_ms", "3600000", "7200000");
  says("8 timeout_ms", "3600000", "10800000");
  says("9 until_ms", "9000001", "9000002");
  CHECK(by_place.at("5 payload")->kind == command_kind::task);
  CHECK(by_place.at("5 payload")->name == "llm");
  // What is long is cut off, and told from others by its hash.
  CHECK(by_place.at("5 payload")->recorded.starts_with("\"xxx"));
  CHECK(by_place.at("5 payload")->recorded.find("… (302 bytes, ") != std::string::npos);
  // No more than that: what a step does and what a model is told are not recorded.
  CHECK(by_place.size() == 9);
  CHECK(other.changed.size() == 9);
}

TEST_CASE("a time that began late is not taken for a changed one", "[workflow][replay]") {
  auto run = begun<waits_first>();
  // Recorded while there was no code.
  run_event go;
  go.kind = run_event_kind::signalled;
  go.name = "go";
  go.time = run.now;
  run.history.push_back(go);
  run.now += 24h;
  run.crash();
  REQUIRE(run.engine->open().contains(2));
  const auto late = check(waits_first::definition(), run);
  CHECK_FALSE(late.mismatch);
  CHECK(late.changed.empty());
}

TEST_CASE("code fits a run that it did not end", "[workflow][replay]") {
  const auto ended_by = [](const std::string& code) {
    auto run = begun<waits_first>();
    run_event end;
    end.kind = run_event_kind::ended;
    end.status = runtime::run_status::failed;
    end.why = failure{failure_class::bug, code, "not by its code"};
    end.time = run.now;
    run.history.push_back(std::move(end));
    return check(waits_first::definition(), run);
  };
  CHECK_FALSE(ended_by("terminated").mismatch);
  CHECK_FALSE(ended_by("restarted").mismatch);
  CHECK_FALSE(ended_by("transition_too_large").mismatch);
  CHECK_FALSE(ended_by("command_differs").mismatch);
  CHECK_FALSE(ended_by("command_missing").mismatch);
  const auto by_code = ended_by("sold_out");
  REQUIRE(by_code.mismatch);
  CHECK(by_code.mismatch->code == "end_differs");
}

TEST_CASE("a mismatch is told with both builds", "[workflow][replay]") {
  auto run = begun<waits_first>();
  run.signal("go", 1);
  run.history.back().name = "sleep longer";
  const auto differs = check(waits_first::definition(), run);
  REQUIRE(differs.mismatch);
  CHECK(
      differs.mismatch->details.find(R"("recorded_build":"0123","build":")") != std::string::npos);
}

}  // namespace callboard
