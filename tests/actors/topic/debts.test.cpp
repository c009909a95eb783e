// What runs owe others when they go on or end without them: told wherever the node is killed. The
// journal commits one group after the other, and after each of them in turn the node dies.
#include "actors/queue_reads.hpp"
#include "actors/run_reads.hpp"
#include "actors/run_sweep.hpp"
#include "actors/run_waits.hpp"
#include "actors/stuck_runs.hpp"

#include "tests/actors/topic/foreign_record.hpp"
#include "tests/actors/topic/mortal_broker.hpp"

#include <algorithm>
#include <callboard/agent.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// The children and the task that everybody here leaves behind, until the signal `go`: `kid`, and
/// `stray`, which goes on. Those of a run that was begun anew are `kid2` and `stray2`.
flow<json> with_others(context& ctx) {
  const std::string of_run = ctx.identity().run == 1 ? "" : std::to_string(ctx.identity().run);
  const child_options alone{.id = "stray" + of_run, .on_parent_close = parent_close::abandon};
  std::vector<flow<json>> parts;
  parts.push_back(ctx.child("test.kid", 1, {.id = "kid" + of_run}).required());
  parts.push_back(ctx.task("llm", 1).required());
  parts.push_back(ctx.child("test.kid", 1, alone).required());
  parts.push_back(ctx.signal("go").required());
  co_return (co_await any(std::move(parts))).value;
}

struct kid_workflow : workflow<kid_workflow> {
  static constexpr std::string_view type = "test.kid";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

/// Input: how it goes on after the signal: "end", "wait" for another, or "again" as a new run.
struct leaving_workflow : workflow<leaving_workflow> {
  static constexpr std::string_view type = "test.leaving";

  flow<json> run(context& ctx, json how) {
    if (how == "done") co_return co_await ctx.signal("end").required();
    co_await with_others(ctx);
    if (how == "again") co_return ctx.continue_as_new(json("done"));
    if (how == "wait") co_return co_await ctx.signal("end").required();
    co_return how;
  }
};

/// The parent of a run that leaves.
struct tree_workflow : workflow<tree_workflow> {
  static constexpr std::string_view type = "test.tree";

  flow<json> run(context& ctx, json how) {
    co_return co_await ctx.child("test.leaving", std::move(how), {.id = "p"}).required();
  }
};

/// Gives what its child and its task give.
struct trusting_workflow : workflow<trusting_workflow> {
  static constexpr std::string_view type = "test.trusting";

  flow<json> run(context& ctx, json) {
    auto [kid, task] = co_await all(ctx.child("test.kid", 1, {.id = "kid"}), ctx.task("llm", 1));
    co_return boost::json::array{
        kid ? *kid : json(kid.error().code), task ? *task : json(task.error().code)};
  }
};

/// Goes on as a new run when it is cancelled.
struct tough_workflow : workflow<tough_workflow> {
  static constexpr std::string_view type = "test.tough";

  flow<json> run(context& ctx, json input) {
    if (input == "spared") co_return co_await ctx.signal("go").required();
    try {
      co_await ctx.signal("go").required();
    } catch (const cancelled&) {
      co_return ctx.continue_as_new("spared");
    }
    co_return 1;
  }
};

struct tough_parent_workflow : workflow<tough_parent_workflow> {
  static constexpr std::string_view type = "test.tough_parent";

  flow<json> run(context& ctx, json) {
    std::vector<flow<json>> parts;
    parts.push_back(ctx.child("test.tough", 1, {.id = "kid"}).required());
    parts.push_back(ctx.signal("go").required());
    co_return (co_await any(std::move(parts))).value;
  }
};

/// Is not done when it is cancelled.
struct shielded_workflow : workflow<shielded_workflow> {
  static constexpr std::string_view type = "test.shielded";

  flow<json> run(context& ctx, json) {
    co_await ctx.shielded(
        [](context& inner) -> flow<void> { (void)co_await inner.signal("go").required(); });
    co_return co_await ctx.signal("never").required();
  }
};

/// Has no patience with its child and its task; counts what it was asked.
struct hasty_agent : agent<hasty_agent, std::int64_t> {
  static constexpr std::string_view type = "hasty";

