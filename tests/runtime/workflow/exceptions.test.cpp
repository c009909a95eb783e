// What becomes of exceptions that come out of the user's code elsewhere than from a workflow's run.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace callboard {

using namespace std::chrono_literals;
using runtime::run_status;
using tests::scripted_run;

namespace {

struct unmakable : workflow<unmakable> {
  static constexpr std::string_view type = "makable";

  unmakable() { throw std::runtime_error{"there is no such file"}; }

  flow<void> run(context&, json) { co_return; }
};

struct makable : workflow<makable> {
  static constexpr std::string_view type = "makable";

  flow<std::string> run(context& ctx, json) {
    co_await ctx.step("first", [] {}).required();
    co_await ctx.step("second", [] {}).required();
    co_return "done";
  }
};

struct no_agent : agent<no_agent, std::int64_t> {
  static constexpr std::string_view type = "no_agent";

  no_agent() { throw 42; }

  static void handlers(handler_table<no_agent>&) {}
};

struct thrower : agent<thrower, std::int64_t> {
  static constexpr std::string_view type = "thrower";

  static void handlers(handler_table<thrower>& on) {
    on.message("add", &thrower::add)
        .message("spoil", &thrower::spoil)
        .message("doze", &thrower::doze);
  }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }

  flow<std::int64_t> spoil(context&, std::int64_t by) {
    state() += by;
    throw 42;
  }

  flow<void> doze(context& ctx, json) { co_await ctx.sleep(1h).required(); }
};

/// Its state has another shape.
struct list_keeper : agent<list_keeper, std::vector<std::int64_t>> {
  static constexpr std::string_view type = "thrower";

  static void handlers(handler_table<list_keeper>&) {}
};

struct quitter : agent<quitter, std::int64_t> {
  static constexpr std::string_view type = "thrower";

  static void handlers(handler_table<quitter>& on) { on.message("add", &quitter::add); }

  flow<void> add(context&, std::int64_t) {
    throw cancelled{};
    co_return;
  }
};

void tell(scripted_run& run, std::string id, std::string message, json payload) {
  run.signal(
      "message",
      {{"id", std::move(id)},
       {"chain", boost::json::array{}},
       {"message", std::move(message)},
       {"payload", std::move(payload)}});
}

/// The last that was recorded.
json reply_of(const scripted_run& run) {
  json last;
  for (const auto& one : run.history) {
    if (one.kind == runtime::run_event_kind::issued && one.what == command_kind::reply) {
      last = one.data;
    }
  }
  return last;
}

}  // namespace

TEST_CASE("a class that cannot be made fails its run as a bug", "[workflow][exceptions]") {
  const scripted_run run{unmakable::definition()};
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::failed);
  CHECK(run.end->why->kind == failure_class::bug);
  CHECK(run.end->why->code == "exception");
  CHECK(run.end->why->message == "there is no such file");
}

TEST_CASE("an agent whose class cannot be made waits for code", "[workflow][exceptions]") {
  scripted_run run{no_agent::definition()};
  CHECK_FALSE(run.end);
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->kind == failure_class::bug);
  CHECK(run.engine->blocked()->code == "exception");
  tell(run, "m1", "add", 2);
  run.crash();
  REQUIRE(run.engine->blocked());
  tell(run, "m2", "add", 3);
  run.crash_into(thrower::definition());
  REQUIRE_FALSE(run.engine->blocked());
  CHECK(reply_of(run).at("result") == json(5));
  // Also one that has handled some.
  run.crash_into(no_agent::definition());
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "exception");
  run.crash_into(thrower::definition());
  tell(run, "m3", "add", 1);
  CHECK(reply_of(run).at("result") == json(6));
}

TEST_CASE("an agent goes on with code that can read its state", "[workflow][exceptions]") {
  scripted_run first{thrower::definition()};
  for (int i = 1; i <= 100; ++i)
    tell(first, "m" + std::to_string(i), "add", 1);
  REQUIRE(first.end);
  REQUIRE(first.end->status == run_status::continued);
  scripted_run next{list_keeper::definition(), first.end->result};
  CHECK_FALSE(next.end);
  REQUIRE(next.engine->blocked());
  CHECK_THAT(
      next.engine->blocked()->message,
      Catch::StartsWith("the agent's code failed outside of a handler")
          && Catch::Contains("another shape"));
  tell(next, "n1", "add", 1);
  next.crash_into(thrower::definition());
  REQUIRE_FALSE(next.engine->blocked());
  CHECK(reply_of(next).at("result") == json(101));
}

TEST_CASE("whatever ends the code of an agent leaves it to other code", "[workflow][exceptions]") {
  scripted_run run{quitter::definition()};
  tell(run, "m1", "add", 2);
  CHECK_FALSE(run.end);
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "agent_ended");
  tell(run, "m2", "add", 3);
  run.crash_into(thrower::definition());
  REQUIRE_FALSE(run.engine->blocked());
  CHECK(reply_of(run).at("id") == "m2");
  CHECK(reply_of(run).at("result") == json(5));
}

TEST_CASE("an agent whose wait is ended by hand waits anew", "[workflow][exceptions]") {
  scripted_run run{thrower::definition()};
  const auto waits = [&] { return run.engine->open().begin()->first; };
  run.end_command(waits(), json{});
  run.end_command(waits(), json{{"id", "m1"}});
  run.end_command(waits(), give_up("lost", "by hand"));
  run.crash();
  REQUIRE_FALSE(run.engine->blocked());
  tell(run, "m1", "add", 2);
  CHECK(reply_of(run).at("result") == json(2));
}

TEST_CASE("a run whose class cannot be made any more waits for code", "[workflow][exceptions]") {
  scripted_run run{makable::definition()};
  run.run_step(1);
  run.crash_into(unmakable::definition());
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "command_missing");
  CHECK_FALSE(run.end);
  run.crash_into(makable::definition());
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->result == json("done"));
}

TEST_CASE("an agent outlives whatever its handlers throw", "[workflow][exceptions]") {
  scripted_run run{thrower::definition()};
  tell(run, "m1", "add", 2);
  CHECK(reply_of(run).at("result") == json(2));
  tell(run, "m2", "spoil", 5);
  REQUIRE_FALSE(run.end);
  CHECK(reply_of(run).at("error").at("class") == "bug");
  CHECK(reply_of(run).at("error").at("code") == "exception");
  run.crash();
  // What the handler did to the state is undone.
  tell(run, "m3", "add", 1);
  CHECK(reply_of(run).at("result") == json(3));
}

TEST_CASE("cancelling is no failure of a handler", "[workflow][exceptions]") {
  scripted_run run{thrower::definition()};
  tell(run, "m1", "doze", {});
  run.cancel();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::cancelled);
  CHECK(reply_of(run).is_null());
}

}  // namespace callboard
