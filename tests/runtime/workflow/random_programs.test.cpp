// Random programs of commands, run once without and once with crashes after every transition:
// the record and the result must be the same, and no completed step may run again.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/workflow.hpp>
#include <random>
#include <string>

namespace callboard {

using tests::scripted_run;

namespace {

/// What the program does is drawn from its input, and from nothing else.
struct random_program : workflow<random_program> {
  static constexpr std::string_view type = "random_program";

  flow<std::uint64_t> run(context& ctx, std::uint64_t seed) {
    co_return co_await block(ctx, seed, 3);
  }

  static std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    return (a ^ b) * 0x9e3779b97f4a7c15ULL + 0x7f4a7c15ULL;
  }

  static flow<std::uint64_t> block(context& ctx, std::uint64_t seed, int depth) {
    std::mt19937_64 draw{seed};
    std::uint64_t sum = seed;
    const auto commands = draw() % 4 + 1;
    for (std::uint64_t i = 0; i < commands; ++i) {
      sum = mix(sum, co_await one(ctx, draw(), depth));
    }
    co_return sum;
  }

  static flow<std::uint64_t> one(context& ctx, std::uint64_t seed, int depth) {
    switch (seed % (depth > 0 ? 11 : 8)) {
    case 0:
      co_await ctx.sleep(std::chrono::milliseconds{seed % 1000 + 1}).required();
      co_return 1;
    case 1:
      co_await ctx.update(seed).required();
      co_return 2;
    case 2:
      co_return ctx.random();
    case 3: {
      auto failed =
          co_await ctx.step("fails", []() -> outcome<int> { return give_up("no", "never"); });
      co_return failed ? 3 : 4;
    }
    case 4:
      ctx.set_status(seed);
      co_return ctx.version(std::to_string(seed % 5), 2);
    case 5:
      co_return co_await ctx.step("adds", [seed] { return seed / 2; }).required();
    case 6: {
      model_request request;
      request.messages.emplace_back(user_message(std::to_string(seed)));
      auto reply = co_await ctx.model("asks", std::move(request));
      co_return reply ? reply->text.size() + reply->usage->total : 5;
    }
    case 7: {
      task_options options;
      if (seed % 2 == 0) options.timeout = std::chrono::milliseconds{seed % 100 + 1};
      auto done = co_await ctx.task<json>("queue", seed, options);
      co_return done ? 6 : 7;
    }
    case 8:
      co_return co_await block(ctx, seed, depth - 1);
    case 9: {
      std::vector<flow<std::uint64_t>> parts;
      for (std::uint64_t i = 0; i < seed % 3 + 1; ++i)
        parts.push_back(block(ctx, seed + i, depth - 1));
      std::uint64_t sum = 0;
      for (const auto part : co_await all(std::move(parts)))
        sum = mix(sum, part);
      co_return sum;
    }
    default: {
      std::vector<flow<std::uint64_t>> parts;
      for (std::uint64_t i = 0; i < seed % 3 + 1; ++i)
        parts.push_back(block(ctx, seed + i, depth - 1));
      const auto first = co_await any(std::move(parts));
      co_return mix(first.index, first.value);
    }
    }
  }
};

/// Answers open commands in an order drawn from `seed`; crashes after each transition if asked.
void play(scripted_run& run, std::uint64_t seed, bool crashes) {
  std::mt19937_64 draw{seed};
  while (!run.end) {
    REQUIRE_FALSE(run.engine->blocked());
    REQUIRE_FALSE(run.engine->open().empty());
    auto chosen = run.engine->open().begin();
    std::advance(chosen, static_cast<std::ptrdiff_t>(draw() % run.engine->open().size()));
    const auto index = chosen->first;
    run.now += std::chrono::milliseconds{draw() % 50};
    if (chosen->second.request.kind == command_kind::step) {
      run.run_step(index);
    } else if (chosen->second.request.kind == command_kind::model) {
      if (draw() % 3 == 0) {
        run.fail_attempt(index, draw() % 2 == 0 ? "interrupted" : "overloaded");
      } else {
        run.answer_model(index, std::string(draw() % 20, 'x'));
      }
    } else if (chosen->second.request.kind == command_kind::task) {
      if (draw() % 3 == 0) {
        run.end_command(
            index, std::unexpected{failure{failure_class::permanent, "task_dead", "no"}});
      } else {
        run.end_command(index, json(draw() % 100));
      }
    } else {
      run.fire(index);
    }
    if (crashes && !run.end) run.crash();
  }
}

}  // namespace

TEST_CASE("random programs tell the same story with and without crashes", "[workflow]") {
  const auto first = static_cast<std::uint64_t>(std::random_device{}());
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto seed = first + i;
    INFO("seed " << seed);
    scripted_run calm{random_program::definition(), seed};
    play(calm, seed, false);
    scripted_run stormy{random_program::definition(), seed};
    play(stormy, seed, true);
    REQUIRE(stormy.end->status == runtime::run_status::completed);
    REQUIRE(stormy.end->result == calm.end->result);
    REQUIRE(stormy.record() == calm.record());
    REQUIRE(stormy.step_runs == calm.step_runs);
  }
}

}  // namespace callboard
