// What becomes of a run's channel around its end: it is begun anew, or deleted, while what the run
// owes others is still being told.
#include "actors/run_reads.hpp"
#include "actors/run_sweep.hpp"

#include "tests/actors/topic/virtual_broker.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <atomic>
#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <utility>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

std::atomic<int> kids_begun{0};

/// Waits for `go`; a payload that is no number ends it with that code.
struct kid_workflow : workflow<kid_workflow> {
  static constexpr std::string_view type = "test.kid";

  flow<json> run(context& ctx, json) {
    ++kids_begun;
    const auto got = co_await ctx.signal("go").required();
    if (got.is_string()) {
      throw run_failed{{failure_class::permanent, std::string{got.as_string()}, "no more"}};
    }
    co_return got;
  }
};

struct parent_workflow : workflow<parent_workflow> {
  static constexpr std::string_view type = "test.parent";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("before", [] {}).required();
    co_return co_await ctx.child("test.kid", 1, {.id = "kid"}).required();
  }
};

/// Takes its time over each message.
struct slow_agent : agent<slow_agent, std::int64_t> {
  static constexpr std::string_view type = "slow";

  static void handlers(handler_table<slow_agent>& on) { on.message("add", &slow_agent::add); }

  flow<std::int64_t> add(context& ctx, std::int64_t by) {
    co_await ctx.sleep(1s).required();
    co_return state() += by;
  }
};

