// What runs cost others, as it is shown and as it is bounded: code that holds a thread, replays
// that are not thrown away for a short rest, histories that grow long.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json/parse.hpp>

#include <chrono>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

constexpr auto turn = 150ms;

/// Each of its turns, and so its replay, takes its time.
struct heavy_workflow : workflow<heavy_workflow> {
  static constexpr std::string_view type = "test.heavy";

  flow<json> run(context& ctx, json) {
    const auto until = std::chrono::steady_clock::now() + turn;
    while (std::chrono::steady_clock::now() < until) {
    }
    co_return co_await ctx.signal("go").required();
  }
};

struct many_workflow : workflow<many_workflow> {
  static constexpr std::string_view type = "test.many";

  flow<json> run(context& ctx, std::int64_t commands) {
    // Without a step: nothing but the commands themselves takes time.
    for (std::int64_t i = 1; i < commands; ++i)
      co_await ctx.update(i).required();
    co_return co_await ctx.signal("go").required();
  }
};

class costly_runs : public broker_fixture {
public:
  costly_runs() {
    if (!workflows.add(heavy_workflow::definition()) || !workflows.add(many_workflow::definition()))
      FAIL("cannot add the workflows");
  }

  void begin(const std::string& id, const std::string& type, const std::string& input = "null") {
    start_workflow start;
    start.topic = topic("workflow." + id);
    start.type = type;
    start.input = input;
    auto answered = ask(std::move(start));
    if (!answered) FAIL(answered.error().detail);
  }

  boost::json::object explained(const std::string& id) {
    auto told = ask(explain_workflow{topic("workflow." + id)});
    if (!told) FAIL(told.error().detail);
    return boost::json::parse(std::get<workflow_answer>(*told).body).as_object();
  }

  [[nodiscard]] bool shows(const std::string& line) const {
    return exposed().find("\n" + line + "\n") != std::string::npos;
  }
};

}  // namespace

TEST_CASE_METHOD(costly_runs, "code that does not suspend is counted and explained") {
  CHECK(shows("callboard_workflow_long_turns_total 0"));
  begin("h", "test.heavy");
  REQUIRE(eventually([&] { return explained("h").contains("long_turns"); }));
  const auto told = explained("h").at("long_turns").as_object();
  CHECK(told.at("count") == 1);
  CHECK(told.at("longest_ms").to_number<std::int64_t>() >= turn.count());
  CHECK(shows("callboard_workflow_long_turns_total 1"));
  CHECK(shows("callboard_workflow_runs_started_total 1"));
  begin("w", "test.waiting");
  REQUIRE(eventually(
      [&] { return explained("w").at("summary").as_string() == "it waits for the signal 'go'"; }));
  CHECK_FALSE(explained("w").contains("long_turns"));
  CHECK(shows("callboard_step_seconds_count 1"));
}

TEST_CASE_METHOD(costly_runs, "a run that is slow to replay is not put away for a short rest") {
  begin("h", "test.heavy");
  REQUIRE(eventually([&] { return explained("h").contains("long_turns"); }));
  restart();
  const auto before = std::chrono::steady_clock::now();
  REQUIRE(eventually([&] { return explained("h").contains("replay_ms"); }));
  const auto replay =
      std::chrono::milliseconds{explained("h").at("replay_ms").to_number<std::int64_t>()};
  CHECK(replay >= turn);
  REQUIRE(eventually([&] { return shows("callboard_topics_active 0"); }));
  CHECK(std::chrono::steady_clock::now() - before >= 11 * replay);
  CHECK(shows("callboard_workflow_history_bytes 0"));
  CHECK(shows("callboard_workflow_replay_bytes_count 1"));
}

TEST_CASE_METHOD(costly_runs, "a run with many commands says so") {
  begin("few", "test.many", "100");
  begin("many", "test.many", "10000");
  const auto waits = [&](const std::string& id) {
    return explained(id).at("summary").as_string() == "it waits for the signal 'go'";
  };
  REQUIRE(eventually([&] { return waits("many") && waits("few"); }));
  const auto warning = std::string{explained("many").at("warning").as_string()};
  CHECK(warning.contains("10000 commands"));
  CHECK_FALSE(explained("few").contains("warning"));
  const auto bytes = [&](const std::string& id) {
    return explained(id).at("history_bytes").to_number<std::uint64_t>();
  };
  CHECK(bytes("many") > 50 * bytes("few"));
  const auto all = std::to_string(bytes("many") + bytes("few"));
  CHECK_THAT(exposed(), Catch::Contains("\ncallboard_workflow_history_bytes " + all));
}

}  // namespace callboard::testing