  static void handlers(handler_table<hasty_agent>& on) { on.message("ask", &hasty_agent::ask); }

  flow<std::int64_t> ask(context& ctx, json) {
    co_await any(ctx.child("test.kid", 1, {.id = "kid"}), ctx.task("llm", 1), ctx.sleep(400ms));
    co_return ++state();
  }
};

struct mortal_node : mortal_broker {
  explicit mortal_node(std::size_t life = SIZE_MAX) : mortal_broker{life} {
    if (!code.add(kid_workflow::definition()) || !code.add(leaving_workflow::definition())
        || !code.add(trusting_workflow::definition()) || !code.add(tree_workflow::definition())
        || !code.add(hasty_agent::definition()) || !code.add(tough_workflow::definition())
        || !code.add(tough_parent_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }
};

enum class leave { cancel, terminate, restart, race, race_on, again, tree };

void leave_by(mortal_node& node, leave how) {
  switch (how) {
  case leave::cancel:
    return (void)node.get<workflow_answer>(cancel_workflow{mortal_node::channel("p"), "enough"});
  case leave::tree:
    return (void)node.get<workflow_answer>(cancel_workflow{mortal_node::channel("g"), "enough"});
  case leave::terminate:
    return (void)node.get<workflow_answer>(terminate_workflow{mortal_node::channel("p"), "enough"});
  case leave::restart:
    // Not asked again when the node died on the way: that would leave the second run, too.
    for (int tries = 0; tries < 10 && node.row("p").run == 1; ++tries) {
      node.broker.ask(restart_workflow{
          mortal_node::channel("p"), {.from = "test.kid", .who = "ann", .without_signals = true}});
      node.pass(200ms);
    }
    return;
  case leave::race:
  case leave::race_on:
  case leave::again:
    return node.signal("p", "go");
  }
}

/// How often the workflow was asked to cancel.
std::size_t cancels_of(mortal_node& node, const std::string& id) {
  const auto history = node.get<event_page>(read_events{
      .topic = mortal_node::channel(id), .from = runtime::from_first{}, .events_max = 100});
  std::size_t asked = 0;
  for (const auto& one : history.batch->events) {
    const auto event = runtime::decode_run_event(one);
    asked += event && event->kind == runtime::run_event_kind::cancel_requested ? 1U : 0U;
  }
  return asked;
}

}  // namespace

TEST_CASE("a run tells those it leaves behind, wherever the node is killed", "[actors][workflow]") {
  using enum leave;
  const auto how = GENERATE(cancel, terminate, restart, race, race_on, again, tree);
  const auto is_over = how != restart && how != race_on && how != again;
  const std::string input = how == leave::race_on ? "\"wait\""
                            : how == leave::again ? "\"again\""
                                                  : "\"end\"";
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("left by " << static_cast<int>(how) << ", killed after " << life << " commits");
    REQUIRE(life < 100);
    mortal_node node{life};
    const std::string root = how == leave::tree ? "g" : "p";
    node.begin(root, how == leave::tree ? "test.tree" : "test.leaving", input);
    for (const auto* kid : {"kid", "stray"})
      REQUIRE(node.comes([&] { return says(node.shown(kid), "\"run\""); }));
    REQUIRE(node.comes([&] { return node.row(root).ended || node.open_tasks() == 1; }));
    leave_by(node, how);
    // From here on nobody asks: what is still to be told must be told all the same.
    node.pass(3s);
    was_killed = node.was_killed;
    CHECK(node.row("kid").status == runtime::run_status::cancelled);
    CHECK(node.row("stray").status == runtime::run_status::running);
    CHECK(node.open_tasks() == (how == leave::restart ? 1 : 0));
    const auto row = node.row("p");
    CHECK(row.ended.has_value() == is_over);
    REQUIRE(row.owes);
    CHECK(row.owes->empty());
    CHECK_FALSE(row.needs_wake);
    CHECK(node.row(root).owes->empty());
    // Once however often it was told.
    CHECK(cancels_of(node, "kid") == 1);
    CHECK(cancels_of(node, "stray") == 0);
    if (how == leave::restart) {
      CHECK(row.run == 2);
      for (const auto* kid : {"kid2", "stray2"})
        CHECK(node.row(kid).status == runtime::run_status::running);
    }
    // What was left alone ends as it would have.
    node.signal("stray", "go");
    CHECK(node.comes([&] { return node.row("stray").ended.has_value(); }));
    CHECK(node.row("stray").status == runtime::run_status::completed);
    CHECK(node.row("p").run == row.run);
  }
}

TEST_CASE(
    "a parent's cancel counts for one run of its child, wherever the node is killed",
    "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    mortal_node node{life};
    node.begin("p", "test.tough_parent");
    REQUIRE(node.comes([&] { return says(node.shown("kid"), "\"run\""); }));
    node.signal("p", "go");
    node.pass(3s);
    was_killed = node.was_killed;
    CHECK(node.row("p").status == runtime::run_status::completed);
    CHECK(node.row("p").owes->empty());
    // It would go on as new, which a cancelled run does not.
    CHECK(node.row("kid").run == 1);
    CHECK(node.row("kid").status == runtime::run_status::cancelled);
  }
}