struct family {
  family() {
    if (!code.add(kid_workflow::definition()) || !code.add(parent_workflow::definition())
        || !code.add(slow_agent::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  void begin() {
    REQUIRE(broker.ask_now(start_workflow{channel("p"), "test.parent", "1", {}, {}}));
    broker.advance(1s);
    REQUIRE(shown("kid").at("status") == "running");
  }

  /// Everything but what the journal has in its queue.
  const result<control_answer>& ask_only(control_body body) {
    const auto id = broker.ask(std::move(body));
    broker.run();
    REQUIRE(broker.got.answered.contains(id));
    return broker.got.answered.at(id);
  }

  json shown(const std::string& id) {
    auto answer = broker.ask_now(get_workflow{channel(id)});
    if (!answer) FAIL(answer.error().detail);
    return boost::json::parse(std::get<workflow_answer>(*answer).body);
  }

  result<control_answer> remove(const std::string& id) {
    return broker.ask_now(delete_topic{channel(id)});
  }

  /// On disk; nobody is woken by it.
  runtime::workflow_row row(const std::string& id) {
    auto reader = broker.journal.read(broker.shard_of("workflow." + id));
    return read_workflow_row(**reader, channel(id)).value().value_or(runtime::workflow_row{});
  }

  static topic_ref channel(const std::string& id) {
    return virtual_broker::topic("workflow." + id);
  }

  static restart_workflow restart(const std::string& id, const std::string& from) {
    return {channel(id), {.from = from, .reason = "again", .who = "ann", .without_signals = true}};
  }

  runtime::workflow_registry code;
  virtual_broker broker{{}, &code};
};

bool is_told_to_retry(const result<control_answer>& answer, std::string_view why) {
  if (answer) return false;
  INFO(answer.error().detail);
  CHECK(is_retryable(answer.error().code));
  CHECK(answer.error().retry_after_ms > 0);
  return answer.error().detail.find(why) != std::string::npos;
}

}  // namespace

TEST_CASE("nothing is written of an agent behind its deletion", "[actors][workflow]") {
  family node;
  const auto agent = family::channel("agent.slow.k");
  const auto call = [&](const std::string& id) {
    return node.broker.ask(call_agent{
        .topic = agent, .type = "agent:slow", .message = "add", .payload = "1", .id = id});
  };
  call("m1");
  node.broker.settle();
  REQUIRE(node.row("agent.slow.k").run == 1);
  const auto deletion = node.broker.ask(delete_topic{agent});
  node.broker.run();
  // It awakes while that is on its way to the disk.
  for (int i = 0; i < 30; ++i) {
    node.broker.tick(50ms);
    node.broker.run();
  }
  SECTION("that is made") {
    node.broker.settle();
    CHECK(node.broker.got.answered.at(deletion));
    node.broker.advance(2s);
    node.broker.journal.apply();
    CHECK(node.row("agent.slow.k").type.empty());
    CHECK(node.broker.topics_active() == 0);
    // The next of its name is another.
    const auto again = call("m2");
    node.broker.advance(3s);
    REQUIRE(node.broker.got.answered.contains(again));
    CHECK(node.shown("agent.slow.k").at("state") == 1);
  }
  SECTION("that fails") {
    node.broker.journal.fail_next(error{errc::outcome_unknown, "injected", 0});
    node.broker.settle();
    CHECK_FALSE(node.broker.got.answered.at(deletion));
    node.broker.advance(3s);
    CHECK(node.shown("agent.slow.k").at("state") == 1);
  }
}

TEST_CASE("a restart is not lost, however far the end of its run is", "[actors][workflow]") {
  bool is_over = false;
  for (std::size_t commits = 0; !is_over; ++commits) {
    INFO("asked for after " << commits << " commits");
    REQUIRE(commits < 100);
    family node;
    node.begin();
    node.broker.ask(signal_workflow{family::channel("kid"), "go", "7", {}});
    node.broker.run();
    for (std::size_t i = 0; i < commits && !is_over; ++i) {
      node.broker.journal.commit(1);
      node.broker.run();
      is_over = node.broker.journal.queued() == 0;
    }
    const auto asked = node.broker.ask(family::restart("kid", "go"));
    node.broker.advance(2s);
    const auto& answer = node.broker.got.answered.at(asked);
    // The signal was not read yet, so nothing was recorded that it could begin from.
    if (!answer) continue;
    CHECK(std::get<workflow_answer>(*answer).body.find(R"("run":2)") != std::string::npos);
    CHECK(node.row("kid").run == 2);
    // Its end, if the first run's was not heard, is the parent's, too.
    REQUIRE(node.broker.ask_now(signal_workflow{family::channel("kid"), "go", "8", {}}));
    node.broker.advance(2s);
    CHECK(node.row("kid").ended);
    CHECK(node.row("p").ended);
  }
}

TEST_CASE("a parent that begins its child again is not told of its last end", "[actors]") {
  bool is_over = false;
  for (std::size_t commits = 0; !is_over; ++commits) {
    INFO("asked for after " << commits << " commits");
    REQUIRE(commits < 100);
    family node;
    node.begin();
    node.broker.ask(signal_workflow{family::channel("kid"), "go", R"("broken")", {}});
    node.broker.run();
    for (std::size_t i = 0; i < commits && !is_over; ++i) {
      node.broker.journal.commit(1);
      node.broker.run();
      is_over = node.broker.journal.queued() == 0;
    }
    // What is on its way to the disk is let wait, and the parent begins anew.
    const auto asked = node.broker.ask(family::restart("p", "2"));
    node.broker.advance(2s);
    REQUIRE(node.broker.got.answered.at(asked));
    CHECK(node.row("p").run == 2);
    CHECK_FALSE(node.row("p").ended);
    CHECK(node.row("kid").run == 2);
    CHECK_FALSE(node.row("kid").ended);
    REQUIRE(node.broker.ask_now(signal_workflow{family::channel("kid"), "go", "8", {}}));
    node.broker.advance(2s);
    CHECK(node.shown("p").at("result") == 8);
  }
}

TEST_CASE("what ends a run comes before the replay of a restart", "[actors][workflow]") {
  family node;
  node.begin();
  const auto begun = kids_begun.load();
  const auto restarted = node.broker.ask(family::restart("kid", "go"));
  node.broker.run();
  REQUIRE(node.broker.journal.queued() == 1);
  const auto ended = node.broker.ask(terminate_workflow{family::channel("kid"), "enough", "ann"});
  node.broker.advance(2s);
  REQUIRE(node.broker.got.answered.at(restarted));
  REQUIRE(node.broker.got.answered.at(ended));
  // Which might hang.
  CHECK(kids_begun == begun);
  CHECK(node.row("kid").run == 2);
  CHECK(node.shown("kid").at("error").at("code") == "terminated");
  CHECK(node.row("p").ended);
}

TEST_CASE("a channel stays as long as its run has to tell others of its end", "[actors]") {
  family node;
  node.begin();
  SECTION("while the end is written") {
    node.broker.ask(terminate_workflow{family::channel("kid"), "enough", "ann"});
    node.broker.run();
    CHECK(is_told_to_retry(node.ask_only(delete_topic{family::channel("kid")}), "being written"));
    node.broker.advance(2s);
    CHECK(node.row("p").status == runtime::run_status::failed);
    CHECK(node.remove("kid"));
  }
  SECTION("to its children") {
    node.broker.ask(terminate_workflow{family::channel("p"), "enough", "ann"});
    node.broker.run();
    node.broker.journal.commit(1);
    CHECK(
        is_told_to_retry(node.ask_only(delete_topic{family::channel("p")}), "others that it left"));
    node.broker.advance(2s);
    CHECK(node.row("kid").status == runtime::run_status::cancelled);
    CHECK(node.remove("p"));
  }
  SECTION("to its parent, but not for ever") {
    // Which cannot hear it.
    auto kept = std::exchange(node.code, {});
    REQUIRE(node.code.add(kid_workflow::definition()));
    node.broker.crash();
    REQUIRE(node.broker.ask_now(signal_workflow{family::channel("kid"), "go", "7", {}}));
    node.broker.advance(2s);
    REQUIRE(node.row("kid").ended);
    CHECK(is_told_to_retry(node.remove("kid"), "parent"));
    node.broker.tick(owing_kept_max - 1min);
    node.broker.advance(1s);
    CHECK(is_told_to_retry(node.remove("kid"), "parent"));
    node.broker.tick(2min);
    node.broker.advance(1s);
    CHECK(node.remove("kid"));
  }
}

}  // namespace callboard::testing
