// What each command does, live and after a crash at any point.
#include "runtime/workflow/run_limits.hpp"

#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/saga.hpp>
#include <callboard/workflow.hpp>
#include <string>

namespace callboard {

using namespace std::chrono_literals;
using runtime::run_event_kind;
using runtime::run_status;
using tests::scripted_run;

namespace {

struct two_steps : workflow<two_steps> {
  static constexpr std::string_view type = "two_steps";

  flow<std::string> run(context& ctx, json) {
    const auto first = co_await ctx.step("first", [] { return 20; }).required();
    const auto second = co_await ctx.step("second", [first] { return first + 1; }).required();
    co_return "got " + std::to_string(second);
  }
};

struct one_step_named_otherwise : workflow<one_step_named_otherwise> {
  static constexpr std::string_view type = "two_steps";

  flow<std::string> run(context& ctx, json) {
    const auto first = co_await ctx.step("first", [] { return 20; }).required();
    const auto second = co_await ctx.step("another", [first] { return first + 1; }).required();
    co_return "got " + std::to_string(second);
  }
};

struct shorter : workflow<shorter> {
  static constexpr std::string_view type = "two_steps";

  flow<std::string> run(context&, json) { co_return "nothing to do"; }
};

struct approval : workflow<approval> {
  static constexpr std::string_view type = "approval";

  flow<std::string> run(context& ctx, json) {
    auto answer = co_await ctx.signal<std::string>("approve", 1h).required();
    if (!answer) co_return "timed out";
    auto second = co_await ctx.signal<std::string>("approve").required();
    co_return *answer + " and " + second;
  }
};

/// What five signals with a timeout bring.
struct reminded : workflow<reminded> {
  static constexpr std::string_view type = "reminded";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("before", [] {}).required();
    boost::json::array heard;
    while (heard.size() < 5) {
      auto one = co_await ctx.signal("approve", 1h).required();
      heard.push_back(one ? *std::move(one) : json("timed out"));
    }
    co_return heard;
  }
};

struct racing : workflow<racing> {
  static constexpr std::string_view type = "racing";

  flow<std::string> run(context& ctx, json) {
    auto first =
        co_await any(ctx.step("slow", [] { return std::string{"slow"}; }), ctx.sleep(5s), sub(ctx));
    if (first.index() == 0) co_return **std::get_if<0>(&first);
    if (first.index() == 1) co_return "timeout";
    co_return std::get<2>(first);
  }

  static flow<std::string> sub(context& ctx) {
    auto said = co_await ctx.signal<std::string>("hurry").required();
    co_return "hurried by " + said;
  }
};

struct joining : workflow<joining> {
  static constexpr std::string_view type = "joining";

  flow<int> run(context& ctx, json) {
    std::vector<flow<int>> parts;
    for (int i = 1; i <= 3; ++i)
      parts.push_back(part(ctx, i));
    int sum = 0;
    for (const auto one : co_await all(std::move(parts)))
      sum += one;
    co_return sum;
  }

  static flow<int> part(context& ctx, int number) {
    co_await ctx.sleep(std::chrono::seconds{number}).required();
    co_return co_await ctx.step("part", [number] { return number * 10; }).required();
  }
};

struct booking : workflow<booking> {
  static constexpr std::string_view type = "booking";

  flow<std::string> run(context& ctx, json) {
    co_return co_await run_saga(ctx, [&ctx](saga& undo) -> flow<std::string> {
      undo.compensate("cancel hotel", [](const step_attempt&) { return outcome<void>{}; });
      co_await ctx.step("book hotel", [] {}).required();
      undo.compensate("cancel flight", [](const step_attempt&) { return outcome<void>{}; });
      co_await ctx
          .step(
              "book flight",
              []() -> outcome<int> { return give_up("sold_out", "no seat is left"); })
          .required();
      co_return "booked";
    });
  }
};

struct patient : workflow<patient> {
  static constexpr std::string_view type = "patient";

