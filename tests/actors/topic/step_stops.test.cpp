// Steps that hear that nobody wants what they would bring any more.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace callboard::testing {

using namespace actors;

namespace {

std::mutex seen_mutex;
std::condition_variable_any changed;
int begun = 0;
int stopped = 0;
bool is_released = false;
std::vector<std::stop_token> tokens;
std::vector<step_promise<int>> promises;

int seen(const int& count) {
  const std::lock_guard lock{seen_mutex};
  return count;
}

void release() {
  const std::lock_guard lock{seen_mutex};
  is_released = true;
  changed.notify_all();
}

/// Holds its thread until it may end or shall stop.
outcome<int> work(std::stop_token stop) {
  std::unique_lock lock{seen_mutex};
  ++begun;
  if (changed.wait(lock, stop, [] { return is_released; })) return 7;
  ++stopped;
  return give_up("stopped", "as was asked for");
}

struct working_workflow : workflow<working_workflow> {
  static constexpr std::string_view type = "test.working";

  flow<json> run(context& ctx, json) {
    const auto first = co_await any(ctx.step("work", work), ctx.signal("go"));
    co_return first.index();
  }
};

struct elsewhere_workflow : workflow<elsewhere_workflow> {
  static constexpr std::string_view type = "test.elsewhere";

  flow<json> run(context& ctx, json) {
    co_return co_await ctx
        .async_step<int>(
            "elsewhere",
            [](const step_attempt& attempt, step_promise<int> promise) {
              const std::lock_guard lock{seen_mutex};
              tokens.push_back(attempt.stop);
              promises.push_back(std::move(promise));
            })
        .required();
  }
};

class stopping_fixture : public broker_fixture {
public:
  stopping_fixture() {
    begun = stopped = 0;
    is_released = false;
    tokens.clear();
    promises.clear();
    if (!workflows.add(working_workflow::definition())
        || !workflows.add(elsewhere_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  ~stopping_fixture() { release(); }

  void start_one(const std::string& id, const std::string& type) {
    REQUIRE(ask(start_workflow{topic("workflow." + id), type, "1", {}, {}}));
  }

  std::string ended(const std::string& id) {
    auto answer = ask(await_workflow{topic("workflow." + id), 10'000});
    return answer ? std::get<workflow_answer>(*answer).body : answer.error().detail;
  }
};

bool says(const std::string& text, std::string_view what) {
  INFO(text);
  return text.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE_METHOD(stopping_fixture, "a step hears that nobody wants its result any more") {
  const auto channel = topic("workflow.w1");
  start_one("w1", "test.working");
  REQUIRE(eventually([] { return seen(begun) == 1; }));
  const auto how = GENERATE(0, 1, 2, 3, 4);
  INFO(how);
  const control_body ends[]{
      cancel_workflow{channel, "enough"},
      signal_workflow{channel, "go", "1", "g"},
      terminate_workflow{channel, "enough", "ann"},
      resolve_command{channel, 1, "skipped", "by hand", "ann", "null", false},
      restart_workflow{channel, {.from = "work", .who = "ann"}}};
  REQUIRE(ask(ends[how]));
  CHECK(eventually([] { return seen(stopped) == 1; }));
  // The restarted one has its own.
  CHECK(eventually([&] { return seen(begun) == (how == 4 ? 2 : 1); }));
  CHECK(seen(stopped) == 1);
}

TEST_CASE_METHOD(stopping_fixture, "a step that a node's stop has stopped runs again") {
  start_one("w1", "test.working");
  REQUIRE(eventually([] { return seen(begun) == 1; }));
  restart();
  REQUIRE(eventually([] { return seen(begun) == 2; }));
  CHECK(seen(stopped) == 1);
  release();
  CHECK(says(ended("w1"), R"("result":0)"));
  const auto shown = ask(get_workflow{topic("workflow.w1")});
  REQUIRE(shown);
  CHECK(says(std::get<workflow_answer>(*shown).body, R"("attempts":1)"));
}

TEST_CASE_METHOD(stopping_fixture, "a step that is not wanted before it begins does not begin") {
  // The fixture's threads are taken.
  for (const auto id : {"w1", "w2"})
    start_one(id, "test.working");
  REQUIRE(eventually([] { return seen(begun) == 2; }));
  start_one("w3", "test.working");
  REQUIRE(ask(cancel_workflow{topic("workflow.w3"), "enough"}));
  REQUIRE(says(ended("w3"), "cancelled"));
  await_code_posted();
  release();
  CHECK(says(ended("w1"), R"("result":0)"));
  CHECK(says(ended("w2"), R"("result":0)"));
  // Behind it.
  start_one("w4", "test.working");
  CHECK(says(ended("w4"), R"("result":0)"));
  CHECK(seen(begun) == 3);
}

TEST_CASE_METHOD(
    stopping_fixture, "a step that ends elsewhere is asked to stop, unless it has ended") {
  const auto wanted = [](std::size_t one) {
    const std::lock_guard lock{seen_mutex};
    return !tokens.at(one).stop_requested();
  };
  const auto count = [] {
    const std::lock_guard lock{seen_mutex};
    return promises.size();
  };
  start_one("w1", "test.elsewhere");
  REQUIRE(eventually([&] { return count() == 1; }));
  start_one("w2", "test.elsewhere");
  REQUIRE(eventually([&] { return count() == 2; }));
  promises[0].complete(5);
  CHECK(says(ended("w1"), R"("result":5)"));
  CHECK(wanted(1));
  REQUIRE(ask(cancel_workflow{topic("workflow.w2"), "enough"}));
  CHECK(eventually([&] { return !wanted(1); }));
  CHECK(wanted(0));
}

}  // namespace callboard::testing
