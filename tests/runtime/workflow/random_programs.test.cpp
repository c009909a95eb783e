// Random programs of every kind of command, some of which are cancelled on their way or go on as
// new, run once without and once with crashes after every transition: the record and the end must
// be the same, and no completed step may run again.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/workflow.hpp>
#include <map>
#include <random>
#include <string>

namespace callboard {

using namespace std::chrono_literals;
using tests::scripted_run;

namespace {

constexpr std::uint64_t signal_names = 3;

/// What the program does is drawn from its input, and from nothing else.
struct random_program : workflow<random_program> {
  static constexpr std::string_view type = "random_program";

  flow<json> run(context& ctx, std::uint64_t seed) {
    const auto sum = co_await block(ctx, seed, 3);
    if (seed % 4 == 0) co_return ctx.continue_as_new(sum);
    co_return sum;
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
    constexpr std::uint64_t leaves = 12;
    constexpr std::uint64_t all_kinds = 16;
    switch (seed % (depth > 0 ? all_kinds : leaves)) {
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
    case 8: {
      const auto name = "s" + std::to_string(seed % signal_names);
      if (seed % 2 == 0) {
        const auto got = co_await ctx.signal<std::uint64_t>(name, 50ms);
        co_return got ? got->value_or(8) : 9;
      }
      const auto got = co_await ctx.signal<std::uint64_t>(name);
      co_return got ? *got : 10;
    }
    case 9: {
      auto ended = co_await ctx.child<std::uint64_t>("other", seed);
      co_return ended ? *ended : ended.error().code.size();
    }
    case 10: {
      auto told = co_await ctx.call<std::uint64_t>("agent", "key", "ask", seed);
      co_return told ? *told : told.error().code.size();
    }
    case 11: {
      auto seq = co_await ctx.publish("out", seed);
      co_return seq ? *seq : 11;
    }
    case 12:
      co_return co_await block(ctx, seed, depth - 1);
    case 13:
      co_return co_await ctx.shielded(
          [seed, depth](context& inner) { return block(inner, seed, depth - 1); });
    case 14: {
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

/// A payload that most of the time is what the code asks for.
json payload(std::uint64_t seed) {
  return seed % 5 == 0 ? json("no number") : json(seed % 100);
}

outcome<json> end_of_other(std::uint64_t seed, std::string code) {
  if (seed % 3 != 0) return json(seed % 100);
  return give_up(std::move(code), "no");
}

/// Answers open commands in an order drawn from `seed`, with a signal or a cancel in between;
/// crashes after each transition if asked.
void play(scripted_run& run, std::uint64_t seed, bool crashes) {
  std::mt19937_64 draw{seed};
  while (!run.end) {
    REQUIRE_FALSE(run.engine->blocked());
    REQUIRE_FALSE(run.engine->open().empty());
    const auto between = draw() % 40;
    if (between == 0) {
      run.cancel();
    } else if (between < 4) {
      run.signal("s" + std::to_string(draw() % signal_names), payload(draw()));
    }
    if (between < 4) {
      if (crashes && !run.end) run.crash();
      continue;
    }
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
    } else if (chosen->second.request.kind == command_kind::signal) {
      if (chosen->second.due && draw() % 2 == 0) {
        run.fire(index);
      } else {
        run.signal(std::string{chosen->second.request.name}, payload(draw()));
      }
    } else if (chosen->second.request.kind == command_kind::child) {
      run.end_command(index, end_of_other(draw(), "child_failed"));
    } else if (chosen->second.request.kind == command_kind::call) {
      run.end_command(index, end_of_other(draw(), "timeout"));
    } else if (chosen->second.request.kind == command_kind::publish) {
      run.end_command(index, end_of_other(draw(), "topic_full"));
    } else {
      run.fire(index);
    }
    if (crashes && !run.end) run.crash();
  }
}

}  // namespace

TEST_CASE("random programs tell the same story with and without crashes", "[workflow]") {
  const auto first = static_cast<std::uint64_t>(std::random_device{}());
  std::map<runtime::run_status, int> ends;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto seed = first + i;
    INFO("seed " << seed);
    scripted_run calm{random_program::definition(), seed};
    play(calm, seed, false);
    scripted_run stormy{random_program::definition(), seed};
    play(stormy, seed, true);
    REQUIRE(stormy.end->status == calm.end->status);
    ++ends[calm.end->status];
    REQUIRE(stormy.end->result == calm.end->result);
    REQUIRE(stormy.record() == calm.record());
    REQUIRE(stormy.step_runs == calm.step_runs);
  }
  CHECK(ends.size() == 3);
  CHECK(ends.contains(runtime::run_status::completed));
  CHECK(ends.contains(runtime::run_status::cancelled));
  CHECK(ends.contains(runtime::run_status::continued));
}

}  // namespace callboard
