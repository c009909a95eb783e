// A node whose workflow `everything` uses every command once or more. Steps append a line to the
// file EVERY_COMMAND_LOG for each attempt, so that a test can count what was done to the world.
#include <callboard/agent.hpp>
#include <callboard/node.hpp>
#include <callboard/saga.hpp>
#include <callboard/workflow.hpp>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <future>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace callboard;
using namespace std::chrono_literals;
using boost::json::object;

auto effect(std::string what, std::int64_t value) {
  return [what = std::move(what), value](const step_attempt& attempt) {
    const char* file = std::getenv("EVERY_COMMAND_LOG");
    if (file != nullptr) {
      const auto line =
          what + ' ' + attempt.idempotency_key + ' ' + std::to_string(attempt.number) + '\n';
      std::ofstream{file, std::ios::app} << line << std::flush;
    }
    return value;
  };
}

struct tally : agent<tally, std::int64_t> {
  static constexpr std::string_view type = "tally";

  static void handlers(handler_table<tally>& on) { on.message("add", &tally::add); }

  flow<std::int64_t> add(context& ctx, std::int64_t by) {
    state() += co_await ctx.step("weigh", effect("weigh", by)).required();
    co_return state();
  }
};

struct piece : workflow<piece> {
  static constexpr std::string_view type = "piece";

  flow<std::int64_t> run(context& ctx, std::int64_t size) {
    co_return 2 * co_await ctx.step("piece", effect("piece", size)).required();
  }
};

/// Never ends by itself.
struct patient : workflow<patient> {
  static constexpr std::string_view type = "patient";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("never").required(); }
};

/// Waits for a child of the type that it is given.
struct orphan : workflow<orphan> {
  static constexpr std::string_view type = "orphan";

  flow<json> run(context& ctx, std::string of) {
    co_return co_await ctx.child<json>(std::move(of), json{}).required();
  }
};

/// Code that does not end: in its first turn, in its second, or in a step.
struct stubborn : workflow<stubborn> {
  static constexpr std::string_view type = "stubborn";

  flow<json> run(context& ctx, std::string where) {
    if (where == "first") hang();
    if (where == "step") co_await ctx.step("hang", [] { hang(); }).required();
    co_await ctx.sleep(1ms).required();
    hang();
    co_return "never";
  }

  static void hang() { std::latch{1}.wait(); }
};

/// Has so many children at each level below it; those of the last never end by themselves.
struct tree : workflow<tree> {
  static constexpr std::string_view type = "tree";

  flow<json> run(context& ctx, std::vector<int> levels) {
    if (levels.empty()) co_return co_await ctx.signal("never").required();
    const auto count = levels.front();
    levels.erase(levels.begin());
    std::vector<flow<json>> children;
    for (int i = 0; i < count; ++i)
      children.push_back(ctx.child("tree", levels).required());
    co_return to_json(co_await all(std::move(children)));
  }
};

/// Waits for a task in the queue that it is given.
struct sender : workflow<sender> {
  static constexpr std::string_view type = "sender";

  flow<json> run(context& ctx, std::string queue) {
    auto got = co_await ctx.task<json>(std::move(queue), 1);
    co_return got ? *got : json(got.error().code);
  }
};

#ifdef CALLBOARD_CHANGED
struct late_sender : workflow<late_sender> {
  static constexpr std::string_view type = "late_sender";

  flow<json> run(context& ctx, std::string queue) {
    co_return co_await ctx.task<json>(std::move(queue), 1).required();
  }
};
#endif

/// Of two versions.
template <std::uint32_t Version>
struct dated : workflow<dated<Version>> {
  static constexpr std::string_view type = "dated";
  static constexpr std::uint32_t version = Version;

  flow<json> run(context& ctx, json) {
    co_await ctx.signal("go").required();
    co_return Version;
  }
};

/// Does something else in the build that tests/golden/make.sh has beside the usual one.
struct fickle : workflow<fickle> {
  static constexpr std::string_view type = "fickle";

  flow<json> run(context& ctx, json) {
#ifdef CALLBOARD_CHANGED
    co_await ctx.step("two", effect("two", 2)).required();
#else
    co_await ctx.step("one", effect("one", 1)).required();
#endif
    co_return co_await ctx.signal("go").required();
  }
};

/// So many steps, one after the other, and then a signal.
struct many : workflow<many> {
  static constexpr std::string_view type = "many";

  flow<std::int64_t> run(context& ctx, std::int64_t count) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < count; ++i)
      sum += co_await ctx.step("add", [i] { return i; }).required();
    co_return sum + co_await ctx.signal<std::int64_t>("go").required();
  }
};

/// Is cancelled while its child and its task are under way.
struct leaver : workflow<leaver> {
  static constexpr std::string_view type = "leaver";

