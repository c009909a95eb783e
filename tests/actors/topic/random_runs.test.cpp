// Random runs on a node that is killed on their way: what is recorded of each, and how it ends, is
// the same as on a node that lives. Their programs do what gives the same whenever it is done.
#include "tests/actors/topic/mortal_broker.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <callboard/agent.hpp>
#include <callboard/saga.hpp>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

namespace {

constexpr std::uint64_t signal_names = 3;
constexpr std::uint64_t signals_each = 2;
/// What was drawn at random is no part of the comparison.
constexpr std::string_view drawn_mark = "drawn ";

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return ((a ^ b) * 0x9e3779b97f4a7c15ULL + 0x7f4a7c15ULL) >> 12U;
}

/// How often each attempt at a step was made, by its key.
class attempts_made {
public:
  void add(const step_attempt& attempt) {
    const std::lock_guard guard{mutex_};
    ++made_[attempt.idempotency_key + ' ' + std::to_string(attempt.number)];
  }

  [[nodiscard]] std::map<std::string, int> take() {
    const std::lock_guard guard{mutex_};
    return std::exchange(made_, {});
  }

private:
  std::mutex mutex_;
  std::map<std::string, int> made_;
};

attempts_made attempts;

struct halving_workflow : workflow<halving_workflow> {
  static constexpr std::string_view type = "test.halving";

  flow<std::uint64_t> run(context& ctx, std::uint64_t of) {
    const auto body = [of](const step_attempt& attempt) -> outcome<std::uint64_t> {
      attempts.add(attempt);
      if (of % 5 == 0) return give_up("odd", "it cannot be halved");
      return of / 2;
    };
    co_return co_await ctx.step("halve", body).required();
  }
};

/// Never ends by itself.
struct lasting_workflow : workflow<lasting_workflow> {
  static constexpr std::string_view type = "test.lasting";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("never").required(); }
};

struct adding_agent : agent<adding_agent, std::uint64_t> {
  static constexpr std::string_view type = "adding";

  static void handlers(handler_table<adding_agent>& on) { on.message("add", &adding_agent::add); }

  flow<std::uint64_t> add(context& ctx, std::uint64_t by) {
    const auto body = [by](const step_attempt& attempt) {
      attempts.add(attempt);
      return by % 100;
    };
    state() += co_await ctx.step("weigh", body).required();
    co_return state();
  }
};

/// What the program does is drawn from its input, and from nothing else; none of it depends on when
/// others answer.
struct random_run : workflow<random_run> {
  static constexpr std::string_view type = "test.random";

  flow<json> run(context& ctx, std::uint64_t seed) {
    if (ctx.identity().run == 1) co_await ctx.signal("go").required();
    const auto sum = co_await block(ctx, seed, 2);
    if (seed % 3 == 0) co_return ctx.continue_as_new(seed / 3 * 3 + 1);
    if (seed % 7 == 0) throw run_failed{failure{failure_class::permanent, "unlucky", ""}};
    co_return sum;
  }

  static flow<std::uint64_t> block(context& ctx, std::uint64_t seed, int depth) {
    std::mt19937_64 draw{seed};
    auto sum = seed;
    const auto commands = draw() % 4 + 2;
    for (std::uint64_t i = 0; i < commands; ++i)
      sum = mix(sum, co_await one(ctx, draw(), depth));
    co_return sum;
  }

  static flow<std::uint64_t> one(context& ctx, std::uint64_t seed, int depth) {
    constexpr std::uint64_t nesting_kinds = 3;
    constexpr std::uint64_t kinds = 14;
    const auto kind = seed % (depth > 0 ? kinds : kinds - nesting_kinds);
    if (kind < 5) return whenever(ctx, kind, seed);
    if (kind < kinds - nesting_kinds) return in_order(ctx, kind - 5, seed);
    return nesting(ctx, kind - (kinds - nesting_kinds), seed, depth - 1);
  }

  /// One command, of which several may be under way at the same time.
  static flow<std::uint64_t> whenever(context& ctx, std::uint64_t kind, std::uint64_t seed) {
    switch (kind) {
    case 0:
      co_return co_await tried_again(ctx, seed);
    case 1:
      co_await ctx.sleep(std::chrono::milliseconds{seed % 200}).required();
      co_return 1;
    case 2: {
      child_options options;
      if (seed % 2 == 0) options.on_parent_close = parent_close::abandon;
      const auto ended = co_await ctx.child<std::uint64_t>("test.halving", seed % 1000, options);
      co_return ended ? *ended : ended.error().code.size();
    }
    case 3: {
      const auto done = co_await ctx.task<std::uint64_t>("llm", seed % 1000);
      co_return done ? *done : done.error().code.size();
    }
    default:
      co_await ctx.sleep_until(ctx.now() + std::chrono::milliseconds{seed % 100} - 20ms).required();
      co_return 2;
    }
  }