TEST_CASE("a cancel that a parent repeats is none for a run that was begun anew") {
  mortal_node node;
  node.begin("p", "test.leaving", "\"end\"");
  REQUIRE(node.comes([&] { return says(node.shown("kid"), "\"run\""); }));
  const auto is_cancelled_first = GENERATE(true, false);
  if (!is_cancelled_first) {
    node.signal("kid", "go");
    node.pass(1s);
  }
  leave_by(node, leave::cancel);
  node.pass(3s);
  REQUIRE(node.row("kid").ended);
  (void)node.get<workflow_answer>(restart_workflow{
      mortal_node::channel("kid"), {.from = "go", .who = "ann", .without_signals = true}});
  const auto page = node.get<event_page>(
      read_events{.topic = mortal_node::channel("kid"), .from = runtime::from_first{}});
  const auto begun =
      runtime::read_started(runtime::decode_run_event(page.batch->events.front()).value()).value();
  const cancel_workflow repeated{
      mortal_node::channel("kid"),
      "its parent goes on without it",
      workflow_parent{mortal_node::channel("p"), 1, 1, begun.parent_incarnation}};
  REQUIRE(node.ask(repeated));
  node.pass(1s);
  CHECK(node.row("kid").run == 2);
  CHECK(node.row("kid").status == runtime::run_status::running);
  node.broker.crash();
  REQUIRE(node.ask(repeated));
  node.pass(1s);
  CHECK(node.row("kid").status == runtime::run_status::running);
}

TEST_CASE(
    "what is ended by hand leaves no child and no task behind, wherever the node is killed",
    "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    mortal_node node{life};
    node.begin("p", "test.trusting");
    REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
    REQUIRE(node.comes([&] { return says(node.shown("kid"), "\"run\""); }));
    for (const std::uint32_t command : {1U, 2U}) {
      // Not open: it was ended before the kill.
      (void)node.ask(resolve_command{
          mortal_node::channel("p"), command, "resolved", "late", "ann", "5", false});
    }
    node.pass(3s);
    was_killed = node.was_killed;
    CHECK(says(node.row("p").result, "[5,5]"));
    CHECK(node.row("p").owes->empty());
    CHECK(node.row("kid").status == runtime::run_status::cancelled);
    CHECK(node.open_tasks() == 0);
  }
}