  flow<json> run(context& ctx, json) {
    auto [child, task] = co_await all(
        ctx.child("patient", 1, {.id = "left"}).required(), ctx.task("errands", 1).required());
    co_return boost::json::array{child, task};
  }
};

/// Is cancelled while its saga waits for a child and a task; what is undone last takes two
/// commands.
struct undoer : workflow<undoer> {
  static constexpr std::string_view type = "undoer";

  static auto undo(std::string what) {
    return [what = std::move(what)](const step_attempt& attempt) -> outcome<void> {
      effect(what, 0)(attempt);
      return {};
    };
  }

  flow<json> run(context& ctx, json) {
    std::exception_ptr thrown;
    try {
      co_await run_saga(ctx, [&ctx](saga& undos) -> flow<void> {
        undos.compensate("undo first", undo("undo first"));
        co_await ctx.step("first", effect("first", 1)).required();
        undos.compensate("undo second", undo("undo second"));
        co_await ctx.step("second", effect("second", 2)).required();
        co_await all(
            ctx.child("patient", 1, {.id = "left"}).required(), ctx.task("errands", 1).required());
      });
    } catch (...) {
      thrown = std::current_exception();
    }
    if (!thrown) co_return "nothing to undo";
    co_await ctx.shielded([](context& inner) -> flow<void> {
      const auto given = co_await inner.step("give back", effect("give back", 3)).required();
      co_await inner.publish("undone", object{{"given", given}}).required();
    });
    std::rethrow_exception(thrown);
  }
};

/// Is begun anew from `middle` while a child is under way, and then goes on as new: only then it
/// reads the signal `late`.
struct redone : workflow<redone> {
  static constexpr std::string_view type = "redone";

  flow<json> run(context& ctx, json input) {
    if (input.is_object()) co_return co_await finish(ctx, std::move(input));
    object seen;
    seen["before"] = co_await ctx.step("before", effect("before", 1)).required();
    seen["middle"] = co_await ctx.step("middle", effect("middle", 2)).required();
    co_await ctx.publish("redone", ctx.identity().run).required();
    const auto went = co_await any(ctx.child("patient", 1), ctx.signal<std::int64_t>("go"));
    seen["went"] = went.index();
    co_return ctx.continue_as_new(std::move(seen));
  }

  static flow<json> finish(context& ctx, json seen) {
    seen.as_object()["late"] = co_await ctx.signal<std::int64_t>("late").required();
    seen.as_object()["last"] = co_await ctx.step("last", effect("last", 3)).required();
    co_return seen;
  }
};

struct everything : workflow<everything> {
  static constexpr std::string_view type = "everything";

  flow<json> run(context& ctx, json input) {
    if (input.is_object()) co_return co_await finish(ctx, std::move(input));
    object seen;
    seen["one"] = co_await ctx.step("one", effect("one", 1)).required();
    seen["version"] = ctx.version("change", 2);
    const auto drawn = ctx.random();
    const auto kept =
        co_await ctx.step("drawn", [drawn] { return std::to_string(drawn); }).required();
    seen["drawn again"] = kept == std::to_string(drawn);
    co_await ctx.sleep(5ms).required();
    co_await ctx.update(object{{"at", "half"}}).required();
    ctx.set_status("half");
    auto [left, right] =
        co_await all(ctx.step("left", effect("left", 2)), ctx.step("right", effect("right", 3)));
    seen["both"] = *left + *right;
    const auto first = co_await any(ctx.step("fast", effect("fast", 4)), ctx.sleep(1h));
    seen["first"] = first.index();
    seen["tally"] = co_await ctx.call<std::int64_t>("tally", "t", "add", 5).required();
    seen["child"] = co_await ctx.child<std::int64_t>("piece", 21).required();
    seen["seq"] = co_await ctx.publish("out", object{{"from", "everything"}}).required();
    const auto has_tasks = ctx.version("tasks", 1) == 1;
    const auto has_models = ctx.version("models", 1) == 1;
    const auto has_rest = ctx.version("rest", 1) == 1;
    const auto has_more = ctx.version("more", 1) == 1;
    const auto has_pending = ctx.version("pending", 1) == 1;
    seen["undone"] = co_await undone(ctx);
    seen["go"] = co_await ctx.signal<std::int64_t>("go").required();
    if (has_pending) co_await pending(ctx, seen);
    if (has_tasks) {
      seen["worked"] = co_await ctx.task<std::int64_t>("chores", 8).required();
      const auto waited = co_await any(ctx.task<std::int64_t>("nobody", 1), ctx.sleep(5ms));
      seen["waited"] = waited.index();
    }
    if (has_models) {
      model_request question;
      question.messages.emplace_back(user_message("say it"));
      seen["said"] = (co_await ctx.model("say", std::move(question)).required()).text;
    }
    if (has_rest) co_await rest(ctx, seen);
    if (has_more) co_await more(ctx, seen);
    seen["never"] = (co_await ctx.signal<std::int64_t>("never", 5ms).required()).has_value();
    co_return ctx.continue_as_new(std::move(seen));
  }