  /// What others count, or what is lost on purpose: one at a time.
  static flow<std::uint64_t> in_order(context& ctx, std::uint64_t kind, std::uint64_t seed) {
    switch (kind) {
    case 0: {
      const auto name = "s" + std::to_string(seed % signal_names);
      const auto heard = co_await ctx.signal<std::uint64_t>(name, 60ms);
      co_return heard && *heard ? **heard : 3;
    }
    case 1: {
      const auto told = co_await ctx.call<std::uint64_t>("adding", "k", "add", seed % 100);
      co_return told ? *told : told.error().code.size();
    }
    case 2:
      co_return co_await ctx.publish("out", seed).required();
    case 3:
      co_await ctx.update(seed).required();
      ctx.set_status(seed);
      co_return ctx.version(std::to_string(seed % 3), 2);
    case 4: {
      const auto drawn = ctx.uuid() + std::to_string(ctx.random()) + ' '
                         + std::to_string(ctx.now().time_since_epoch().count());
      const auto body = [kept = std::string{drawn_mark} + drawn] { return kept; };
      co_return co_await ctx.step("draws", body).required() == std::string{drawn_mark} + drawn;
    }
    default: {
      child_options options;
      if (seed % 2 == 0) options.on_parent_close = parent_close::abandon;
      const auto lost = co_await any(
          ctx.child("test.lasting", 1, options), ctx.task("nobody", 1), ctx.sleep(70ms));
      co_return lost.index();
    }
    }
  }

  /// Fails in every way there is, by the number of the attempt.
  static flow<std::uint64_t> tried_again(context& ctx, std::uint64_t seed) {
    retry_policy policy;
    policy.attempts_max = static_cast<std::uint32_t>(seed % 4 + 2);
    policy.first_delay_ms = static_cast<std::uint32_t>(seed % 100);
    policy.delay_max_ms = 200;
    const auto body = [seed](const step_attempt& attempt) -> outcome<std::uint64_t> {
      using enum failure_class;
      static constexpr failure_class classes[]{retryable, rate, rate, rate, quota, permanent, bug};
      attempts.add(attempt);
      std::mt19937_64 draw{seed + attempt.number};
      if (draw() % 3 == 0) return draw() % 100;
      failure why{classes[draw() % std::size(classes)], "no luck", "as drawn"};
      if (draw() % 4 != 0) why.retry_after_ms = static_cast<std::uint32_t>(draw() % 200);
      return std::unexpected{std::move(why)};
    };
    const auto done = co_await ctx.step("tries", body, policy);
    co_return done ? *done : static_cast<std::uint64_t>(done.error().kind);
  }

  static flow<std::uint64_t>
  nesting(context& ctx, std::uint64_t kind, std::uint64_t seed, int depth) {
    switch (kind) {
    case 0: {
      std::vector<flow<std::uint64_t>> parts;
      for (std::uint64_t i = 0; i < seed % 3 + 2; ++i)
        parts.push_back(whenever(ctx, mix(seed, i) % 5, mix(seed, i)));
      auto sum = seed;
      for (const auto part : co_await all(std::move(parts)))
        sum = mix(sum, part);
      co_return sum;
    }
    case 1:
      co_return co_await ctx.shielded(
          [seed, depth](context& inner) { return block(inner, seed, depth); });
    default:
      co_return co_await undone(ctx, seed, depth);
    }
  }

  static flow<std::uint64_t> undone(context& ctx, std::uint64_t seed, int depth) {
    try {
      co_return co_await run_saga(ctx, [&ctx, seed, depth](saga& undos) -> flow<std::uint64_t> {
        undos.compensate("undoes", [](const step_attempt& attempt) -> outcome<void> {
          attempts.add(attempt);
          return {};
        });
        undos.compensate("undoes by flow", [seed](context& inner) -> flow<void> {
          (void)co_await block(inner, mix(seed, 1), 0);
        });
        const auto sum = co_await block(ctx, seed, depth);
        if (seed % 2 == 0) throw run_failed{failure{failure_class::permanent, "enough", ""}};
        co_return sum;
      });
    } catch (const run_failed& failed) {
      co_return failed.why().code.size();
    }
  }
};

