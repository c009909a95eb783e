// What becomes of exceptions that come out of the user's code elsewhere than from a workflow's run.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <stdexcept>
#include <string>

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

  const scripted_run of_agent{no_agent::definition()};
  REQUIRE(of_agent.end);
  CHECK(of_agent.end->why->kind == failure_class::bug);
  CHECK(of_agent.end->why->code == "exception");
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