  /// What earlier versions of this class did not have.
  static flow<void> rest(context& ctx, object& seen) {
    seen["elsewhere"] = co_await ctx
                            .async_step<std::int64_t>(
                                "elsewhere",
                                [](const step_attempt& attempt, step_promise<std::int64_t> done) {
                                  done.complete(effect("elsewhere", 9)(attempt));
                                })
                            .required();
    const auto retried = [](const step_attempt& attempt) -> outcome<std::int64_t> {
      const auto done = effect("retried", 10)(attempt);
      if (attempt.number > 1) return done;
      return std::unexpected{failure{failure_class::retryable, "busy", "once"}};
    };
    const retry_policy soon{.attempts_max = 5, .first_delay_ms = 5};
    seen["retried"] = co_await ctx.step("retried", retried, soon).required();
    const auto drawn = ctx.uuid();
    const auto kept = co_await ctx.step("uuid", [drawn] { return drawn; }).required();
    seen["uuid again"] = kept == drawn;
    co_await ctx.sleep_until(ctx.now() + 5ms).required();
    // Goes on by itself.
    const child_options alone{.id = "stray", .on_parent_close = parent_close::abandon};
    const auto left = co_await any(ctx.child("patient", 1, alone), ctx.sleep(50ms));
    seen["left"] = left.index();
  }

  /// What is still under way when others are done.
  static flow<void> pending(context& ctx, object& seen) {
    // Comes before its time is up.
    seen["soon"] = (co_await ctx.signal<std::int64_t>("soon", 1h).required()).value_or(0);
    const auto now = ctx.now().time_since_epoch().count();
    const auto kept = co_await ctx.step("now", [now] { return now; }).required();
    seen["now again"] = kept == now;
    auto later = ctx.async_step<std::int64_t>(
        "told later", [](const step_attempt& attempt, step_promise<std::int64_t> done) {
          std::thread{[attempt, done = std::move(done)] {
            std::promise<void>{}.get_future().wait_for(30ms);
            done.complete(effect("told later", 14)(attempt));
          }}.detach();
        });
    auto [told, slept] = co_await all(std::move(later).required(), twice_asleep(ctx));
    seen["told later"] = told;
    seen["slept"] = slept;
  }

  static flow<std::int64_t> twice_asleep(context& ctx) {
    co_await ctx.sleep(5ms).required();
    co_await ctx.sleep(5ms).required();
    co_return 2;
  }

  static flow<void> more(context& ctx, object& seen) {
    const auto put_off = [](const step_attempt& attempt) -> outcome<std::int64_t> {
      const auto done = effect("put off", 11)(attempt);
      if (attempt.number > 1) return done;
      return std::unexpected{failure{failure_class::rate, "busy", "a little later", 5}};
    };
    seen["put off"] = co_await ctx.step("put off", put_off).required();
    seen["raced"] = (co_await race(ctx.step("swift", effect("swift", 12)), ctx.sleep(1h))).index();
    seen["won"] = (co_await first_success(
                       ctx.step("lost", []() -> outcome<int> { return give_up("no", "no"); }),
                       ctx.step("won", effect("won", 13))))
                      .has_value();
  }

  static flow<std::string> undone(context& ctx) {
    try {
      co_await run_saga(ctx, [&ctx](saga& saga) -> flow<void> {
        saga.compensate("undo", [](const step_attempt& attempt) -> outcome<void> {
          effect("undo", 0)(attempt);
          return {};
        });
        co_await ctx
            .step("refused", []() -> outcome<int> { return give_up("refused", "on purpose"); })
            .required();
      });
    } catch (const run_failed& thrown) {
      co_return thrown.why().code;
    }
    co_return "nothing";
  }

  static flow<json> finish(context& ctx, json seen) {
    ctx.set_status("at the end");
    seen.as_object()["last"] = co_await ctx.step("last", effect("last", 6)).required();
    if (ctx.version("outlived", 1) == 0) co_return seen;
    // Goes on when its parent has completed, in the same transition as it was left.
    const child_options alone{.id = "outliving", .on_parent_close = parent_close::abandon};
    const auto left = co_await any(ctx.child("patient", 1, alone), ctx.sleep(50ms));
    seen.as_object()["outlived"] = left.index();
    co_return seen;
  }
};

}  // namespace

int main(int argc, char** argv) {
  return node{}
      .add<everything>()
      .add<piece>()
      .add<tally>()
      .add<patient>()
      .add<stubborn>()
      .add<orphan>()
      .add<tree>()
      .add<leaver>()
      .add<many>()
      .add<undoer>()
      .add<redone>()
      .add<sender>()
      .add<dated<1>>()
      .add<dated<2>>()
      .add<fickle>()
#ifdef CALLBOARD_CHANGED
      .add<late_sender>()
#endif
      .main(argc, argv);
}
