// Workflows that are begun again, under the same id or by a restart: what they ask for is their
// own, their children are begun again with them, and their time counts from now.
#include "tests/actors/topic/virtual_broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/unmarked.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

std::mutex keys_mutex;
std::vector<std::string> keys;

std::vector<std::string> seen_keys() {
  const std::lock_guard lock{keys_mutex};
  return keys;
}

auto noting() {
  return [](const step_attempt& attempt) {
    const std::lock_guard lock{keys_mutex};
    keys.push_back(attempt.idempotency_key);
  };
}

struct doubling_workflow : workflow<doubling_workflow> {
  static constexpr std::string_view type = "test.doubling";

  flow<std::int64_t> run(context& ctx, std::int64_t number) {
    co_await ctx.step("double", noting()).required();
    co_return 2 * number;
  }
};

struct sum_agent : agent<sum_agent, std::int64_t> {
  static constexpr std::string_view type = "sum";

  static void handlers(handler_table<sum_agent>& on) { on.message("add", &sum_agent::add); }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }
};

/// One of each that somebody else keeps; gives what they say.
struct asking_workflow : workflow<asking_workflow> {
  static constexpr std::string_view type = "test.asking";

  flow<json> run(context& ctx, std::int64_t number) {
    co_await ctx.step("note", noting()).required();
    const auto seq = co_await ctx.publish("out", number).required();
    const auto sum = co_await ctx.call<std::int64_t>("sum", "s", "add", number).required();
    const auto doubled = co_await ctx.child<std::int64_t>("test.doubling", number).required();
    co_return boost::json::array{seq, sum, doubled};
  }
};

/// Waits for `go`; a payload that is no number ends it with that code.
struct kid_workflow : workflow<kid_workflow> {
  static constexpr std::string_view type = "test.kid";

  flow<std::int64_t> run(context& ctx, json) {
    const auto got = co_await ctx.signal("go").required();
    if (got.is_string()) {
      throw run_failed{
          {failure_class::quota, std::string{got.as_string()}, "no more", 7, R"({"left":0})"}};
    }
    co_return got.to_number<std::int64_t>();
  }
};

/// Gives what its child gives, which has an id of its own.
struct parent_workflow : workflow<parent_workflow> {
  static constexpr std::string_view type = "test.parent";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("before", [] {}).required();
    co_return co_await ctx.child("test.kid", 1, {.id = "kid"}).required();
  }
};

struct patient_workflow : workflow<patient_workflow> {
  static constexpr std::string_view type = "test.patient";

  flow<json> run(context& ctx, json) {
    const auto heard = co_await ctx.signal("go", 10min).required();
    co_return heard.value_or("too late");
  }
};

struct sleeper_workflow : workflow<sleeper_workflow> {
  static constexpr std::string_view type = "test.sleeper";

  flow<json> run(context& ctx, std::int64_t until) {
    using ms = std::chrono::milliseconds;
    co_await ctx.sleep_until(std::chrono::sys_time<ms>{ms{until}}).required();
    co_return "awake";
  }
};

struct drawing_workflow : workflow<drawing_workflow> {
  static constexpr std::string_view type = "test.drawing";

  flow<json> run(context& ctx, json input) {
    co_await ctx.step("before", [] {}).required();
    if (input.is_string()) co_return boost::json::array{input, ctx.uuid()};
    co_await ctx.signal("go").required();
    co_return ctx.continue_as_new(ctx.uuid());
  }
};

