// The workflows that `callboard bench` starts.
#pragma once

#include <callboard/workflow.hpp>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace callboard::cli {

/// Five local steps, each recorded before the next begins.
struct five_steps : workflow<five_steps> {
  static constexpr std::string_view type = "bench.five_steps";

  flow<int> run(context& ctx, json) {
    int sum = 0;
    for (int i = 1; i <= 5; ++i) {
      sum += co_await ctx.step("step", [i] { return i; }).required();
    }
    co_return sum;
  }
};

/// Sleeps until a time in ms since the epoch; gives how many ms late it was woken.
struct sleeper : workflow<sleeper> {
  static constexpr std::string_view type = "bench.sleeper";

  flow<std::int64_t> run(context& ctx, std::int64_t until_ms) {
    const std::chrono::sys_time<std::chrono::milliseconds> until{
        std::chrono::milliseconds{until_ms}};
    co_await ctx.sleep_until(until).required();
    co_return (ctx.now() - until).count();
  }
};

}  // namespace callboard::cli