  flow<std::string> run(context& ctx, json) {
    co_return co_await run_saga(ctx, [&ctx](saga& undo) -> flow<std::string> {
      undo.compensate("undo", [](const step_attempt&) { return outcome<void>{}; });
      co_await ctx.step("do", [] {}).required();
      co_await ctx.sleep(24h).required();
      co_return "slept";
    });
  }
};

struct counting : workflow<counting> {
  static constexpr std::string_view type = "counting";

  flow<json> run(context& ctx, int count) {
    co_await ctx.step("tick", [] {}).required();
    if (count < 3) co_return ctx.continue_as_new(count + 1);
    co_return count;
  }
};

/// Goes on as new, whatever comes, from a place where it cannot be interrupted.
struct persistent : workflow<persistent> {
  static constexpr std::string_view type = "persistent";

  flow<json> run(context& ctx, json) {
    co_await ctx.shielded(
        [](context& inner) -> flow<void> { co_await inner.sleep(1s).required(); });
    co_return ctx.continue_as_new(1);
  }
};

struct counted_signals : workflow<counted_signals> {
  static constexpr std::string_view type = "counted_signals";

  flow<json> run(context& ctx, json) {
    boost::json::array seen;
    for (int i = 0; i < 2; ++i) {
      const auto got = co_await ctx.signal<std::int64_t>("number");
      seen.emplace_back(got ? json(*got) : json(got.error().code));
    }
    co_return seen;
  }
};

struct stuck : workflow<stuck> {
  static constexpr std::string_view type = "stuck";

  flow<void> run(context&, json) { co_await std::suspend_always{}; }
};

struct throwing : workflow<throwing> {
  static constexpr std::string_view type = "throwing";

  flow<void> run(context& ctx, json) {
    co_await ctx.step("fine", [] {}).required();
    throw std::runtime_error{"a bug"};
  }
};

struct before_change : workflow<before_change> {
  static constexpr std::string_view type = "changing";

  flow<int> run(context& ctx, json) {
    co_await ctx.step("a", [] {}).required();
    co_await ctx.step("b", [] {}).required();
    co_return 0;
  }
};

struct after_change : workflow<after_change> {
  static constexpr std::string_view type = "changing";

  flow<int> run(context& ctx, json) {
    const auto way = ctx.version("faster", 2);
    if (way >= 2) {
      co_await ctx.step("ab", [] {}).required();
    } else {
      co_await ctx.step("a", [] {}).required();
      co_await ctx.step("b", [] {}).required();
    }
    co_return static_cast<int>(ctx.version("faster", 2));
  }
};

/// Issues commands until one of them is refused.
struct hasty : workflow<hasty> {
  static constexpr std::string_view type = "hasty";

  flow<json> run(context& ctx, json padding) {
    co_await ctx.step("before", [] {}).required();
    for (std::int64_t issued = 0;; ++issued) {
      const auto told = co_await ctx.update(padding);
      if (told) continue;
      co_return boost::json::object{{"issued", issued}, {"code", told.error().code}};
    }
  }
};

}  // namespace

TEST_CASE("what code issues without waiting is bounded", "[workflow]") {
  const auto [padding, issued] = GENERATE(
      std::pair<std::size_t, std::int64_t>{0, runtime::turn_commands_max},
      std::pair<std::size_t, std::int64_t>{1U << 20, runtime::turn_bytes_max / ((1U << 20) + 2)});
  scripted_run run{hasty::definition(), json(std::string(padding, '.'))};
  run.run_step(1);
  REQUIRE(run.end);
  // A replay meets the same bound.
  run.crash();
  REQUIRE_FALSE(run.engine->blocked());
  CHECK(run.end->result.at("code") == "too_many_commands");
  // The one that reaches it passes; names of arguments take some bytes, too.
  const auto seen = run.end->result.at("issued").to_number<std::int64_t>();
  CHECK(seen <= issued + 1);
  CHECK(seen >= issued);
}

TEST_CASE("a run completes with its result", "[workflow]") {
  scripted_run run{two_steps::definition()};
  CHECK(run.history.size() == 2);
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::completed);
  CHECK(run.end->result == json("got 21"));
  CHECK(run.engine->commands() == 2);
}

