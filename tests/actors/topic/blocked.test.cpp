// Runs whose code does not fit their record: they do nothing, however often they are read, and
// leave nothing behind when they are ended or begun anew. And what a run still has on its way.
#include "actors/run_reads.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_row.hpp"

#include "tests/actors/topic/virtual_broker.hpp"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

std::atomic<int> other_runs{0};

flow<json> first_then(context& ctx, std::string second) {
  (void)co_await ctx.step("first", [] { return 1; }).required();
  co_return json(co_await ctx.step(std::move(second), [] { return 2; }).required());
}

flow<json> other(context& ctx) {
  co_return json(co_await ctx.step("other", [] { return ++other_runs; }).required());
}

flow<json> long_sleep(context& ctx) {
  co_await ctx.sleep(1h);
  co_return json(1);
}

flow<json> patient_signal(context& ctx) {
  const auto got = co_await ctx.signal("go", 2h).required();
  co_return got.value_or(json("nothing"));
}

std::vector<flow<json>> parts_of(context& ctx, const std::string& second) {
  std::vector<flow<json>> parts;
  parts.push_back(first_then(ctx, second));
  parts.push_back(other(ctx));
  parts.push_back(ctx.child("test.kid", 1, {.id = "kid"}).required());
  parts.push_back(long_sleep(ctx));
  parts.push_back(patient_signal(ctx));
  return parts;
}

struct kid_workflow : workflow<kid_workflow> {
  static constexpr std::string_view type = "test.kid";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

struct turned_workflow : workflow<turned_workflow> {
  static constexpr std::string_view type = "test.turned";

  flow<json> run(context& ctx, json) {
    co_await all(parts_of(ctx, "second"));
    co_return json(1);
  }
};

/// Does something else after its first step, when the other one has not ended yet.
struct mistaken_workflow : workflow<mistaken_workflow> {
  static constexpr std::string_view type = "test.turned";

  flow<json> run(context& ctx, json) {
    co_await all(parts_of(ctx, "third"));
    co_return json(1);
  }
};

bool does_otherwise = false;

/// Fails where others are blocked.
struct hasty_workflow : workflow<hasty_workflow> {
  static constexpr std::string_view type = "test.hasty";
  static constexpr auto on_mismatch = mismatch::fail;

  flow<json> run(context& ctx, json) {
    if (does_otherwise) co_return co_await ctx.step("other", [] { return json(1); }).required();
    co_return co_await ctx.child("test.kid", 1, {.id = "kid"}).required();
  }
};

/// Leaves all the others when the first of them has ended.
struct impatient_workflow : workflow<impatient_workflow> {
  static constexpr std::string_view type = "test.turned";

  flow<json> run(context& ctx, json) {
    std::vector<flow<json>> parts;
    parts.push_back(ctx.step("first", [] { return json(1); }).required());
    parts.push_back(other(ctx));
    parts.push_back(ctx.child("test.kid", 1, {.id = "kid"}).required());
    co_await any(std::move(parts));
    co_return json(1);
  }
};

struct asking_workflow : workflow<asking_workflow> {
  static constexpr std::string_view type = "test.asking";

  flow<json> run(context& ctx, json) {
    auto got = co_await ctx.task("llm", 1);
    co_return got ? *got : json(got.error().code);
  }
};

/// Does something else in its command of that number.
template <int Changed>
struct stepping_workflow : workflow<stepping_workflow<Changed>> {
  static constexpr std::string_view type = "test.stepping";

  flow<json> run(context& ctx, json) {
    co_await ctx.step(Changed == 1 ? "x" : "a", [] {}).required();
    co_await ctx.signal("go").required();
    co_await ctx.step(Changed == 3 ? "y" : "b", [] {}).required();
    co_return co_await ctx.signal("stop").required();
  }
};

struct node {
  explicit node(config with = {}) : broker{std::move(with), &code} { use<turned_workflow>(); }

  template <class Workflow>
  void use(const std::string& build = {}) {
    code = {};
    if (!code.add(kid_workflow::definition()) || !code.add(asking_workflow::definition())
        || !code.add(Workflow::definition(), build)) {
      FAIL("cannot add the workflows");
    }
  }

  static topic_ref channel(const std::string& id) {
    return virtual_broker::topic("workflow." + id);
  }

  void begin(const std::string& id, const std::string& of) {
    REQUIRE(broker.ask_now(start_workflow{channel(id), of, "null", {}, {}}));
    broker.advance(1s);
  }

  runtime::workflow_row row(const std::string& id) {
    auto reader = broker.journal.read(broker.shard_of("workflow." + id));
    return read_workflow_row(**reader, channel(id)).value().value_or(runtime::workflow_row{});
  }

  std::string shown(const std::string& id) {
    auto answer = broker.ask_now(get_workflow{channel(id)});
    return answer ? std::get<workflow_answer>(*answer).body : std::string{answer.error().detail};
  }

  /// As kill -9, and then somebody looks at the run.
  void read_again(const std::string& id) {
    broker.crash();
    (void)shown(id);
    broker.advance(3s);
  }

