// JSON that is nested as deep as it may be goes every way into a run and is there after a restart;
// what is deeper, or has numbers that nobody could write again, is refused before it is recorded.
#include "tests/support/deep_json.hpp"

#include "tests/actors/queue/queue_client.hpp"

#include <callboard/agent.hpp>
#include <callboard/json_text.hpp>
#include <limits>
#include <string>

namespace callboard::testing {

using namespace actors;

namespace {

/// Gets what it began with by every way again, and ends with it if it was the same each time.
struct gathering_workflow : workflow<gathering_workflow> {
  static constexpr std::string_view type = "test.gathering";

  flow<json> run(context& ctx, json input) {
    boost::json::array others;
    co_await ctx.update(input).required();
    ctx.set_status(input);
    others.push_back(co_await ctx.signal("go").required());
    others.push_back(co_await ctx.task("llm", input).required());
    others.push_back(co_await ctx.task("by_hand", input).required());
    others.push_back(co_await ctx.call("keeper", "k", "keep", input).required());
    others.push_back(co_await ctx.child("test.echo", input).required());
    others.push_back(co_await ctx.step("copy", [input] { return input; }).required());
    for (std::size_t i = 0; i < others.size(); ++i) {
      if (others[i] != input) co_return json("differs at " + std::to_string(i));
    }
    if (input.is_array()) co_return ctx.continue_as_new(boost::json::object{{"ends", "well"}});
    co_return input;
  }
};

struct echo_workflow : workflow<echo_workflow> {
  static constexpr std::string_view type = "test.echo";

  flow<json> run(context&, json input) { co_return input; }
};

/// Shows what no JSON says, and fails with words that are no UTF-8.
struct showing_workflow : workflow<showing_workflow> {
  static constexpr std::string_view type = "test.showing";

  flow<json> run(context& ctx, json) {
    ctx.set_status(deep_value(code_depth_max + 1));
    co_await ctx.step("fails", []() -> outcome<json> {
      return std::unexpected{failure{failure_class::permanent, "odd", "\xff"}};
    });
    co_await ctx.signal("go").required();
    ctx.set_status(std::numeric_limits<double>::infinity());
    co_return 1;
  }
};

/// Hands its state on to a new run after each message that says so.
struct keeper : agent<keeper, json> {
  static constexpr std::string_view type = "keeper";

  static void handlers(handler_table<keeper>& on) {
    on.message("keep", &keeper::keep)
        .message("wrap", &keeper::wrap)
        .message("spoil", &keeper::spoil)
        .message("curse", &keeper::curse);
  }

  flow<json> keep(context&, json what) {
    state() = what;
    co_return what;
  }

  flow<void> wrap(context&, json) {
    state() = deep_value(1, state());
    co_return;
  }

  flow<void> curse(context&, json) {
    throw run_failed{{failure_class::permanent, "cursed", "\xff"}};
    co_return;
  }

  flow<json> spoil(context&, json) { co_return std::numeric_limits<double>::quiet_NaN(); }
};

struct gathering {
  gathering() {
    REQUIRE(code.add(gathering_workflow::definition()));
    REQUIRE(code.add(echo_workflow::definition()));
    REQUIRE(code.add(keeper::definition()));
    REQUIRE(code.add(showing_workflow::definition()));
    node.crash();
  }

  static topic_ref where() { return virtual_broker::topic("workflow.w"); }

  result<control_answer> ask(control_body body) {
    const auto id = node.ask(std::move(body));
    node.settle();
    for (int i = 0; i < 100 && !node.got.answered.contains(id); ++i)
      node.advance(50ms);
    REQUIRE(node.got.answered.contains(id));
    return node.got.answered.at(id);
  }

  std::string shown() { return node.get<workflow_answer>(get_workflow{where()}).body; }

  /// What waits is read from its history.
  void restart() {
    node.advance(1s);
    node.crash();
    node.settle();
    node.advance(1s);
  }

  result<control_answer>
  tell(const std::string& message, const std::string& payload, const std::string& id) {
    call_agent call;
    call.topic = virtual_broker::topic("workflow.agent.keeper.k");
    call.type = "agent:keeper";
    call.message = message;
    call.payload = payload;
    call.id = id;
    call.wait_ms = 3'000;
    return ask(std::move(call));
  }

  std::string reply(const std::string& message, const std::string& payload, const std::string& id) {
    const auto told = tell(message, payload, id);
    if (!told) FAIL(told.error().detail);
    return std::get<workflow_answer>(*told).body;
  }

  void complete(const std::string& queue, const std::string& with) {
    const auto tasks = node.lease(queue, 1);
    REQUIRE(tasks.size() == 1);
    auto done = queue_client::done_with(tasks.front());
    done.complete.result = with;
    (void)ask(std::move(done));
    node.advance(1s);
  }