bool says(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

class begun_again {
public:
  begun_again() {
    keys.clear();
    if (!code.add(doubling_workflow::definition()) || !code.add(sum_agent::definition())
        || !code.add(asking_workflow::definition()) || !code.add(kid_workflow::definition())
        || !code.add(parent_workflow::definition()) || !code.add(patient_workflow::definition())
        || !code.add(sleeper_workflow::definition()) || !code.add(drawing_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  static topic_ref channel(const std::string& id, const std::string& tenant = "acme") {
    return {tenant_name::parse(tenant).value(), topic_name::parse("workflow." + id).value()};
  }

  json read(control_body body) {
    auto answer = broker.ask_now(std::move(body));
    if (!answer) FAIL(answer.error().detail);
    return boost::json::parse(std::get<workflow_answer>(*answer).body);
  }

  void start(const std::string& id, const std::string& type, const std::string& input = "1") {
    (void)read(start_workflow{channel(id), type, input, {}, {}});
  }

  void signal(const std::string& id, const std::string& payload) {
    (void)read(signal_workflow{channel(id), "go", payload, {}});
    broker.advance(1s);
  }

  void restart(const std::string& id, const std::string& from) {
    (void)read(restart_workflow{
        channel(id), {.from = from, .reason = "again", .who = "ann", .without_signals = true}});
    broker.advance(1s);
  }

  /// Long, in one leap but for the end.
  void pass(std::chrono::milliseconds by) {
    broker.tick(by - 3s);
    broker.advance(3s);
  }

  json shown(const std::string& id) { return read(get_workflow{channel(id)}); }

  std::string status(const std::string& id) {
    return std::string{shown(id).at("status").as_string()};
  }

  std::string result(const std::string& id) {
    return boost::json::serialize(shown(id).at("result"));
  }

  runtime::workflow_registry code;
  virtual_broker broker{{}, &code};
};

}  // namespace

TEST_CASE("what a workflow asks for is not that of another of its id", "[actors][workflow]") {
  begun_again node;
  node.start("w", "test.asking", "3");
  node.broker.advance(2s);
  CHECK(node.result("w") == "[1,3,6]");
  REQUIRE(node.broker.ask_now(delete_topic{begun_again::channel("w")}));
  node.start("w", "test.asking", "4");
  node.broker.advance(2s);
  CHECK(node.result("w") == "[2,7,8]");
  // Nor of one in another tenant.
  (void)node.read(start_workflow{begun_again::channel("w", "globex"), "test.asking", "3", {}, {}});
  node.broker.advance(2s);
  const auto seen = seen_keys();
  CHECK(seen.size() == 6);
  CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == 6);
  for (const auto& key : seen)
    CHECK(std::set<std::string>{"w.1.1", "w.1.4.1.1"}.contains(unmarked(key)));
}

TEST_CASE("a restart begins a child with an id of its own again", "[actors][workflow]") {
  begun_again node;
  node.start("p", "test.parent");
  node.broker.advance(1s);
  const auto how = GENERATE(0, 1, 2);
  INFO(how);
  if (how == 1) node.signal("kid", R"("broken")");
  if (how == 2) {
    (void)node.read(cancel_workflow{begun_again::channel("kid"), "enough"});
    node.broker.advance(1s);
  }
  node.restart("p", "2");
  if (how == 0) node.broker.crash();
  node.broker.advance(1s);
  CHECK(node.status("p") == "running");
  CHECK(node.status("kid") == "running");
  CHECK(node.shown("kid").at("run") == 2);
  CHECK(node.shown("kid").at("parent").at("run") == 2);
  // Its new run is the parent's like the first was.
  SECTION("whom it tells its end") {
    node.signal("kid", "7");
    CHECK(node.result("p") == "7");
  }
  SECTION("who cancels it") {
    (void)node.read(cancel_workflow{begun_again::channel("p"), "enough"});
    node.broker.advance(2s);
    CHECK(node.status("kid") == "cancelled");
  }
}

TEST_CASE("a parent hears the failure of its child as it is", "[actors][workflow]") {
  begun_again node;
  // Its own child, or one that somebody else had started.
  if (GENERATE(false, true)) node.start("kid", "test.kid");
  node.start("p", "test.parent");
  node.broker.advance(1s);
  SECTION("failed") {
    node.signal("kid", R"("spent")");
    node.broker.advance(30s);
    const auto why = node.shown("p").at("error");
    CHECK(why.at("class") == "quota");
    CHECK(why.at("code") == "spent");
    CHECK(why.at("message") == "no more");
    CHECK(why.at("details") == boost::json::parse(R"({"left":0})"));
  }
  SECTION("cancelled") {
    (void)node.read(cancel_workflow{begun_again::channel("kid"), "enough"});
    node.broker.advance(30s);
    const auto why = node.shown("p").at("error");
    CHECK(why.at("class") == "permanent");
    CHECK(why.at("code") == "child_cancelled");
    CHECK(why.at("message") == "workflow 'kid' was cancelled");
  }
}

TEST_CASE("a deadline behind a restart counts from the restart", "[actors][workflow]") {
  begun_again node;
  node.start("w", "test.patient");
  node.signal("w", "7");
  REQUIRE(node.status("w") == "completed");
  node.broker.tick(1h);
  node.restart("w", "1");
  node.pass(5min);
  CHECK(node.status("w") == "running");
  const bool is_heard = GENERATE(false, true);
  if (is_heard) node.signal("w", "8");
  node.pass(5min);
  CHECK(node.result("w") == (is_heard ? "8" : R"("too late")"));
}

TEST_CASE("a fork draws numbers of its own, in its later runs, too", "[actors][workflow]") {
  begun_again node;
  node.start("w", "test.drawing");
  node.broker.advance(1s);
  (void)node.read(fork_workflow{
      begun_again::channel("w"), begun_again::channel("f"), {.from = "go", .who = "ann"}});
  node.broker.crash();
  for (const auto id : {"w", "f"})
    node.signal(id, "1");
  std::set<std::string> drawn;
  for (const auto id : {"w", "f"}) {
    const auto result = node.shown(id).at("result");
    for (const auto& one : result.as_array())
      drawn.emplace(one.as_string());
  }
  CHECK(drawn.size() == 4);
  CHECK(says(boost::json::serialize(node.shown("f")), R"("run":2)"));
}

TEST_CASE("a fork to an id that another fork takes is refused once that is on disk", "[actors]") {
  begun_again node;
  node.start("w", "test.drawing");
  const auto fork = [&](const std::string& from) {
    const auto asked = node.broker.ask(fork_workflow{
        begun_again::channel("w"), begun_again::channel("f"), {.from = from, .who = "ann"}});
    node.broker.run();
    return asked;
  };
  const auto first = fork("go");
  // Its channel is made first.
  REQUIRE(node.broker.journal.commit() == 1);
  node.broker.run();
  REQUIRE(node.broker.journal.queued() == 1);
  const auto second = fork("");
  const auto& answered = node.broker.got.answered;
  CHECK_FALSE(answered.contains(second));
  const bool is_lost = GENERATE(false, true);
  if (is_lost) node.broker.journal.lose_queued();
  node.broker.settle();
  REQUIRE(answered.contains(first));
  CHECK(answered.at(first).has_value() != is_lost);
  REQUIRE(answered.contains(second));
  REQUIRE_FALSE(answered.at(second));
  CHECK((answered.at(second).error().code == errc::workflow_exists) != is_lost);
}

TEST_CASE("sleep_until ends when the wall clock says so", "[actors][workflow]") {
  begun_again node;
  const auto wall = [&] {
    return std::chrono::floor<std::chrono::milliseconds>(
        node.broker.time.wall().time_since_epoch());
  };
  const auto until = wall() + 1h;
  node.start("w", "test.sleeper", std::to_string(until.count()));
  const auto is_awake = [&] { return node.status("w") == "completed"; };
  constexpr auto exactness = 50ms;
  // So long before it, it sleeps; and how late it wakes is looked at as often.
  const auto late = [&] {
    REQUIRE(wall() == until - exactness);
    CHECK_FALSE(is_awake());
    while (wall() < until + 5s && !is_awake())
      node.broker.advance(exactness);
    return wall() - until;
  };
  const auto pass_until = [&](std::chrono::milliseconds when) { node.pass(when - wall()); };
  SECTION("on time") {
    pass_until(until - exactness);
    CHECK(late() <= exactness);
  }
  SECTION("sooner, if it is set forward") {
    // Its run is in memory, or has left it.
    node.pass(GENERATE(3100ms, 60'000ms));
    node.broker.time.step_wall(30min);
    node.broker.advance(5s);
    SECTION("to shortly before it") {
      node.broker.time.step_wall(until - 10s - wall());
      pass_until(until - exactness);
      CHECK(late() <= exactness);
    }
    SECTION("beyond it, which is looked at every second") {
      node.broker.time.step_wall(until - exactness - wall());
      CHECK_FALSE(is_awake());
      node.broker.time.step_wall(30min);
      node.broker.advance(1s + exactness);
      CHECK(is_awake());
    }
  }
  SECTION("later, if it is set back") {
    node.pass(10min);
    node.broker.time.step_wall(-1h);
    if (GENERATE(false, true)) node.broker.crash();
    pass_until(until - exactness);
    CHECK(late() <= exactness);
  }
}

}  // namespace callboard::testing
