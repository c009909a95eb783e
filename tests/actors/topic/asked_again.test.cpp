// What a run asks for again after its node died: known by its id, however its code words it by now.
#include "actors/topic_reads.hpp"

#include "tests/actors/topic/mortal_broker.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <atomic>
#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// What the code here says to others; another build may make something else of the same history.
std::atomic<std::int64_t> wording{1};

/// Takes its time, so that its message is open for long.
struct slow_agent : agent<slow_agent, std::int64_t> {
  static constexpr std::string_view type = "slow";

  static void handlers(handler_table<slow_agent>& on) { on.message("add", &slow_agent::add); }

  flow<std::int64_t> add(context& ctx, std::int64_t by) {
    co_await ctx.sleep(300ms).required();
    co_return state() += by;
  }
};

struct calling_workflow : workflow<calling_workflow> {
  static constexpr std::string_view type = "test.calling";

  flow<json> run(context& ctx, json) {
    co_return co_await ctx.call("slow", "k", "add", wording.load(), {.timeout = 0ms}).required();
  }
};

/// Gives the seq of its event.
struct publishing_workflow : workflow<publishing_workflow> {
  static constexpr std::string_view type = "test.publishing";

  flow<json> run(context& ctx, json) {
    co_return co_await ctx.publish("out", wording.load()).required();
  }
};

/// Gives its input, later.
struct echoing_workflow : workflow<echoing_workflow> {
  static constexpr std::string_view type = "test.echoing";

  flow<json> run(context& ctx, json input) {
    co_await ctx.sleep(300ms).required();
    co_return input;
  }
};

struct leading_workflow : workflow<leading_workflow> {
  static constexpr std::string_view type = "test.leading";

  flow<json> run(context& ctx, json) {
    co_return co_await ctx.child("test.echoing", wording.load(), {.id = "kid"}).required();
  }
};

struct tasking_workflow : workflow<tasking_workflow> {
  static constexpr std::string_view type = "test.tasking";

  flow<json> run(context& ctx, json) { co_return co_await ctx.task("llm", 1).required(); }
};