TEST_CASE("an agent leaves nothing behind, wherever the node is killed", "[actors][workflow]") {
  bool was_killed = true;
  bool has_cancelled = false;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    mortal_node node{life};
    call_agent call{.topic = mortal_node::channel("agent.hasty.k"), .type = "agent:hasty"};
    call.message = "ask";
    call.payload = "1";
    call.id = "m1";
    (void)node.get<workflow_answer>(call);
    node.pass(4s);
    was_killed = node.was_killed;
    const auto row = node.row("agent.hasty.k");
    CHECK(row.owes->empty());
    CHECK_FALSE(row.needs_wake);
    // Its patience may have been over before anything was begun.
    const auto kid = node.shown("kid");
    has_cancelled |= says(kid, "cancelled");
    CHECK((says(kid, "cancelled") || says(kid, "there is no workflow")));
    CHECK(node.open_tasks() == 0);
    CHECK(says(node.shown("agent.hasty.k"), R"("messages_waiting":0)"));
  }
  CHECK(has_cancelled);
}

TEST_CASE(
    "a child and a task that are only being begun are not left behind", "[actors][workflow]") {
  bool has_cancelled = false;
  for (int commits = 0; commits < 12; ++commits) {
    INFO("cancelled after " << commits << " commits");
    mortal_node node;
    node.broker.ask(start_workflow{mortal_node::channel("p"), "test.leaving", "\"end\"", {}, {}});
    for (int i = 0; i < commits; ++i) {
      node.broker.run();
      node.broker.journal.commit(1);
    }
    node.broker.run();
    const auto asked = node.broker.ask(cancel_workflow{mortal_node::channel("p"), "enough"});
    node.pass(3s);
    if (!node.broker.got.answered.at(asked)) continue;  // it had not begun
    has_cancelled = true;
    CHECK(node.row("p").status == runtime::run_status::cancelled);
    CHECK(node.row("p").owes->empty());
    CHECK(node.open_tasks() == 0);
    const auto kid = node.shown("kid");
    CHECK((says(kid, "cancelled") || says(kid, "there is no workflow")));
  }
  CHECK(has_cancelled);
}

TEST_CASE(
    "a run hears that its queue was deleted, wherever the node is killed", "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    mortal_node node{life};
    node.begin("p", "test.trusting");
    REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
    // Not found: it was deleted before the kill.
    (void)node.ask(delete_queue{mortal_node::queue()});
    node.signal("kid", "go");
    node.pass(3s);
    was_killed = node.was_killed;
    CHECK(says(node.row("p").result, R"([7,"task_queue_deleted"])"));
    auto reader = node.broker.journal.read(node.broker.shard_of("llm"));
    CHECK(read_gone_queues(**reader)->empty());
  }
}

TEST_CASE(
    "a task that was completed before its queue was deleted is not lost with it",
    "[actors][workflow]") {
  mortal_node node;
  node.begin("p", "test.trusting");
  REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
  // The run cannot hear how it ended.
  auto kept = std::exchange(node.code, {});
  REQUIRE(node.code.add(kid_workflow::definition()));
  node.broker.crash();
  node.complete_task();
  (void)node.get<done>(delete_queue{mortal_node::queue()});
  node.pass(1s);
  const auto gone = [&] {
    auto reader = node.broker.journal.read(node.broker.shard_of("llm"));
    return read_gone_queues(**reader).value();
  };
  REQUIRE(gone().size() == 1);
  auto reader = node.broker.journal.read(node.broker.shard_of("llm"));
  const auto left = read_gone_endings(**reader, gone().front().first, {}, 10).value().endings;
  REQUIRE(left.size() == 1);
  const auto look = [&] {
    return look_at(node.broker.journal, awaited{2, {}, mortal_node::queue(), left.front().origin});
  };
  CHECK(look().state == wait_state::ended);
  // Also where another queue has its name.
  (void)node.get<queue_description>(put_queue{.queue = mortal_node::queue()});
  CHECK(look().state == wait_state::ended);
  std::swap(kept, node.code);
  node.broker.crash();
  (void)node.ask(check_run{mortal_node::channel("p")});
  node.signal("kid", "go");
  CHECK(node.comes([&] { return node.row("p").ended.has_value(); }));
  CHECK(says(node.row("p").result, "[7,5]"));
  CHECK(gone().empty());
  CHECK(look().state == wait_state::missing);
}

