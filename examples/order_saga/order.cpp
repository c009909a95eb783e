#include "examples/order_saga/order.hpp"

#include <chrono>
#include <cstdlib>
#include <fstream>

namespace order_saga {

using callboard::context;
using callboard::flow;
using callboard::json;
using callboard::outcome;
using callboard::step_attempt;

namespace {

using namespace std::chrono_literals;

/// What the world sees: one line per call, so that it can be counted what ran how often.
void note(const std::string& what, const step_attempt& attempt) {
  const char* file = std::getenv("ORDER_SAGA_LOG");
  if (file == nullptr) return;
  std::ofstream{file, std::ios::app} << what + ' ' + attempt.idempotency_key + '\n' << std::flush;
}

auto call(std::string what, std::string refused = {}) {
  return [what = std::move(what),
          refused = std::move(refused)](const step_attempt& attempt) -> outcome<std::string> {
    note(what, attempt);
    if (what == refused) return callboard::give_up("refused", what + " was refused");
    return what + " done";
  };
}

std::function<outcome<void>(const step_attempt&)> undo(std::string what) {
  return [what = std::move(what)](const step_attempt& attempt) -> outcome<void> {
    note(what, attempt);
    return {};
  };
}

}  // namespace

flow<std::string> order::run(context& ctx, json input) {
  const auto total = callboard::from_json<double>(input.at("total"));
  const auto* fail = input.as_object().if_contains("fail");
  const std::string refused = fail == nullptr ? "" : std::string{fail->as_string()};
  ctx.set_status("reserving");
  co_return co_await callboard::run_saga(
      ctx, [this, &ctx, total, refused](callboard::saga& saga) -> flow<std::string> {
        saga.compensate("release", undo("release"));
        co_await ctx.step("reserve", call("reserve", refused)).required();
        if (total > 100) co_await approve(ctx, total);
        saga.compensate("refund", undo("refund"));
        ctx.set_status("charging");
        co_await ctx.step("charge", call("charge", refused)).required();
        const auto number =
            co_await ctx
                .child<std::string>(
                    "invoice", boost::json::object{{"order", ctx.identity().workflow_id}})
                .required();
        co_await ctx.step("ship", call("ship", refused)).required();
        co_await ctx
            .publish(
                "orders.shipped",
                boost::json::object{{"order", ctx.identity().workflow_id}, {"invoice", number}})
            .required();
        ctx.set_status("shipped");
        co_return number;
      });
}

flow<void> order::approve(context& ctx, double total) {
  ctx.set_status("waiting for approval");
  co_await ctx.update(boost::json::object{{"needs_approval", true}, {"total", total}}).required();
  const auto answer = co_await ctx.signal<bool>("approve", 24h).required();
  if (answer && *answer) co_return;
  throw callboard::run_failed{
      {callboard::failure_class::permanent,
       answer ? "rejected" : "timed_out",
       answer ? "the order was rejected" : "nobody approved the order"}};
}

flow<std::string> invoice::run(context& ctx, json input) {
  co_await ctx.step("write", call("invoice")).required();
  co_return "INV-" + std::string{input.at("order").as_string()};
}

flow<std::string> reminder::run(context& ctx, std::uint64_t delay_ms) {
  const auto begun = ctx.now();
  co_await ctx.sleep(std::chrono::milliseconds{delay_ms}).required();
  co_return std::to_string((ctx.now() - begun).count());
}

}  // namespace order_saga
