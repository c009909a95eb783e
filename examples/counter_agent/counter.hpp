// The smallest agent: a number for each key, and one that asks another.
#pragma once

#include <callboard/agent.hpp>

struct counter : callboard::agent<counter, std::int64_t> {
  static constexpr std::string_view type = "counter";

  static void handlers(callboard::handler_table<counter>& on) {
    on.message("add", &counter::add).message("add_from", &counter::add_from);
  }

  callboard::flow<std::int64_t> add(callboard::context&, std::int64_t by) {
    // A failure undoes what the handler did to the state.
    const auto before = state();
    state() += by;
    if (state() < 0) {
      throw callboard::run_failed{
          {callboard::failure_class::permanent,
           "below_zero",
           "there are " + std::to_string(before)}};
    }
    co_return state();
  }

  /// Adds what the counter of another key stands at.
  callboard::flow<std::int64_t> add_from(callboard::context& ctx, std::string other) {
    state() += co_await ctx.call<std::int64_t>("counter", other, "add", 0).required();
    co_return state();
  }
};
