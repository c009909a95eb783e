// What a saga tells of compensations that fail for good.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <callboard/saga.hpp>
#include <string>

using namespace callboard;
using namespace callboard::runtime;
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

}  // namespace

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
