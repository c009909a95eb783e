// Steps whose body throws: a bug that is told, final, and the end of nothing else.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/serialize.hpp>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace callboard::testing {

using namespace actors;

namespace {

std::atomic<int> begun = 0;
/// What a body had given away before it threw.
std::optional<step_promise<int>> given_away;

[[noreturn]] void throw_it(const std::string& what) {
  ++begun;
  if (what == "unknown") throw 42;
  throw std::runtime_error{what};
}

struct throwing_workflow : workflow<throwing_workflow> {
  static constexpr std::string_view type = "test.throwing";

  flow<json> run(context& ctx, json input) {
    auto how = from_json<std::string>(input.at("how"));
    auto what = from_json<std::string>(input.at("what"));
    std::optional<outcome<int>> got;
    if (how == "sync") {
      got = co_await ctx.step("throws", [what] -> int { throw_it(what); });
    } else {
      got = co_await ctx.async_step<int>(
          "throws", [how, what](const step_attempt&, step_promise<int> promise) {
            if (how == "async") throw_it(what);
            given_away = promise;
            if (how == "answered") promise.complete(5);
            throw_it(what);
          });
    }
    if (*got) co_return json(**got);
    const auto& why = got->error();
    co_return json({{"class", name_of(why.kind)}, {"code", why.code}, {"text", why.message}});
  }
};

class throwing_fixture : public broker_fixture {
public:
  throwing_fixture() {
    begun = 0;
    given_away.reset();
    if (!workflows.add(throwing_workflow::definition())) FAIL("cannot add the workflow");
  }

  ~throwing_fixture() { given_away.reset(); }

  void start_one(const std::string& id, const std::string& type, const std::string& input) {
    REQUIRE(ask(start_workflow{topic("workflow." + id), type, input, {}, {}}));
  }

  std::string ended(const std::string& id) {
    auto answer = ask(await_workflow{topic("workflow." + id), 10'000});
    return answer ? std::get<workflow_answer>(*answer).body : answer.error().detail;
  }

  std::string shown(const std::string& id) {
    auto answer = ask(get_workflow{topic("workflow." + id)});
    return answer ? std::get<workflow_answer>(*answer).body : answer.error().detail;
  }
};

}  // namespace

TEST_CASE_METHOD(throwing_fixture, "what a step's body throws is a bug that is told and final") {
  const std::string how = GENERATE("sync", "async", "given away");
  const std::string what = GENERATE("the till is on fire", "unknown");
  INFO(how << ": " << what);
  const auto text = what == "unknown" ? "the step threw something unknown" : what;
  start_one("w1", "test.throwing", boost::json::serialize(json({{"how", how}, {"what", what}})));
  CHECK(ended("w1").contains(
      R"("result":{"class":"bug","code":"exception","text":")" + text + R"("})"));
  CHECK(begun == 1);
  const auto step = shown("w1");
  INFO(step);
  CHECK(step.contains(R"("attempts":1,)"));
  // It comes too late for an end, and the next step finds its threads.
  if (given_away) given_away->complete(5);
  start_one("w2", "test.waiting", "1");
  REQUIRE(ask(signal_workflow{topic("workflow.w2"), "go", "7", "s"}));
  CHECK(ended("w2").contains(R"("result":7)"));
}

TEST_CASE_METHOD(throwing_fixture, "a step that has answered may throw what it likes") {
  start_one("w1", "test.throwing", R"({"how":"answered","what":"unknown"})");
  CHECK(ended("w1").contains(R"("result":5)"));
  start_one("w2", "test.waiting", "1");
  REQUIRE(ask(signal_workflow{topic("workflow.w2"), "go", "7", "s"}));
  CHECK(ended("w2").contains(R"("result":7)"));
}

}  // namespace callboard::testing
