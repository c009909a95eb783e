// By what the events of a run, and of all that comes of it, are known to belong together.
#include "proto/event.pb.h"
#include "proto/journal.pb.h"
#include "runtime/topic/publish.hpp"

#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

struct noting_agent : agent<noting_agent, std::int64_t> {
  static constexpr std::string_view type = "noting";

  static void handlers(handler_table<noting_agent>& on) { on.message("note", &noting_agent::note); }

  flow<void> note(context& ctx, json what) { co_await ctx.publish("out", what).required(); }
};

struct leaf_workflow : workflow<leaf_workflow> {
  static constexpr std::string_view type = "test.leaf";

  flow<json> run(context& ctx, json what) {
    co_return co_await ctx.publish("out", what).required();
  }
};

/// Tells others once it is told to.
struct root_workflow : workflow<root_workflow> {
  static constexpr std::string_view type = "test.root";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.signal("go").required();
    co_await ctx.update(1).required();
    (void)co_await ctx.publish("out", 1).required();
    (void)co_await ctx.child("test.leaf", 1, {.id = "leaf"}).required();
    (void)co_await ctx.call("noting", "a", "note", 1).required();
    co_return json(ctx.identity().correlation_id);
  }
};

/// As versions wrote it that gave a run none.
void leave_out(storage::record_draft& draft) {
  if (draft.kind == storage::record_kind::workflow_progress) {
    callboard::journal::WorkflowProgress progress;
    REQUIRE(progress.ParseFromString(std::string{draft.payload.view()}));
    progress.mutable_row()->clear_correlation_id();
    draft.payload = shared_bytes{progress.SerializeAsString()};
  }
  if (draft.kind != storage::record_kind::event) return;
  v1::Event event;
  const auto stored = draft.payload.view();
  REQUIRE(event.ParseFromString(std::string{stored.substr(runtime::event_prefix_size)}));
  auto& extensions = *event.mutable_extensions();
  extensions.erase(
      std::remove_if(
          extensions.begin(),
          extensions.end(),
          [](const auto& one) { return one.name() == "correlationid"; }),
      extensions.end());
  if (event.type() == "workflow.started") {
    auto data = boost::json::parse(event.json()).as_object();
    data["correlation_id"] = "";
    event.set_json(boost::json::serialize(data));
  }
  std::string changed{stored.substr(0, runtime::event_prefix_size)};
  event.AppendToString(&changed);
  draft.payload = shared_bytes{std::move(changed)};
}

class related_node {
public:
  related_node() {
    REQUIRE(code_.add(noting_agent::definition()));
    REQUIRE(code_.add(leaf_workflow::definition()));
    REQUIRE(code_.add(root_workflow::definition()));
    broker = std::make_unique<virtual_broker>(config{}, &code_);
  }

  void start(const std::string& correlation) {
    start_workflow ask{channel("w"), "test.root", "null", {}, {}};
    ask.correlation_id = correlation;
    ask.mirror = "watch";
    REQUIRE(broker->ask_now(std::move(ask)));
    broker->settle();
  }

  void go_on() {
    REQUIRE(broker->ask_now(signal_workflow{channel("w"), "go", "1", "s"}));
    broker->advance(2s);
    REQUIRE(shown().at("status") == "completed");
  }

  [[nodiscard]] boost::json::object shown(const std::string& id = "w") {
    const auto answer = broker->ask_now(get_workflow{channel(id)});
    return boost::json::parse(std::get<workflow_answer>(answer.value()).body).as_object();
  }

  /// Of the events of a topic; "none" where there is none.
  [[nodiscard]] std::vector<std::string> correlations(const std::string& topic) {
    const auto answer = broker->ask_now(read_events{
        .topic = virtual_broker::topic(topic), .from = runtime::from_first{}, .events_max = 1000});
    std::vector<std::string> all;
    for (const auto& one : std::get<event_page>(answer.value()).batch->events) {
      v1::Event event;
      REQUIRE(
          event.ParseFromString(std::string{one.stored.view().substr(runtime::event_prefix_size)}));
      const auto found = std::ranges::find_if(event.extensions(), [](const auto& extension) {
        return extension.name() == "correlationid";
      });
      all.push_back(found == event.extensions().end() ? "none" : found->text());
    }
    REQUIRE_FALSE(all.empty());
    return all;
  }

  [[nodiscard]] static topic_ref channel(const std::string& id) {
    return virtual_broker::topic("workflow." + id);
  }

  std::unique_ptr<virtual_broker> broker;

private:
  runtime::workflow_registry code_;
};

}  // namespace

TEST_CASE("all that comes of a run has its correlation id", "[actors][workflow]") {
  const auto* const given = GENERATE("", "c1");
  const std::string expected = *given == '\0' ? "w" : given;
  related_node node;
  node.start(given);
  node.go_on();
  for (const auto* topic :
       {"workflow.w", "workflow.leaf", "workflow.agent.noting.a", "out", "watch"}) {
    INFO(topic);
    const auto all = node.correlations(topic);
    CHECK(std::ranges::count(all, expected) == std::ssize(all));
  }
  CHECK(node.shown().at("correlation_id") == json(expected));
  CHECK(node.shown().at("result") == json(expected));
}

TEST_CASE("a fork has its own id as correlation id, or what its source was given", "[actors]") {
  const auto* const given = GENERATE("", "c1");
  const bool is_restarted = GENERATE(false, true);
  related_node node;
  node.start(given);
  REQUIRE(node.broker->ask_now(
      fork_workflow{node.channel("w"), node.channel("w2"), {.from = {}, .who = "ann"}}));
  // Of a fork that has none of its own there is one, too.
  REQUIRE(node.broker->ask_now(
      fork_workflow{node.channel("w2"), node.channel("w3"), {.from = {}, .who = "ann"}}));
  if (is_restarted) node.broker->crash();
  for (const auto* id : {"w2", "w3"}) {
    const std::string expected = *given == '\0' ? id : given;
    INFO(id);
    REQUIRE(node.broker->ask_now(signal_workflow{node.channel(id), "go", "1", "s"}));
    node.broker->advance(2s);
    const auto shown = node.shown(id);
    CHECK(shown.at("correlation_id") == json(expected));
    CHECK(shown.at("result") == json(expected));
    const auto own = node.correlations("workflow." + std::string{id});
    CHECK(std::ranges::count(own, expected) == std::ssize(own));
    const auto out = node.correlations("out");
    CHECK(std::ranges::count(out, expected) != 0);
  }
}

TEST_CASE("a run that began without a correlation id goes on with its own", "[actors][workflow]") {
  related_node node;
  node.broker->journal.on_write = leave_out;
  node.start("");
  const auto before = node.correlations("workflow.w");
  REQUIRE(std::ranges::count(before, "none") == std::ssize(before));
  node.broker->crash();
  node.broker->journal.on_write = nullptr;
  node.go_on();
  const auto own = node.correlations("workflow.w");
  CHECK(std::ranges::count(own, "none") == std::ssize(before));
  CHECK(std::ranges::count(own, "w") == std::ssize(own) - std::ssize(before));
  for (const auto* topic : {"workflow.leaf", "workflow.agent.noting.a", "out", "watch"}) {
    INFO(topic);
    const auto all = node.correlations(topic);
    CHECK(std::ranges::count(all, "w") == std::ssize(all));
  }
  CHECK(node.shown().at("correlation_id") == "w");
  // What its code was told does not change under it.
  CHECK(node.shown().at("result") == "");
}

}  // namespace callboard::testing