TEST_CASE("a cancel that is sent again is recorded once", "[actors][workflow]") {
  mortal_node node;
  REQUIRE(node.code.add(shielded_workflow::definition()));
  node.begin("p", "test.shielded");
  const auto cancel = [&] {
    return node.get<workflow_answer>(cancel_workflow{mortal_node::channel("p"), "enough"}).body;
  };
  CHECK(says(cancel(), "cancelling"));
  CHECK(says(cancel(), "cancelling"));
  node.broker.crash();
  CHECK(says(cancel(), "cancelling"));
  const auto history = node.get<event_page>(read_events{
      .topic = mortal_node::channel("p"), .from = runtime::from_first{}, .events_max = 100});
  CHECK(
      std::ranges::count_if(
          history.batch->events,
          [](const auto& one) {
            const auto event = runtime::decode_run_event(one);
            return event && event->kind == runtime::run_event_kind::cancel_requested;
          })
      == 1);
  node.signal("p", "go");
  node.pass(1s);
  CHECK(node.row("p").status == runtime::run_status::cancelled);
}

TEST_CASE("a run that was stuck leaves the list when it goes on, also from disk") {
  mortal_node node;
  const auto stuck = [&] {
    list_workflows ask;
    ask.tenant = mortal_node::channel("x").tenant;
    ask.stuck = true;
    return node.get<workflow_answer>(ask).body;
  };
  node.begin("p", "test.trusting");
  REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
  auto lost = lose_channel(
      node.broker.journal, node.broker.shard_of("workflow.kid"), mortal_node::channel("kid"));
  node.live();
  REQUIRE(lost.get());
  node.pass(150s);
  REQUIRE(says(stuck(), "child_missing"));
  // It is read again, by a process that knows.
  node.broker.journal.fail_next({errc::io_error, "no luck", 0});
  node.broker.ask(signal_workflow{mortal_node::channel("p"), "nobody", "1", {}});
  node.pass(2s);
  CHECK(says(stuck(), "child_missing"));
  (void)node.get<workflow_answer>(
      resolve_command{mortal_node::channel("p"), 1, "resolved", "gone", "ann", "5", false});
  CHECK_FALSE(says(stuck(), "child_missing"));
}

TEST_CASE(
    "who is owed something for too long does not keep an ended run for ever",
    "[actors][workflow]") {
  mortal_node node;
  node.begin("p", "test.trusting");
  REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
  auto kept = std::exchange(node.code, {});
  REQUIRE(node.code.add(kid_workflow::definition()));
  node.broker.crash();
  node.signal("kid", "go");
  CHECK(node.comes([&] { return node.row("kid").ended.has_value(); }));
  const auto expired_at = [&](time_ms cutoff) {
    auto reader = node.broker.journal.read(node.broker.shard_of("workflow.kid"));
    stuck_runs known;
    const auto found = look_through(**reader, {&node.code, known, cutoff}).value();
    return std::ranges::count(found.expired, mortal_node::channel("kid")) == 1;
  };
  const auto ended = *node.row("kid").ended;
  CHECK_FALSE(expired_at(ended + 1ms));
  CHECK_FALSE(expired_at(ended + owing_kept_max));
  CHECK(expired_at(ended + owing_kept_max + 1ms));
}

TEST_CASE(
    "what a version without debts left untold is found in the history", "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    mortal_node node{life};
    node.broker.journal.on_write = [](storage::record_draft& draft) {
      if (draft.kind != storage::record_kind::workflow_progress) return;
      auto progress = runtime::decode_workflow_progress(draft.payload.view()).value();
      progress.row.owes.reset();
      draft.payload = runtime::encode_workflow_progress(progress);
    };
    node.begin("p", "test.leaving", "\"wait\"");
    REQUIRE(node.comes([&] { return says(node.shown("kid"), "\"run\""); }));
    REQUIRE(node.comes([&] { return node.open_tasks() == 1 || node.was_killed; }));
    node.signal("p", "go");
    node.pass(3s);
    was_killed = node.was_killed;
    CHECK_FALSE(node.row("p").owes);
    CHECK(says(node.shown("p"), R"("status":"running")"));
    CHECK(node.row("kid").status == runtime::run_status::cancelled);
    CHECK(node.open_tasks() == 0);
  }
}