TEST_CASE("a completed step never runs again after a crash", "[workflow]") {
  scripted_run run{two_steps::definition()};
  run.run_step(1);
  run.crash();
  CHECK_FALSE(run.engine->blocked());
  CHECK(run.engine->open().contains(2));
  run.run_all();
  CHECK(run.end->result == json("got 21"));
  CHECK(run.step_runs["first"] == 1);
  CHECK(run.step_runs["second"] == 1);
}

TEST_CASE("replay adds nothing to the record", "[workflow]") {
  scripted_run run{two_steps::definition()};
  run.run_step(1);
  const auto before = run.history.size();
  run.crash();
  run.crash();
  CHECK(run.history.size() == before);
}

TEST_CASE("code that does something else parks the run with both sides named", "[workflow]") {
  scripted_run run{two_steps::definition()};
  run.run_step(1);
  const auto before = run.history.size();
  run.crash_into(one_step_named_otherwise::definition());
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "command_differs");
  CHECK(run.engine->blocked()->message.find("'second'") != std::string::npos);
  CHECK(run.engine->blocked()->message.find("'another'") != std::string::npos);
  CHECK(run.history.size() == before);
  // The fitting build goes on where it was.
  run.crash_into(two_steps::definition());
  run.run_all();
  CHECK(run.end->result == json("got 21"));
}

TEST_CASE("code that does less than was recorded parks the run", "[workflow]") {
  scripted_run run{two_steps::definition()};
  run.crash_into(shorter::definition());
  // It ended where the journal tells of a command: that is not its end.
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "command_missing");
  CHECK_FALSE(run.end);
}

TEST_CASE("signals are read in order, before or after they are awaited", "[workflow]") {
  scripted_run run{approval::definition()};
  run.signal("other", "x");
  run.signal("approve", "Ann");
  CHECK_FALSE(run.end);
  run.crash();
  run.signal("approve", "Bob");
  REQUIRE(run.end);
  CHECK(run.end->result == json("Ann and Bob"));

  scripted_run slow{approval::definition()};
  slow.fire(1);
  REQUIRE(slow.end);
  CHECK(slow.end->result == json("timed out"));
}

TEST_CASE("two signals ahead of their reader are both read", "[workflow]") {
  scripted_run run{approval::definition()};
  run.signal("approve", "Ann");
  run.signal("approve", "Bob");
  REQUIRE(run.end);
  CHECK(run.end->result == json("Ann and Bob"));
}

TEST_CASE("the first of any wins and the others are cancelled in the record", "[workflow]") {
  for (const int which : {0, 1, 2}) {
    scripted_run run{racing::definition()};
    CHECK(run.engine->open().size() == 3);
    run.crash();
    if (which == 0) run.run_step(1);
    if (which == 1) run.fire(2);
    if (which == 2) run.signal("hurry", "Eve");
    REQUIRE(run.end);
    const std::string expected[] = {"slow", "timeout", "hurried by Eve"};
    CHECK(run.end->result == json(expected[which]));
    CHECK(
        std::ranges::count(
            run.history, run_event_kind::command_cancelled, &runtime::run_event::kind)
        == 2);
  }
}

TEST_CASE("all waits for every branch whatever the order", "[workflow]") {
  scripted_run run{joining::definition()};
  run.fire(3);
  run.crash();
  run.fire(1);
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->result == json(60));
}

TEST_CASE("a failed saga undoes what was done, latest first", "[workflow]") {
  scripted_run run{booking::definition()};
  run.run_step(1);
  run.run_step(2);
  CHECK(run.engine->open().at(3).request.name == "cancel flight");
  run.crash();
  run.run_step(3);
  CHECK(run.engine->open().at(4).request.name == "cancel hotel");
  run.run_step(4);
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::failed);
  CHECK(run.end->why->code == "sold_out");
}