/// Dies once, after `left` commits; what its code says from then on is worded otherwise.
struct mortal_node : mortal_broker {
  explicit mortal_node(std::size_t life) : mortal_broker{life} {
    wording = 1;
    on_death = [] { wording = 2; };
    if (!code.add(slow_agent::definition()) || !code.add(calling_workflow::definition())
        || !code.add(publishing_workflow::definition()) || !code.add(echoing_workflow::definition())
        || !code.add(leading_workflow::definition()) || !code.add(tasking_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  json shown(const std::string& id) {
    auto answer = ask(get_workflow{channel(id)});
    if (!answer) FAIL(answer.error().detail);
    return boost::json::parse(std::get<workflow_answer>(*answer).body);
  }

  /// On disk; nobody is woken by it.
  std::uint64_t events_in(const std::string& topic) {
    auto reader = broker.journal.read(broker.shard_of(topic));
    const auto row = find_topic_row(**reader, virtual_broker::topic(topic)).value();
    return row ? read_topic_image(**reader, *row, {})->last_seq.raw() : 0;
  }
};

}  // namespace

TEST_CASE(
    "what a run asked for counts though its code words it anew, wherever the node is killed",
    "[actors][workflow]") {
  const auto* const type = GENERATE("test.calling", "test.publishing", "test.leading");
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO(type << ", killed after " << life << " commits");
    REQUIRE(life < 100);
    mortal_node node{life};
    REQUIRE(node.ask(start_workflow{mortal_node::channel("w"), type, "1", {}, {}}));
    node.pass(3s);
    was_killed = node.was_killed;
    const auto shown = node.shown("w");
    INFO(boost::json::serialize(shown));
    REQUIRE(shown.at("status") == "completed");
    if (type == std::string_view{"test.publishing"}) {
      CHECK(shown.at("result") == 1);
      CHECK(node.events_in("out") == 1);
      continue;
    }
    // As it was when it was first heard, and once.
    const bool is_call = type == std::string_view{"test.calling"};
    const auto heard = node.shown(is_call ? "agent.slow.k" : "kid").at(is_call ? "state" : "input");
    CHECK(shown.at("result") == heard);
    CHECK((heard == 1 || (node.was_killed && heard == 2)));
  }
}

TEST_CASE("damage of another shard is no answer to a command", "[actors][workflow]") {
  const auto [type, target] = GENERATE(table<const char*, const char*>(
      {{"test.calling", "workflow.agent.slow.k"},
       {"test.publishing", "out"},
       {"test.leading", "workflow.kid"},
       {"test.tasking", "llm"}}));
  const auto code = GENERATE(errc::quarantined, errc::io_error, errc::corruption);
  INFO(type << ", " << name_of(code));
  mortal_node node{SIZE_MAX};
  const auto there = node.broker.shard_of(target);
  std::string id = "w";
  while (node.broker.shard_of("workflow." + id) == there)
    id += 'w';
  node.broker.journal.refuse_reads(there, error{code, "block 7 is broken", 0});
  REQUIRE(node.ask(start_workflow{mortal_node::channel(id), type, "1", {}, {}}));
  node.pass(6s);
  CHECK(node.shown(id).at("status") == "running");
  const auto explained = boost::json::parse(node.explained(id)).as_object();
  const auto& waits = explained.at("waiting_for").as_array().at(0).as_object();
  CHECK(says(
      std::string{waits.at("request").at("last_error").as_string()},
      std::string{name_of(code)} + ": block 7 is broken"));
  // Less and less often.
  CHECK(waits.at("request").at("number").as_int64() > 2);
  CHECK(waits.at("request").at("number").as_int64() < 8);
  CHECK(says(std::string{explained.at("summary").as_string()}, "block 7 is broken"));
  node.broker.journal.refuse_reads(there, std::nullopt);
  node.pass(10s);
  if (type == std::string_view{"test.tasking"}) node.complete_task();
  node.pass(2s);
  CHECK(node.shown(id).at("status") == "completed");
  CHECK_FALSE(boost::json::parse(node.explained(id)).as_object().contains("request"));
}

TEST_CASE(
    "an event counts once though the clock was set back before its node starts again",
    "[actors][workflow]") {
  mortal_node node{SIZE_MAX};
  const auto there = node.broker.shard_of("out");
  std::string id = "w";
  while (node.broker.shard_of("workflow." + id) == there)
    id += 'w';
  std::string other = "other";
  while (node.broker.shard_of(other) != there)
    other += 'r';
  node.broker.ask(start_workflow{mortal_node::channel(id), "test.publishing", "1", {}, {}});
  for (int commits = 0; commits < 10 && node.events_in("out") == 0; ++commits) {
    node.broker.run();
    node.broker.journal.commit(1);
  }
  REQUIRE(node.events_in("out") == 1);
  // The run comes to no record of it, while time goes on where the event is.
  node.broker.journal.refuse_next(error{errc::overloaded, "injected", 0});
  node.broker.run();
  node.broker.time.advance(10min);
  node.broker.publish(other, {"late"});
  node.broker.run();
  while (node.broker.journal.commit(1) > 0)
    node.broker.run();
  REQUIRE(node.events_in(other) == 1);
  node.broker.time.step_wall(-1h);
  node.broker.time.reboot();
  node.die();
  node.pass(5s);
  CHECK(node.shown(id).at("status") == "completed");
  CHECK(node.shown(id).at("result") == 1);
  CHECK(node.events_in("out") == 1);
}

TEST_CASE("a call is sent though its node died before its agent was there", "[actors][workflow]") {
  mortal_node node{SIZE_MAX};
  node.broker.ask(start_workflow{mortal_node::channel("w"), "test.calling", "1", {}, {}});
  const auto is_issued = [&] { return node.events_in("workflow.w") >= 2; };
  for (int commits = 0; commits < 10 && !is_issued(); ++commits) {
    node.broker.run();
    node.broker.journal.commit(1);
  }
  REQUIRE(is_issued());
  REQUIRE(node.events_in("workflow.agent.slow.k") == 0);
  node.die();
  node.pass(3s);
  CHECK(node.shown("w").at("result") == 2);
  CHECK(node.shown("agent.slow.k").at("state") == 2);
}

TEST_CASE("a relay of a workflow's channel hears the run that begins later", "[actors][workflow]") {
  mortal_node node{SIZE_MAX};
  received got;
  const auto relay = node.broker.make_probe(got);
  node.broker.router->attach({mortal_node::channel("w"), 100}, relay);
  node.live();
  REQUIRE(got.attached.size() == 1);
  CHECK_FALSE(got.attached.front().exists);
  REQUIRE(node.ask(start_workflow{mortal_node::channel("w"), "test.echoing", "7", {}, {}}));
  node.pass(2s);
  CHECK(node.shown("w").at("result") == 7);
  REQUIRE(got.attached.size() == 2);
  CHECK(got.attached.back().exists);
  CHECK(got.attached.back().last_seq == sequence{0});
  const auto seqs = got.seqs();
  CHECK(seqs.size() == node.events_in("workflow.w"));
  REQUIRE_FALSE(seqs.empty());
  CHECK(seqs.front() == 1);
}

}  // namespace callboard::testing
