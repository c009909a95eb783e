// What a saga tells of compensations that fail for good.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <callboard/saga.hpp>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace callboard;
using namespace callboard::runtime;
using namespace std::chrono_literals;
using callboard::tests::scripted_run;

namespace {

/// Its second compensation, which is the first that runs, fails for good.
struct shaky_booking : workflow<shaky_booking> {
  static constexpr std::string_view type = "shaky_booking";

  flow<json> run(context& ctx, json) {
    co_return co_await run_saga(ctx, [&ctx](saga& undo) -> flow<json> {
      undo.compensate("cancel hotel", [](const step_attempt&) { return outcome<void>{}; });
      undo.compensate(
          "refund",
          [](const step_attempt&) -> outcome<void> {
            return give_up("no_account", "the account is closed");
          },
          {.attempts_max = 3});
      co_await ctx.step("fly", []() -> outcome<int> { return give_up("sold_out", "no seat"); })
          .required();
      co_return "booked";
    });
  }
};

/// What it undoes is done by others: a worker, the time, a child that fails.
struct far_booking : workflow<far_booking> {
  static constexpr std::string_view type = "far_booking";

  flow<json> run(context& ctx, json) {
    co_return co_await run_saga(ctx, [&ctx](saga& undo) -> flow<json> {
      undo.compensate("release", [](const step_attempt&) { return outcome<void>{}; });
      undo.compensate("refund", [](context& inner) -> flow<void> {
        co_await inner.task<json>("payments", json{{"refund", 5}}).required();
        co_await inner.sleep(1s).required();
      });
      undo.compensate("call off", [](context& inner) -> flow<void> {
        co_await inner.child<json>("hotel", json{}).required();
      });
      undo.compensate("flawed", [](context&) -> flow<void> {
        throw std::out_of_range{"no such booking"};
        co_return;
      });
      co_await ctx.signal<int>("flight").required();
      co_return "booked";
    });
  }
};

/// Waits; the first that undoes it fails for good, the second waits with a context that is not its
/// own.
struct guarded_booking : workflow<guarded_booking> {
  static constexpr std::string_view type = "guarded_booking";

  flow<json> run(context& ctx, json input) {
    co_return co_await run_saga(ctx, [&ctx, input](saga& undo) -> flow<json> {
      undo.compensate("release", [](const step_attempt&) { return outcome<void>{}; });
      undo.compensate(
          "unshielded", [&ctx](context&) -> flow<void> { co_await ctx.sleep(1s).required(); });
      co_await run_saga(ctx, [&ctx, input](saga& inner) -> flow<void> {
        inner.compensate("refund", [](const step_attempt&) -> outcome<void> {
          return give_up("no_account", "the account is closed");
        });
        co_await ctx.signal<json>("go").required();
        if (input == json("bug")) throw std::out_of_range{"no such seat"};
      });
      co_return "booked";
    });
  }
};

/// Names of what could not be undone, in the order of trying.
std::vector<std::string> not_undone(const std::optional<failure>& why) {
  REQUIRE(why);
  std::vector<std::string> names;
  for (const auto& one : boost::json::parse(why->details).at("not_undone").as_array())
    names.emplace_back(one.at("step").as_string());
  return names;
}

}  // namespace

TEST_CASE("a cancelled run tells what could not be undone", "[workflow][saga]") {
  scripted_run run{guarded_booking::definition()};
  run.cancel();
  run.run_step(2);
  run.crash();
  // What threw beside all exceptions did not keep the first from being undone.
  REQUIRE(run.engine->open().at(3).request.name == "release");
  run.run_step(3);
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::cancelled);
  CHECK(not_undone(run.end->why) == std::vector<std::string>{"refund", "unshielded"});
  CHECK(run.end->why->code == "cancelled");
  CHECK_THAT(run.end->why->message, Catch::Contains("'refund' failed, so that is not undone"));
}

TEST_CASE("a bug is told with what could not be undone", "[workflow][saga]") {
  scripted_run run{guarded_booking::definition(), json("bug")};
  run.signal("go", 1);
  run.run_step(2);
  // Not cancelled: the context from outside does.
  run.fire(3);
  run.run_step(4);
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::failed);
  CHECK(not_undone(run.end->why) == std::vector<std::string>{"refund"});
  CHECK(run.end->why->kind == failure_class::bug);
  CHECK(run.end->why->code == "exception");
  CHECK_THAT(run.end->why->message, Catch::StartsWith("no such seat"));
}

TEST_CASE("a run's error tells what could not be undone", "[workflow][saga]") {
  scripted_run run{shaky_booking::definition()};
  run.run_step(1);
  // Undone by a policy of its own, also when the code comes here again.
  CHECK(run.engine->open().at(2).request.retry.attempts_max == 3);
  run.crash();
  CHECK(run.engine->open().at(2).request.retry.attempts_max == 3);
  run.run_step(2);
  CHECK(run.engine->open().at(3).request.retry.attempts_max == retry_policy{}.attempts_max);
  run.crash();
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::failed);
  REQUIRE(run.end->why);
  CHECK(run.end->why->code == "sold_out");
  CHECK(run.end->why->message == "no seat; 'refund' failed, so that is not undone");
  const auto details = boost::json::parse(run.end->why->details).as_object();
  const auto& left = details.at("not_undone").as_array();
  REQUIRE(left.size() == 1);
  CHECK(left[0].at("step") == "refund");
  CHECK(left[0].at("code") == "no_account");
}

TEST_CASE("compensations may be any commands, on cancel and after crashes", "[workflow][saga]") {
  scripted_run run{far_booking::definition()};
  run.cancel();
  const auto open = [&run](std::uint32_t command) {
    run.crash();
    return run.engine->open().at(command).request.kind;
  };
  // The signal was command 1. The latest compensation throws; that does not keep back the others.
  REQUIRE(open(2) == command_kind::child);
  run.end_command(2, give_up("no_hotel", "it is closed"));
  REQUIRE(open(3) == command_kind::task);
  CHECK(run.engine->open().at(3).request.name == "payments");
  // Asked to cancel again while it is undone: it goes on.
  run.cancel();
  run.end_command(3, json{"refunded"});
  REQUIRE(open(4) == command_kind::sleep);
  run.fire(4);
  REQUIRE(open(5) == command_kind::step);
  CHECK(run.engine->open().at(5).request.name == "release");
  run.run_step(5);
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::cancelled);
}

TEST_CASE("a compensation of commands that fails is named like a step", "[workflow][saga]") {
  scripted_run run{far_booking::definition()};
  // No number: the signal is read as `wrong_shape`, which ends the saga.
  run.signal("flight", json{"none"});
  run.end_command(2, give_up("no_hotel", "it is closed"));
  run.end_command(3, give_up("no_account", "the account is closed"));
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::failed);
  REQUIRE(run.end->why);
  CHECK(run.end->why->code == "wrong_shape");
  const auto details = boost::json::parse(run.end->why->details).as_object();
  const auto& left = details.at("not_undone").as_array();
  REQUIRE(left.size() == 3);
  CHECK(left[0].at("step") == "flawed");
  CHECK(left[0].at("code") == "exception");
  CHECK(left[1].at("step") == "call off");
  CHECK(left[1].at("code") == "no_hotel");
  CHECK(left[2].at("step") == "refund");
  CHECK(left[2].at("code") == "no_account");
}