TEST_CASE("what a blocked run is told waits until its code is back", "[actors][workflow]") {
  const bool is_task = GENERATE(false, true);
  mortal_node node;
  node.begin("p", "test.trusting");
  REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
  auto kept = std::exchange(node.code, {});
  REQUIRE(node.code.add(kid_workflow::definition()));
  node.broker.crash();
  CHECK(says(node.shown("p"), "no_code"));
  if (is_task) {
    node.complete_task();
  } else {
    node.signal("kid", "go");
    CHECK(node.comes([&] { return node.row("kid").ended.has_value(); }));
  }
  node.pass(30s);
  CHECK(says(node.shown("p"), "no_code"));
  if (!is_task) {
    CHECK(node.row("kid").owes->parent);
    CHECK(says(node.explained("kid"), R"("owes":[{"what":"tell_parent","parent":"p","tries":)"));
  }
  node.broker.crash();
  node.pass(1s);
  std::swap(kept, node.code);
  node.broker.crash();
  if (is_task) {
    node.signal("kid", "go");
  } else {
    REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
    node.complete_task();
  }
  CHECK(node.comes([&] { return node.row("p").ended.has_value(); }));
  CHECK(says(node.row("p").result, "[7,5]"));
  CHECK_FALSE(node.row("kid").needs_wake);
  CHECK_FALSE(says(node.explained("kid"), "owes"));
}

TEST_CASE("a run says what it still has to tell whom", "[actors][workflow]") {
  mortal_node node;
  node.begin("p", "test.leaving", "\"wait\"");
  REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
  CHECK_FALSE(says(node.explained("p"), "owes"));
  node.broker.ask(signal_workflow{mortal_node::channel("p"), "go", "7", {}});
  node.broker.run();
  node.broker.journal.commit(1);
  // What they were told is not on disk there yet.
  node.broker.run();
  const auto asked = node.broker.ask(explain_workflow{mortal_node::channel("p")});
  node.broker.run();
  const auto& answer = node.broker.got.answered.at(asked);
  REQUIRE(answer);
  const auto text = std::get<workflow_answer>(*answer).body;
  CHECK(says(text, R"({"what":"cancel_child","child":"kid","tries":1,"run":1,"command":1})"));
  CHECK(says(text, R"({"what":"withdraw_task","queue":"llm","tries":1,"run":1,"command":2})"));
  node.pass(3s);
  CHECK_FALSE(says(node.explained("p"), "owes"));
}

TEST_CASE("what a blocked run has recorded wakes it when its code is back", "[actors][workflow]") {
  mortal_node node;
  node.begin("kid", "test.kid");
  auto kept = std::exchange(node.code, {});
  node.broker.crash();
  node.signal("kid", "go");
  CHECK(node.row("kid").needs_wake);
  std::swap(kept, node.code);
  node.broker.crash();
  node.pass(3s);
  CHECK(node.row("kid").status == runtime::run_status::completed);
}

TEST_CASE("a parent cancels no workflow that somebody else had started", "[actors][workflow]") {
  mortal_node node;
  node.begin("kid", "test.kid", "1");
  node.begin("p", "test.leaving", "\"end\"");
  REQUIRE(node.comes([&] { return node.open_tasks() == 1; }));
  leave_by(node, leave::cancel);
  node.pass(3s);
  CHECK(node.row("p").status == runtime::run_status::cancelled);
  CHECK(node.row("p").owes->empty());
  CHECK(node.row("kid").status == runtime::run_status::running);
}

}  // namespace callboard::testing
