// The workflows that `callboard bench` starts.
#pragma once

#include <callboard/join.hpp>
#include <callboard/workflow.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

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

/// Where each execution of a step of `paced_steps` leaves a line, if anybody wants to know.
inline constexpr const char* effects_variable = "CALLBOARD_BENCH_EFFECTS";

/// So many steps with a sleep of `step_ms` behind each; gives 1 + 2 + … .
struct paced_steps : workflow<paced_steps> {
  static constexpr std::string_view type = "bench.paced_steps";

  flow<int> run(context& ctx, json input) {
    const auto steps = input.at("steps").to_number<int>();
    const std::chrono::milliseconds pause{input.at("step_ms").to_number<std::uint32_t>()};
    int sum = 0;
    for (int i = 1; i <= steps; ++i) {
      sum += co_await ctx
                 .step(
                     "step",
                     [i, id = ctx.identity().workflow_id] {
                       leave_line(id + ' ' + std::to_string(i) + '\n');
                       return i;
                     })
                 .required();
      co_await ctx.sleep(pause).required();
    }
    co_return sum;
  }

private:
  /// One write, so that lines of several threads stay whole.
  static void leave_line(const std::string& line) {
    const char* file = std::getenv(effects_variable);
    if (file == nullptr) return;
    const int to = ::open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (to < 0) return;
    (void)!::write(to, line.data(), line.size());
    ::close(to);
  }
};

/// A file: while it is not there, the last step of `held_steps` does not end.
inline constexpr const char* release_variable = "CALLBOARD_BENCH_RELEASE";

/// Steps, one after another, and one that is held up: until it is released the run is at work.
struct held_steps : workflow<held_steps> {
  static constexpr std::string_view type = "bench.held_steps";

  flow<int> run(context& ctx, int steps) {
    int sum = 0;
    for (int i = 1; i <= steps; ++i) {
      sum += co_await ctx.step("step", [i] { return i; }).required();
    }
    const auto hold = [sum](const step_attempt& /*unused*/, step_promise<int> promise) {
      if (is_released()) return promise.complete(sum);
      static std::mutex mutex;
      static std::vector<step_promise<int>> kept;
      const std::lock_guard guard{mutex};
      kept.push_back(std::move(promise));
    };
    co_return co_await ctx.async_step<int>("hold", hold).required();
  }

private:
  static bool is_released() {
    const char* file = std::getenv(release_variable);
    return file == nullptr || ::access(file, F_OK) == 0;
  }
};

/// Steps, up to a hundred at a time, then the wait for the signal `go`: a history to be replayed.
struct many_steps : workflow<many_steps> {
  static constexpr std::string_view type = "bench.many_steps";

  flow<int> run(context& ctx, int steps) {
    constexpr int at_a_time = 100;
    for (int done = 0; done < steps;) {
      std::vector<flow<int>> round;
      for (int i = 0; i < at_a_time && done < steps; ++i)
        round.push_back(one(ctx, done++));
      co_await all(std::move(round));
    }
    co_await ctx.signal("go").required();
    co_return steps;
  }

private:
  static flow<int> one(context& ctx, int i) {
    co_return co_await ctx.step("step", [i] { return i; }).required();
  }
};

}  // namespace callboard::cli