TEST_CASE("cancelling is sticky and lets compensations run", "[workflow]") {
  scripted_run run{patient::definition()};
  run.run_step(1);
  run.cancel();
  CHECK_FALSE(run.end);
  REQUIRE(run.engine->open().size() == 1);
  CHECK(run.engine->open().begin()->second.request.name == "undo");
  run.crash();
  run.cancel();
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::cancelled);
}

TEST_CASE("continue_as_new ends the run with the next one's input", "[workflow]") {
  scripted_run run{counting::definition(), 1};
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::continued);
  CHECK(run.end->result == json(2));
}

TEST_CASE("a cancelled run does not go on as new", "[workflow]") {
  const bool is_cancelled = GENERATE(false, true);
  const bool crashes = GENERATE(false, true);
  scripted_run run{persistent::definition()};
  if (is_cancelled) run.cancel();
  if (crashes) run.crash();
  CHECK_FALSE(run.end);
  run.fire(1);
  REQUIRE(run.end);
  CHECK(run.end->status == (is_cancelled ? run_status::cancelled : run_status::continued));
}

TEST_CASE("a signal of another shape is a failure that code can answer", "[workflow]") {
  scripted_run run{counted_signals::definition()};
  run.signal("number", "no number");
  run.crash();
  run.signal("number", 7);
  REQUIRE(run.end);
  CHECK(run.end->result == json(boost::json::array{"wrong_shape", 7}));

  scripted_run strict{approval::definition()};
  strict.signal("approve", 5);
  REQUIRE(strict.end);
  CHECK(strict.end->status == run_status::failed);
  CHECK(strict.end->why->kind == failure_class::permanent);
  CHECK(strict.end->why->code == "wrong_shape");
  CHECK(strict.end->why->message.contains("another shape"));
}

TEST_CASE("a signal without payload is not the end of the time for it", "[workflow]") {
  const bool crashes = GENERATE(false, true);
  scripted_run run{reminded::definition()};
  // There before it is awaited.
  run.signal("approve", {});
  if (crashes) run.crash();
  run.run_step(1);
  if (crashes) run.crash();
  run.signal("approve", {});
  if (crashes) run.crash();
  run.fire(4);
  if (crashes) run.crash();
  // Skipped, and resolved, by hand.
  run.end_command(5, json{});
  if (crashes) run.crash();
  run.end_command(6, json(boost::json::array{7}));
  REQUIRE(run.end);
  const boost::json::array heard{nullptr, nullptr, "timed out", "timed out", boost::json::array{7}};
  CHECK(run.end->result == json(heard));

  scripted_run strict{approval::definition()};
  strict.signal("approve", {});
  REQUIRE(strict.end);
  CHECK(strict.end->status == run_status::failed);
  CHECK(strict.end->why->code == "wrong_shape");
}

TEST_CASE("awaiting something else than a command is reported", "[workflow]") {
  scripted_run run{stuck::definition()};
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "nothing_awaited");
}

TEST_CASE("an exception of the code fails the run as a bug", "[workflow]") {
  scripted_run run{throwing::definition()};
  run.run_all();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::failed);
  CHECK(run.end->why->kind == failure_class::bug);
  CHECK(run.end->why->message == "a bug");
}

TEST_CASE("version keeps old runs on the old way and new runs on the new", "[workflow]") {
  scripted_run old{before_change::definition()};
  old.run_step(1);
  old.crash_into(after_change::definition());
  CHECK_FALSE(old.engine->blocked());
  old.run_all();
  CHECK(old.end->result == json(0));

  scripted_run fresh{after_change::definition()};
  fresh.crash();
  fresh.run_all();
  CHECK(fresh.end->result == json(2));
  CHECK(fresh.step_runs["ab"] == 1);
}

TEST_CASE("inputs for commands that are not open change nothing", "[workflow]") {
  scripted_run run{two_steps::definition()};
  run.fire(7);
  run.run_step(1);
  runtime::run_event late;
  late.kind = run_event_kind::completed;
  late.command = 1;
  late.data = 99;
  run.feed(late);
  run.run_all();
  CHECK(run.end->result == json("got 21"));
}

}  // namespace callboard
