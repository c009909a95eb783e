// The workflow that `callboard bench workflow` starts: five local steps, each recorded before the
// next begins.
#pragma once

#include <callboard/workflow.hpp>
#include <string_view>

namespace callboard::cli {

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

}  // namespace callboard::cli