struct random_node : mortal_broker {
  explicit random_node(std::size_t life = SIZE_MAX) : mortal_broker{life} {
    if (!code.add(random_run::definition()) || !code.add(halving_workflow::definition())
        || !code.add(lasting_workflow::definition()) || !code.add(adding_agent::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  void begin_run(std::uint64_t seed) {
    start_workflow start{channel("w"), "test.random", std::to_string(seed), {}, {}};
    if (seed % 2 == 0) start.mirror = "watch";
    (void)get<workflow_answer>(start);
    for (std::uint64_t i = 0; i < signal_names * signals_each; ++i) {
      const auto number = std::to_string(i);
      const auto name = "s" + std::to_string(i % signal_names);
      REQUIRE(ask(signal_workflow{channel("w"), name, number, number}));
    }
    signal("w", "go");
  }

  /// As a worker whose leases are soon over if its node dies.
  void work() {
    lease_tasks some{queue(), {}};
    some.lease.worker = "w";
    some.lease.lease_ms = 1'000;
    some.lease.max = 10;
    const auto leased = ask(some);
    if (!leased) return;
    for (const auto& one : std::get<leased_tasks>(*leased).tasks) {
      actors::complete_task done{queue().tenant, {}};
      done.complete.lease = one.lease;
      done.complete.result = std::string{one.payload.view()};
      (void)ask(done);
    }
  }

  /// What the channel says, but for times and what was drawn, in an order that crashes do not
  /// change.
  std::vector<std::string> record() {
    const auto page = get<event_page>(
        read_events{.topic = channel("w"), .from = runtime::from_first{}, .events_max = 10'000});
    REQUIRE(page.next_from > page.last_seq);
    std::vector<std::string> lines;
    for (const auto& stored : page.batch->events)
      lines.push_back(line_of(runtime::decode_run_event(stored).value()));
    std::ranges::sort(lines);
    return lines;
  }

  /// Of a topic; 0 if it is not there.
  std::uint64_t events_in(const std::string& name) {
    const auto page = ask(read_events{
        .topic = virtual_broker::topic(name), .from = runtime::from_first{}, .events_max = 1});
    return page ? std::get<event_page>(*page).last_seq.raw() : 0;
  }

private:
  static std::string line_of(const runtime::run_event& event) {
    using runtime::run_event_kind;
    auto data = boost::json::serialize(event.data);
    const auto is_drawn = event.data.is_string() && event.data.as_string().starts_with(drawn_mark);
    if (is_drawn || event.kind == run_event_kind::started) data.clear();
    auto line = fmt::format(
        "{}.{} {} {} {} {} {}",
        event.run,
        event.command,
        static_cast<int>(event.kind),
        event.name,
        event.attempt,
        event.id,
        data);
    if (event.kind == run_event_kind::issued)
      line += fmt::format(" issued {}", runtime::name_of(event.what));
    if (event.why) line += fmt::format(" {} {}", event.why->code, name_of(event.why->kind));
    if (event.is_deferred) line += " deferred";
    if (event.kind == run_event_kind::ended)
      line += fmt::format(" {}", runtime::name_of(event.status));
    return line;
  }
};

/// All that is left of a run.
struct story {
  std::vector<std::string> record;
  runtime::run_status status{};
  std::string result;
  std::string state;
  std::uint64_t published = 0;
  std::uint64_t mirrored = 0;
  std::uint64_t open_tasks = 0;

  bool operator==(const story&) const = default;
};

struct lived {
  story told;
  std::map<std::string, int> attempts;
  std::size_t commits = 0;
  bool was_killed = false;
};

lived live_through(std::uint64_t seed, std::size_t life) {
  (void)attempts.take();
  random_node node{life};
  node.begin_run(seed);
  REQUIRE(node.comes([&] {
    node.work();
    return node.row("w").ended.has_value();
  }));
  // What it owes others.
  node.pass(2s);
  const auto commits = life - node.left;
  const auto row = node.row("w");
  CHECK(row.owes->empty());
  story told{node.record(), row.status, row.result, row.state};
  told.published = node.events_in("out");
  told.mirrored = node.events_in("watch");
  told.open_tasks = node.open_tasks();
  return {std::move(told), attempts.take(), commits, node.was_killed};
}

}  // namespace

TEST_CASE("random runs tell the same on a node that is killed", "[actors][workflow]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto first = given != nullptr ? std::strtoull(given, nullptr, 10)
                                      : static_cast<std::uint64_t>(std::random_device{}());
  constexpr std::uint64_t programs = 50;
  constexpr int kills = 6;
  std::set<std::string> unseen{
      "call",
      "child",
      "completed",
      "continued",
      "deferred",
      "failed",
      "publish",
      "signal",
      "sleep",
      "step",
      "task",
      "update",
      "version"};
  int killed = 0;
  for (auto seed = first; seed < first + programs; ++seed) {
    INFO("CALLBOARD_SEED=" << seed);
    const auto calm = live_through(seed, SIZE_MAX);
    REQUIRE(calm.commits > kills);
    for (const auto& [attempt, times] : calm.attempts) {
      INFO(attempt);
      CHECK(times == 1);
    }
    std::mt19937_64 draw{seed};
    for (int i = 0; i < kills; ++i) {
      const auto life = draw() % calm.commits;
      INFO("killed after " << life << " commits");
      const auto stormy = live_through(seed, life);
      killed += stormy.was_killed ? 1 : 0;
      REQUIRE(stormy.told.record == calm.told.record);
      REQUIRE(stormy.told == calm.told);
      REQUIRE(stormy.attempts.size() == calm.attempts.size());
      for (const auto& [attempt, times] : stormy.attempts) {
        INFO(attempt);
        CHECK(times <= 2);
      }
    }
    for (const auto& line : calm.told.record)
      unseen.erase(line.substr(line.rfind(' ') + 1));
  }
  CHECK(killed > static_cast<int>(programs) * kills / 2);
  CHECK(unseen == std::set<std::string>{});
}

}  // namespace callboard::testing