  runtime::workflow_registry code;
  queue_client node{{}, &code};
};

void check_refused(const result<control_answer>& answered, const std::string& why) {
  REQUIRE_FALSE(answered);
  CHECK(answered.error().code == errc::invalid_json);
  CHECK_THAT(answered.error().detail, Catch::Contains(why));
}

}  // namespace

TEST_CASE(
    "what is as deep as it may be outlives restarts by every way", "[actors][workflow][json]") {
  for (const auto levels : {std::size_t{32}, json_depth_max, code_depth_max}) {
    INFO(levels << " levels");
    gathering all;
    const auto text = deep_text(levels);
    REQUIRE(all.ask(start_workflow{all.where(), "test.gathering", text, {}, {}}));
    all.restart();
    CHECK_THAT(all.shown(), Catch::Contains(R"("input":)" + text));
    CHECK_THAT(all.shown(), Catch::Contains(R"("state":)" + text));
    REQUIRE(all.ask(signal_workflow{all.where(), "go", text, {}}));
    all.restart();
    all.complete("llm", text);
    all.restart();
    (void)all.node.lease("by_hand", 1);
    REQUIRE(all.ask(resolve_command{
        .topic = all.where(),
        .command = 4,
        .how = "resolved",
        .reason = "r",
        .who = "ada",
        .with = text}));
    all.node.advance(3s);
    all.restart();
    INFO(all.shown());
    CHECK_THAT(all.shown(), Catch::Contains(R"("run":2)") && Catch::Contains(R"({"ends":"well"})"));
    CHECK_THAT(all.reply("keep", "1", "last"), Catch::Contains(R"("result":1)"));
  }
}

TEST_CASE("what is deeper or no double is refused, and the run lives", "[actors][workflow][json]") {
  gathering all;
  const auto deeper = deep_text(code_depth_max + 1);
  const std::string why = "is nested deeper than 128 levels";
  const std::string number = "has a number that no double holds";
  check_refused(all.ask(start_workflow{all.where(), "test.gathering", deeper, {}, {}}), why);
  check_refused(all.ask(start_workflow{all.where(), "test.gathering", "1e400", {}, {}}), number);
  check_refused(all.ask(start_workflow{all.where(), "test.gathering", "{x", {}, {}}), "not valid");
  CHECK(all.node.refusal(get_workflow{all.where()}) == errc::workflow_not_found);

  REQUIRE(all.ask(start_workflow{all.where(), "test.gathering", "5", {}, {}}));
  check_refused(all.ask(signal_workflow{all.where(), "go", deeper, {}}), why);
  check_refused(all.ask(signal_workflow{all.where(), "go", "[1e400]", {}}), number);
  REQUIRE(all.ask(signal_workflow{all.where(), "go", "5", {}}));
  all.node.advance(1s);
  resolve_command resolve{
      .topic = all.where(), .command = 3, .how = "resolved", .reason = "r", .who = "ada"};
  resolve.with = deeper;
  check_refused(all.ask(resolve), why);
  resolve.with = "-1e400";
  check_refused(all.ask(resolve), number);
  resolve.with = "5";
  REQUIRE(all.ask(resolve));
  all.node.advance(1s);
  // What a queue took from a worker before anyone looked is told as text, as words are.
  all.complete("by_hand", "1e400");
  all.restart();
  CHECK_THAT(all.shown(), Catch::Contains("differs at 2"));

  check_refused(all.tell("keep", deeper, "a"), why);
  check_refused(all.tell("keep", "1e400", "b"), number);
  all.restart();
  CHECK_THAT(all.reply("keep", "7", "c"), Catch::Contains(R"("result":7)"));
}

TEST_CASE("a status that is no JSON is told as such", "[actors][workflow][json]") {
  gathering all;
  REQUIRE(all.ask(start_workflow{all.where(), "test.showing", "1", {}, {}}));
  all.restart();
  CHECK_THAT(
      all.shown(),
      Catch::Contains(R"("state":{"state_not_json":"it is nested deeper than 128 levels"})")
          && Catch::Contains("\"message\":\"\u{FFFD}\""));
  REQUIRE(all.ask(signal_workflow{all.where(), "go", "", {}}));
  all.restart();
  CHECK_THAT(
      all.shown(),
      Catch::Contains(R"("state":{"state_not_json":"it has a number that no double holds"})")
          && Catch::Contains(R"("result":1)"));
}

TEST_CASE("an agent keeps its state when a handler makes it too deep", "[actors][agent][json]") {
  gathering all;
  const auto deepest = deep_text(code_depth_max);
  CHECK_THAT(all.reply("keep", deepest, "a"), Catch::Contains(deepest));
  CHECK_THAT(
      all.reply("wrap", "0", "b"),
      Catch::Contains("not_json") && Catch::Contains("the state of the agent is nested deeper"));
  CHECK_THAT(
      all.reply("spoil", "0", "c"),
      Catch::Contains("not_json") && Catch::Contains("has a number that no double holds"));
  CHECK_THAT(
      all.reply("curse", "0", "f"),
      Catch::Contains("cursed") && Catch::Contains("\u{FFFD}") && !Catch::Contains("not_json"));
  all.restart();
  const auto shown =
      all.node.get<workflow_answer>(get_workflow{virtual_broker::topic("workflow.agent.keeper.k")})
          .body;
  CHECK_THAT(shown, Catch::Contains(R"("state":)" + deepest + ","));
  // On to its next run, which begins with the state and the replies to remember.
  for (int i = 0; i < 100; ++i)
    (void)all.reply("wrap", "0", "w" + std::to_string(i));
  all.restart();
  CHECK_THAT(all.reply("wrap", "0", "d"), Catch::Contains("not_json"));
  CHECK_THAT(all.reply("keep", "7", "e"), Catch::Contains(R"("result":7)"));
}

}  // namespace callboard::testing