  std::size_t timer_rows(const std::string& id) {
    std::size_t rows = 0;
    auto reader = broker.journal.read(broker.shard_of("workflow." + id));
    (void)(*reader)->scan(storage::view_id::workflow_timer, {}, {}, [&](auto, auto) {
      ++rows;
      return true;
    });
    return rows;
  }

  std::vector<runtime::run_event> events_of(const std::string& id) {
    auto page = broker.ask_now(
        read_events{.topic = channel(id), .from = runtime::from_first{}, .events_max = 100});
    std::vector<runtime::run_event> events;
    for (const auto& one : std::get<event_page>(*page).batch->events)
      events.push_back(runtime::decode_run_event(one).value());
    return events;
  }

  std::size_t count_of(const std::string& id, runtime::run_event_kind kind) {
    return static_cast<std::size_t>(
        std::ranges::count(events_of(id), kind, &runtime::run_event::kind));
  }

  runtime::workflow_registry code;
  virtual_broker broker;
};

bool says(const std::string& text, std::string_view what) {
  INFO(text);
  return text.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("a blocked run does nothing however often it is read", "[actors][workflow]") {
  node here;
  other_runs = 0;
  here.begin("w", "test.turned");
  REQUIRE(other_runs == 1);
  here.use<mistaken_workflow>();
  here.read_again("w");
  REQUIRE(here.row("w").status == runtime::run_status::blocked);
  const auto last = here.row("w").last_seq;
  for (int i = 0; i < 3; ++i)
    here.read_again("w");
  CHECK(here.row("w").last_seq == last);
  CHECK(other_runs == 1);
  CHECK(here.count_of("w", runtime::run_event_kind::completed) == 3);
  here.use<turned_workflow>();
  here.read_again("w");
  CHECK(here.row("w").status == runtime::run_status::running);
  CHECK(other_runs == 1);
}

TEST_CASE("a mismatch names the build that recorded the command", "[actors][workflow]") {
  node here;
  here.use<stepping_workflow<0>>("build-1");
  here.begin("w", "test.stepping");
  here.use<stepping_workflow<0>>("build-2");
  here.broker.crash();
  REQUIRE(here.broker.ask_now(signal_workflow{node::channel("w"), "go", "1", "g"}));
  here.broker.advance(1s);
  SECTION("as it was recorded") {}
  SECTION("and so for what a restart has copied") {
    here.use<stepping_workflow<0>>("build-3");
    here.broker.crash();
    REQUIRE(here.broker.ask_now(restart_workflow{node::channel("w"), {.from = "stop"}}));
    here.broker.advance(1s);
  }
  const auto differs = [&](const std::string& command, const std::string& recorded) {
    here.read_again("w");
    const auto shown = here.shown("w");
    CHECK(says(shown, "\"command\":" + command));
    CHECK(says(shown, R"("recorded_build":")" + recorded + R"(","build":"build-9")"));
  };
  here.use<stepping_workflow<1>>("build-9");
  differs("1", "build-1");
  here.use<stepping_workflow<3>>("build-9");
  differs("3", "build-2");
}

TEST_CASE("a run fails whose class does not wait for code that fits", "[actors][workflow]") {
  runtime::workflow_registry workflows;
  REQUIRE(workflows.add(hasty_workflow::definition()));
  REQUIRE(workflows.add(kid_workflow::definition()));
  virtual_broker broker{config{}, &workflows};
  const auto channel = virtual_broker::topic("workflow.w");
  REQUIRE(broker.ask_now(start_workflow{channel, "test.hasty", "null", {}, {}}));
  broker.advance(100ms);
  const auto shown = [&] {
    auto answer = broker.ask_now(get_workflow{channel});
    return std::get<workflow_answer>(answer.value()).body;
  };
  REQUIRE(shown().contains(R"("status":"running")"));
  does_otherwise = true;
  broker.crash();
  broker.advance(2s);
  // It is read when somebody asks for it, or by the look at all runs.
  (void)broker.ask_now(signal_workflow{channel, "go", "1", "s"});
  broker.advance(1s);
  CHECK(shown().contains(R"("status":"failed")"));
  CHECK(shown().contains(R"("class":"permanent","code":"command_differs")"));
  CHECK(shown().contains(R"("recorded":{"kind":"child")"));
  // Its child is cancelled with it.
  auto kid = broker.ask_now(get_workflow{virtual_broker::topic("workflow.kid")});
  CHECK(std::get<workflow_answer>(kid.value()).body.contains(R"("status":"cancelled")"));
  does_otherwise = false;
  broker.crash();
  broker.advance(2s);
  CHECK(shown().contains(R"("status":"failed")"));
}

TEST_CASE("what ends a command of a blocked run is recorded once", "[actors][workflow]") {
  node here;
  here.begin("w", "test.turned");
  const auto kid = runtime::read_started(here.events_of("kid").front()).value();
  here.use<mistaken_workflow>();
  here.read_again("w");
  REQUIRE(here.row("w").status == runtime::run_status::blocked);
  const auto before = here.count_of("w", runtime::run_event_kind::completed);
  end_child end;
  end.topic = here.channel("w");
  end.run = 1;
  end.command = kid.parent_command;
  end.incarnation = kid.parent_incarnation;
  end.result = "7";
  for (int i = 0; i < 3; ++i) {
    // Each time as if the answer had been lost.
    CHECK(here.broker.ask_now(end));
    CHECK(here.broker.ask_now(end));
    here.read_again("w");
    CHECK(here.count_of("w", runtime::run_event_kind::completed) == before + 1);
  }
  // Nor by hand.
  const auto resolved =
      here.broker.ask_now(resolve_command{here.channel("w"), end.command, "skip", "", "ann", "1"});
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == errc::wrong_kind);
  here.use<turned_workflow>();
  here.read_again("w");
  CHECK(here.row("w").status == runtime::run_status::running);
  CHECK(here.count_of("w", runtime::run_event_kind::completed) == before + 1);
  CHECK_FALSE(says(here.shown("w"), R"("kind":"child","name":"test.kid","status":"running")"));
}

TEST_CASE("code that does not fit leaves nothing that a run waits for", "[actors][workflow]") {
  node here;
  here.begin("w", "test.turned");
  REQUIRE(here.row("kid").status == runtime::run_status::running);
  here.use<impatient_workflow>();
  here.read_again("w");
  REQUIRE(here.row("w").status == runtime::run_status::blocked);
  CHECK(here.row("w").owes->empty());
  CHECK(here.row("kid").status == runtime::run_status::running);
  CHECK(here.count_of("w", runtime::run_event_kind::command_cancelled) == 0);
}

TEST_CASE("a blocked run that is ended or begun anew leaves no timers", "[actors][workflow]") {
  node here;
  here.begin("w", "test.turned");
  REQUIRE(here.timer_rows("w") == 2);
  const bool has_code = GENERATE(true, false);
  if (has_code) {
    here.use<mistaken_workflow>();
  } else {
    here.code = {};
  }
  here.read_again("w");
  // Nobody clears its timer as long as nobody knows what the code makes of it.
  REQUIRE(here.broker.ask_now(signal_workflow{here.channel("w"), "go", "7", ""}));
  here.read_again("w");
  CHECK(here.timer_rows("w") == 2);
  if (GENERATE(true, false)) {
    REQUIRE(here.broker.ask_now(terminate_workflow{here.channel("w"), "enough"}));
    REQUIRE(here.row("w").ended);
  } else {
    REQUIRE(here.broker.ask_now(restart_workflow{here.channel("w"), {"first", "again", "ann"}}));
    REQUIRE(here.row("w").run == 2);
    here.use<turned_workflow>();
    here.read_again("w");
    // What it was told is taken over, so that it waits for that no more.
    REQUIRE(here.timer_rows("w") == 1);
    here.use<mistaken_workflow>();
    here.read_again("w");
    REQUIRE(here.broker.ask_now(terminate_workflow{here.channel("w"), "enough"}));
  }
  here.broker.settle();
  CHECK(here.timer_rows("w") == 0);
}

TEST_CASE("a cancel that a parent repeats is answered when it is on disk", "[actors][workflow]") {
  node here;
  here.begin("w", "test.turned");
  const auto kid = runtime::read_started(here.events_of("kid").front()).value();
  const cancel_workflow told{
      here.channel("kid"),
      "its parent goes on",
      workflow_parent{here.channel("w"), 1, 3, kid.parent_incarnation}};
  const auto first = here.broker.ask(told);
  here.broker.run();
  const auto second = here.broker.ask(told);
  here.broker.run();
  CHECK_FALSE(here.broker.got.answered.contains(first));
  CHECK_FALSE(here.broker.got.answered.contains(second));
  here.broker.settle();
  CHECK(here.broker.got.answered.at(first));
  CHECK(here.broker.got.answered.at(second));
  CHECK(here.row("kid").status == runtime::run_status::cancelled);
  CHECK(here.count_of("kid", runtime::run_event_kind::cancel_requested) == 1);
}

TEST_CASE("a task that is only being enqueued is not taken for lost", "[actors][workflow]") {
  config with;
  with.workflows.sweep_ms = 50;
  node here{with};
  (void)here.broker.ask(start_workflow{here.channel("w"), "test.asking", "null", {}, {}});
  for (int i = 0; i < 100 && here.row("w").first_seq.raw() == 0; ++i) {
    here.broker.run();
    here.broker.journal.commit(1);
  }
  REQUIRE(here.row("w").first_seq.raw() != 0);
  const error full{errc::overloaded, "no room", 0};
  here.broker.journal.refuse_next(full, 100'000);
  for (int i = 0; i < 40; ++i) {
    here.broker.advance(50ms);
    (void)here.broker.ask_now(check_run{here.channel("w")});
  }
  here.broker.journal.refuse_next(full, 0);
  here.broker.advance(3s);
  CHECK(here.row("w").status == runtime::run_status::running);
  CHECK(says(here.shown("w"), R"("kind":"task")"));
}

}  // namespace callboard::testing
