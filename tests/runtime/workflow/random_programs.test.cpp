// Random programs of every kind of command and of sagas, and agents that are made of them, some of
// which fail, are cancelled on their way or go on as new, run once without and once with crashes
// after every transition: the record and the end must be the same, and no completed step may run
// again.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/agent.hpp>
#include <callboard/saga.hpp>
#include <callboard/workflow.hpp>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace callboard {

using namespace std::chrono_literals;
using tests::scripted_run;

namespace {

constexpr std::uint64_t signal_names = 3;

failure random_failure(std::uint64_t seed) {
  using enum failure_class;
  static constexpr failure_class classes[]{retryable, rate, quota, permanent, bug};
  return {classes[seed % std::size(classes)], "no luck", "as drawn"};
}

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
    constexpr std::uint64_t kinds = 27;
    constexpr std::uint64_t nesting_kinds = 9;
    const auto kind = seed % (depth > 0 ? kinds : kinds - nesting_kinds);
    if (kind >= kinds - nesting_kinds) {
      return nesting(ctx, kind - (kinds - nesting_kinds), seed, depth - 1);
    }
    constexpr std::uint64_t asking_kinds = 6;
    if (kind < asking_kinds) return asking(ctx, kind, seed);
    return alone(ctx, kind - asking_kinds, seed);
  }

  /// What others answer.
  static flow<std::uint64_t> asking(context& ctx, std::uint64_t kind, std::uint64_t seed) {
    switch (kind) {
    case 0: {
      model_request request;
      request.messages.emplace_back(user_message(std::to_string(seed)));
      auto reply = co_await ctx.model("asks", std::move(request));
      co_return reply ? reply->text.size() + reply->usage->total : 5;
    }
    case 1: {
      task_options options;
      if (seed % 2 == 0) options.timeout = std::chrono::milliseconds{seed % 100 + 1};
      auto done = co_await ctx.task<json>("queue", seed, options);
      co_return done ? 6 : 7;
    }
    case 2: {
      const auto name = "s" + std::to_string(seed % signal_names);
      if (seed % 2 == 0) {
        const auto got = co_await ctx.signal<std::uint64_t>(name, 50ms);
        co_return got ? got->value_or(8) : 9;
      }
      const auto got = co_await ctx.signal<std::uint64_t>(name);
      co_return got ? *got : 10;
    }
    case 3: {
      child_options options;
      if (seed % 2 == 0) options.id = "kid " + std::to_string(seed % 100);
      if (seed % 3 == 0) options.on_parent_close = parent_close::abandon;
      auto ended = co_await ctx.child<std::uint64_t>("other", seed, options);
      co_return ended ? *ended : ended.error().code.size();
    }
    case 4: {
      auto told = co_await ctx.call<std::uint64_t>("agent", "key", "ask", seed);
      co_return told ? *told : told.error().code.size();
    }
    default: {
      auto seq = co_await ctx.publish("out", seed);
      co_return seq ? *seq : 11;
    }
    }
  }

  /// What needs nobody else.
  static flow<std::uint64_t> alone(context& ctx, std::uint64_t kind, std::uint64_t seed) {
    switch (kind) {
    case 0:
      co_await ctx.sleep(std::chrono::milliseconds{seed % 1000 + 1}).required();
      co_return 1;
    case 1:
      // Some lie in the past.
      co_await ctx.sleep_until(ctx.now() + std::chrono::milliseconds{seed % 100} - 20ms).required();
      co_return 12;
    case 2:
      co_await ctx.update(seed).required();
      co_return 2;
    case 3:
      co_return ctx.random();
    case 4:
      co_return std::stoull(ctx.uuid().substr(0, 8), nullptr, 16);
    case 5:
      co_return static_cast<std::uint64_t>(ctx.now().time_since_epoch().count());
    case 6: {
      auto failed =
          co_await ctx.step("fails", []() -> outcome<int> { return give_up("no", "never"); });
      co_return failed ? 3 : 4;
    }
    case 7:
      ctx.set_status(seed);
      co_return ctx.version(std::to_string(seed % 5), 2);
    case 8:
      co_return co_await ctx.step("adds", [seed] { return seed / 2; }).required();
    case 9:
      co_return co_await elsewhere(ctx, seed);
    case 10:
      co_return co_await tried_again(ctx, seed);
    default:
      // Ends what it is part of, unless that is a saga that goes on.
      co_return co_await ctx
          .step("refuses", []() -> outcome<std::uint64_t> { return give_up("refused", "no"); })
          .required();
    }
  }

  /// Told later, told to have failed, or never told.
  static flow<std::uint64_t> elsewhere(context& ctx, std::uint64_t seed) {
    const auto body = [seed](const step_attempt&, step_promise<std::uint64_t> done) {
      if (seed % 3 == 0) done.complete(seed / 3);
      if (seed % 3 == 1) done.fail(failure{failure_class::permanent, "lost", "no"});
    };
    const auto told = co_await ctx.async_step<std::uint64_t>("elsewhere", body);
    co_return told ? *told : told.error().code.size();
  }

  /// Fails in every way there is, by the number of the attempt, under policies of all kinds.
  static flow<std::uint64_t> tried_again(context& ctx, std::uint64_t seed) {
    retry_policy policy;
    policy.attempts_max = static_cast<std::uint32_t>(seed % 5 + 1);
    policy.first_delay_ms = static_cast<std::uint32_t>(seed % 700);
    policy.delay_max_ms = static_cast<std::uint32_t>(seed % 2'000);
    if (seed % 7 < 3) policy.again = {failure_class::retryable, failure_class::quota};
    const auto body = [seed](const step_attempt& attempt) -> outcome<std::uint64_t> {
      std::mt19937_64 draw{seed + attempt.number};
      if (draw() % 3 == 0) return draw() % 100;
      failure why = random_failure(draw());
      if (draw() % 2 == 0) why.retry_after_ms = static_cast<std::uint32_t>(draw() % 2'000);
      return std::unexpected{std::move(why)};
    };
    auto done = co_await ctx.step("tries", body, policy);
    co_return done ? *done : mix(static_cast<std::uint64_t>(done.error().kind), 1);
  }

  static flow<std::uint64_t>
  nesting(context& ctx, std::uint64_t kind, std::uint64_t seed, int depth) {
    switch (kind) {
    case 0:
      co_return co_await block(ctx, seed, depth);
    case 1:
      co_return co_await ctx.shielded(
          [seed, depth](context& inner) { return block(inner, seed, depth); });
    case 2:
      co_return co_await undone(ctx, seed, depth);
    case 3:
      co_return co_await undone_by_hand(ctx, seed, depth);
    case 4: {
      std::uint64_t sum = 0;
      for (const auto part : co_await all(parts(ctx, seed, depth)))
        sum = mix(sum, part);
      co_return sum;
    }
    case 5: {
      const auto [first, other] =
          co_await all(any(parts(ctx, seed, depth)), block(ctx, ~seed, depth));
      co_return mix(mix(first.index, first.value), other);
    }
    case 6: {
      auto race = any(block(ctx, seed, depth), block(ctx, ~seed, depth));
      const auto first = co_await std::move(race);
      co_return mix(first.index(), co_await block(ctx, seed + 1, depth));
    }
    case 7: {
      const auto first = co_await first_success(parts(ctx, seed, depth));
      co_return first ? mix(first->index, first->value) : first.error().details.size();
    }
    default: {
      const auto first = co_await race(parts(ctx, seed, depth));
      co_return mix(first.index, first.value);
    }
    }
  }

  static std::vector<flow<std::uint64_t>> parts(context& ctx, std::uint64_t seed, int depth) {
    std::vector<flow<std::uint64_t>> made;
    for (std::uint64_t i = 0; i < seed % 3 + 1; ++i)
      made.push_back(block(ctx, seed + i, depth));
    return made;
  }

  /// By a step, or by a part of the program.
  static void compensate(saga& undos, std::string name, std::uint64_t seed) {
    if (seed % 3 == 0) {
      undos.compensate(std::move(name), [seed](context& inner) -> flow<void> {
        (void)co_await inner.step("undoes by flow", [] { return 1; }).required();
        (void)co_await block(inner, seed, 0);
      });
      return;
    }
    const bool fails = seed % 4 == 0;
    undos.compensate(std::move(name), [fails](const step_attempt&) -> outcome<void> {
      if (fails) return give_up("stays", "as it is");
      return {};
    });
  }

  /// A saga; its failure is told in place of a result, or thrown on.
  static flow<std::uint64_t> undone(context& ctx, std::uint64_t seed, int depth) {
    std::optional<failure> why;
    try {
      co_return co_await run_saga(ctx, [&ctx, seed, depth](saga& undos) -> flow<std::uint64_t> {
        std::mt19937_64 draw{seed};
        std::uint64_t sum = 0;
        const auto count = draw() % 3 + 1;
        for (std::uint64_t i = 0; i < count; ++i) {
          compensate(undos, "undoes " + std::to_string(i), draw());
          sum = mix(sum, co_await block(ctx, draw(), depth));
        }
        if (draw() % 2 == 0) throw run_failed{failure{failure_class::permanent, "enough", ""}};
        co_return sum;
      });
    } catch (const run_failed& failed) {
      why = failed.why();
    }
    if (seed % 4 == 0) throw run_failed{*std::move(why)};
    co_return mix(why->code.size(), why->details.size());
  }

  /// What a saga does, with a part of the program to undo another.
  static flow<std::uint64_t> undone_by_hand(context& ctx, std::uint64_t seed, int depth) {
    std::exception_ptr thrown;
    std::uint64_t sum = 0;
    try {
      sum = co_await block(ctx, seed, depth);
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown) {
      (void)co_await ctx.shielded([seed](context& inner) { return block(inner, ~seed, 0); });
      std::rethrow_exception(thrown);
    }
    co_return sum;
  }
};

/// Does a part of a random program for each message.
struct random_agent : agent<random_agent, std::uint64_t> {
  static constexpr std::string_view type = "random_agent";

  static void handlers(handler_table<random_agent>& on) { on.message("ask", &random_agent::ask); }

  flow<std::uint64_t> ask(context& ctx, std::uint64_t seed) {
    state() = random_program::mix(state(), seed);
    state() = random_program::mix(state(), co_await random_program::block(ctx, state(), 1));
    co_return state();
  }
};

/// A payload that most of the time is what the code asks for.
json payload(std::uint64_t seed) {
  return seed % 5 == 0 ? json("no number") : json(seed % 100);
}

outcome<json> end_of_other(std::uint64_t seed, std::string code) {
  if (seed % 3 != 0) return json(seed % 100);
  auto why = random_failure(seed / 3);
  why.code = std::move(code);
  return std::unexpected{std::move(why)};
}

/// What an agent is sent: now and then what it does not understand.
json message(std::uint64_t seed) {
  return boost::json::object{
      {"id", "m" + std::to_string(seed)},
      {"message", seed % 10 == 0 ? "nonsense" : "ask"},
      {"payload", payload(seed)},
      {"chain", boost::json::array{}}};
}

/// Answers one open command, with a draw of how.
void answer(scripted_run& run, std::uint32_t index, std::mt19937_64& draw) {
  const auto& one = run.engine->open().at(index);
  switch (one.request.kind) {
  case command_kind::step:
    run.run_step(index);
    return;
  case command_kind::model:
    if (draw() % 3 == 0) {
      failure why = random_failure(draw());
      if (draw() % 2 == 0) why.code = runtime::interrupted_code;
      if (draw() % 2 == 0) why.retry_after_ms = 300;
      run.end_attempt(index, std::unexpected{std::move(why)});
    } else {
      run.answer_model(index, std::string(draw() % 20, 'x'));
    }
    return;
  case command_kind::task:
    if (draw() % 3 == 0) {
      run.end_command(index, give_up("task_dead", "no"));
    } else {
      run.end_command(index, json(draw() % 100));
    }
    return;
  case command_kind::signal:
    if (one.due && draw() % 2 == 0) {
      run.fire(index);
    } else if (one.request.name == detail::agent_signal) {
      run.signal(std::string{one.request.name}, message(draw()));
    } else {
      run.signal(std::string{one.request.name}, payload(draw()));
    }
    return;
  case command_kind::child:
    run.end_command(index, end_of_other(draw(), "child_failed"));
    return;
  case command_kind::call:
    run.end_command(index, end_of_other(draw(), "timeout"));
    return;
  case command_kind::publish:
    run.end_command(index, end_of_other(draw(), "topic_full"));
    return;
  case command_kind::update:
    // Its mirror has it.
    run.end_command(index, json(draw() % 100));
    return;
  default:
    run.fire(index);
  }
}

/// Answers open commands in an order drawn from `seed`, with a signal or a cancel in between, or a
/// message; crashes after each transition if asked.
void play(scripted_run& run, std::uint64_t seed, bool is_agent, bool crashes) {
  std::mt19937_64 draw{seed};
  while (!run.end) {
    REQUIRE_FALSE(run.engine->blocked());
    REQUIRE_FALSE(run.engine->open().empty());
    const auto between = draw() % 40;
    if (between == 0) {
      is_agent ? run.signal(std::string{detail::agent_signal}, message(draw())) : run.cancel();
    } else if (between < 4) {
      run.signal("s" + std::to_string(draw() % signal_names), payload(draw()));
    } else {
      auto chosen = run.engine->open().begin();
      std::advance(chosen, static_cast<std::ptrdiff_t>(draw() % run.engine->open().size()));
      run.now += std::chrono::milliseconds{draw() % 50};
      answer(run, chosen->first, draw);
    }
    if (crashes && !run.end) run.crash();
  }
}

std::uint64_t first_seed() {
  const char* given = std::getenv("CALLBOARD_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10)
                          : static_cast<std::uint64_t>(std::random_device{}());
}

/// What the programs of a test have come to.
struct sights {
  std::map<runtime::run_status, int> ends;
  std::map<std::string, int> steps;
  /// Of commands: the classes of their failures, and what came before another attempt.
  std::set<std::string> failures;

  void add(const scripted_run& run) {
    ++ends[run.end->status];
    for (const auto& [name, count] : run.step_runs)
      steps[name] += count;
    for (const auto& one : run.history) {
      using enum runtime::run_event_kind;
      if (one.kind == failed) failures.emplace(name_of(one.why->kind));
      if (one.kind != attempt_failed) continue;
      failures.emplace(one.is_deferred ? "deferred" : *one.due > one.time ? "later" : "at once");
    }
  }
};

/// Two runs of the same program, one without and one with crashes.
void tell_twice(scripted_run& calm, scripted_run& stormy, std::uint64_t seed, bool is_agent) {
  play(calm, seed, is_agent, false);
  play(stormy, seed, is_agent, true);
  REQUIRE(stormy.end->status == calm.end->status);
  REQUIRE(stormy.end->result == calm.end->result);
  REQUIRE(stormy.end->why == calm.end->why);
  REQUIRE(stormy.record() == calm.record());
  REQUIRE(stormy.step_runs == calm.step_runs);
}

}  // namespace

TEST_CASE("random programs tell the same story with and without crashes", "[workflow]") {
  const auto first = first_seed();
  sights seen;
  const runtime::run_limits limits{.deferrals_max = 2};
  for (std::uint64_t i = 0; i < 1'000; ++i) {
    const auto seed = first + i;
    INFO("CALLBOARD_SEED=" << seed);
    const std::string mirror = seed % 3 == 0 ? "watch" : "";
    scripted_run calm{random_program::definition(), seed, limits, mirror};
    scripted_run stormy{random_program::definition(), seed, limits, mirror};
    tell_twice(calm, stormy, seed, false);
    seen.add(calm);
  }
  for (const auto* name :
       {"undoes 0", "undoes 1", "undoes 2", "undoes by flow", "elsewhere", "tries"})
    CHECK(seen.steps.contains(name));
  CHECK(
      seen.failures
      == std::set<std::string>{
          "at once", "bug", "deferred", "later", "permanent", "quota", "rate", "retryable"});
  CHECK(seen.ends.size() == 4);
  CHECK(seen.ends.contains(runtime::run_status::completed));
  CHECK(seen.ends.contains(runtime::run_status::failed));
  CHECK(seen.ends.contains(runtime::run_status::cancelled));
  CHECK(seen.ends.contains(runtime::run_status::continued));
}

TEST_CASE("random agents tell the same story with and without crashes", "[workflow][agent]") {
  const auto first = first_seed();
  sights seen;
  const runtime::run_limits limits{.deferrals_max = 2, .agent_messages = 5};
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto seed = first + i;
    INFO("CALLBOARD_SEED=" << seed);
    scripted_run calm{random_agent::definition(), {}, limits};
    scripted_run stormy{random_agent::definition(), {}, limits};
    tell_twice(calm, stormy, seed, true);
    seen.add(calm);
  }
  CHECK(seen.ends == std::map<runtime::run_status, int>{{runtime::run_status::continued, 200}});
}

}  // namespace callboard
