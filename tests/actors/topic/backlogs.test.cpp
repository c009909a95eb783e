// What nobody can take now may be a lot, and it must not hold up what somebody can: more of it
// than is kept in memory or read at a time, and others behind it.
#include "actors/queue_reads.hpp"
#include "actors/run_reads.hpp"
#include "actors/task_origin.hpp"
#include "runtime/workflow/run_codec.hpp"

#include "tests/actors/queue/queue_client.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;

namespace {

/// Loses its code in these tests.
struct orphan_workflow : workflow<orphan_workflow> {
  static constexpr std::string_view type = "test.orphan";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

struct asking_workflow : workflow<asking_workflow> {
  static constexpr std::string_view type = "test.asking";

  flow<json> run(context& ctx, json) { co_return co_await ctx.task("llm", 1).required(); }
};

flow<json> rest_for(context& ctx, const json& ms) {
  co_await ctx.sleep(std::chrono::milliseconds{ms.as_int64()}).required();
  co_return 1;
}

/// Input: for how many milliseconds.
struct timed_workflow : workflow<timed_workflow> {
  static constexpr std::string_view type = "test.timed";

  flow<json> run(context& ctx, json ms) { co_return co_await rest_for(ctx, ms); }
};

/// The same after a mistake.
struct mistimed_workflow : workflow<mistimed_workflow> {
  static constexpr std::string_view type = "test.timed";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("never").required(); }
};

/// Loses its code, too.
struct napping_workflow : workflow<napping_workflow> {
  static constexpr std::string_view type = "test.napping";

  flow<json> run(context& ctx, json ms) { co_return co_await rest_for(ctx, ms); }
};

/// Goes on as a new run when it is told to, and then reads as many notes as it is told.
struct hoarding_workflow : workflow<hoarding_workflow> {
  static constexpr std::string_view type = "test.hoarding";

  flow<json> run(context& ctx, json input) {
    if (input != "reading") {
      co_await ctx.signal("on").required();
      co_return ctx.continue_as_new("reading");
    }
    const auto count = (co_await ctx.signal("count").required()).as_int64();
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < count; ++i)
      sum += (co_await ctx.signal("note").required()).as_int64();
    co_return sum;
  }
};

struct hoard {
  explicit hoard(config with) : node{std::move(with), &code} {
    REQUIRE(code.add(hoarding_workflow::definition()));
    node.crash();
    (void)node.get<workflow_answer>(start_workflow{where(), "test.hoarding", "0", {}, {}});
  }

  static topic_ref where() { return virtual_broker::topic("workflow.h"); }

  result<control_answer> signal(const std::string& name, const std::string& payload) {
    const auto asked = node.ask(signal_workflow{where(), name, payload, {}});
    node.settle();
    REQUIRE(node.got.answered.contains(asked));
    return node.got.answered.at(asked);
  }

  std::string result_of_all() {
    node.advance(1s);
    return node.get<workflow_answer>(get_workflow{where()}).body;
  }

  runtime::workflow_registry code;
  queue_client node;
};

struct crowd {
  crowd() { learn({"test.orphan", "test.asking", "test.timed", "test.napping"}); }

  /// As a program that has this code and no other.
  void learn(const std::vector<std::string>& types) {
    code = {};
    for (auto one :
         {orphan_workflow::definition(),
          asking_workflow::definition(),
          timed_workflow::definition(),
          napping_workflow::definition()}) {
      if (std::ranges::find(types, one.type) != types.end()) REQUIRE(code.add(std::move(one)));
    }
  }

  void restart_with(const std::vector<std::string>& types) {
    learn(types);
    node.crash();
    node.settle();
  }

  static topic_ref channel(const std::string& id) {
    return virtual_broker::topic("workflow." + id);
  }

  void begin(const std::string& id, const std::string& type, const std::string& input = "null") {
    (void)node.get<workflow_answer>(start_workflow{channel(id), type, input, {}, {}});
  }

  /// On disk: nobody is woken by the question.
  bool has_ended(const std::string& id) {
    auto reader = node.journal.read(node.shard_of("workflow." + id));
    const auto row = read_workflow_row(**reader, channel(id)).value();
    return row && row->ended;
  }

  std::string shown(const std::string& id) {
    return node.get<workflow_answer>(get_workflow{channel(id)}).body;
  }

  bool ends_within(const std::string& id, std::chrono::seconds patience) {
    for (std::chrono::milliseconds waited{0}; waited < patience; waited += 500ms) {
      if (shown(id).find(R"("status":"completed")") != std::string::npos) return true;
      node.advance(500ms);
    }
    UNSCOPED_INFO(shown(id));
    return false;
  }

  std::uint64_t seed_of(const std::string& id) {
    const auto page = node.get<event_page>(
        read_events{.topic = channel(id), .from = runtime::from_first{}, .events_max = 1});
    return runtime::read_started(runtime::decode_run_event(page.batch->events.front()).value())
        .value()
        .seed;
  }

  /// Tasks that `id` waits for, as the queue has it.
  void ask_for(const std::string& id, std::uint32_t count) {
    task_waiter who{channel(id).topic.str(), 1, 0, seed_of(id)};
    for (std::uint32_t i = 0; i < count; ++i) {
      who.command = i + 2;
      auto ask = queue_client::task("llm", "1");
      ask.task.origin = format_origin(who);
      (void)node.ask(std::move(ask));
    }
    node.settle();
  }

  std::uint64_t complete_all() {
    std::uint64_t completed = 0;
    while (true) {
      const auto tasks = node.lease("llm", 100);
      if (tasks.empty()) return completed;
      for (const auto& one : tasks)
        (void)node.ask(queue_client::done_with(one));
      completed += tasks.size();
      node.settle();
    }
  }

  /// Each look of the sweep would log them all.
  static config quiet(config with = {}) {
    with.workflows.sweep_ms = 86'400'000;
    return with;
  }

  runtime::workflow_registry code;
  queue_client node{quiet(), &code};
};

/// More than are kept in memory, and than a page on disk has.
constexpr std::uint32_t many = 1300;

}  // namespace

TEST_CASE("ends that a run cannot hear hold up no other run", "[actors][queue]") {
  crowd all;
  all.begin("p", "test.orphan");
  all.ask_for("p", many);
  all.begin("w", "test.asking");
  all.node.settle();
  SECTION("at once") {
    all.restart_with({"test.asking"});
    REQUIRE(all.complete_all() == many + 1);
    CHECK(all.ends_within("w", 15s));
  }
  SECTION("after a restart") {
    all.restart_with({});
    REQUIRE(all.complete_all() == many + 1);
    all.node.advance(2s);
    all.restart_with({"test.asking"});
    CHECK(all.ends_within("w", 15s));
  }
  SECTION("of a deleted queue") {
    all.restart_with({"test.asking"});
    (void)all.node.get<actors::done>(delete_queue{queue_client::queue("llm")});
    CHECK(all.ends_within("w", 0s) == false);
    for (int i = 0; i < 30 && all.shown("w").find("task_queue_deleted") == std::string::npos; ++i)
      all.node.advance(500ms);
    CHECK(all.shown("w").find("task_queue_deleted") != std::string::npos);
  }
  // Nothing is lost: who could not hear hears when it can.
  all.restart_with({"test.orphan", "test.asking"});
  all.node.advance(30s);
  auto reader = all.node.journal.read(all.node.shard_of("llm"));
  CHECK(read_endings_page(**reader, {}, 10, 1 << 20).value().endings.empty());
  CHECK(read_gone_queues(**reader)->empty());
}

TEST_CASE("a blocked run leaves its timer to the code that fits", "[actors][workflow]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(timed_workflow::definition()));
  queue_client node{crowd::quiet(), &code};
  const auto where = virtual_broker::topic("workflow.w");
  (void)node.get<workflow_answer>(start_workflow{where, "test.timed", "5000", {}, {}});
  auto fitting = std::exchange(code, {});
  REQUIRE(code.add(mistimed_workflow::definition()));
  node.crash();
  const auto shown = [&] {
    const auto body = node.get<workflow_answer>(get_workflow{where}).body;
    INFO(body);
    return boost::json::parse(body).as_object();
  };
  (void)shown();
  node.advance(1s);
  REQUIRE(shown().at("status") == "blocked");
  const auto recorded = shown().at("history_size");
  for (int i = 0; i < 3; ++i) {
    node.advance(20s);
    // It is not woken, and looking at it records nothing.
    CHECK(node.topics_active() == 0);
    CHECK(shown().at("history_size") == recorded);
  }
  std::swap(code, fitting);
  node.crash();
  node.advance(2s);
  CHECK(shown().at("status") == "completed");
}

TEST_CASE("the more runs are in memory, the sooner they leave it", "[actors][workflow]") {
  const bool is_tight = GENERATE(true, false);
  config with;
  runtime::workflow_registry code;
  REQUIRE(code.add(orphan_workflow::definition()));
  queue_client node{crowd::quiet(with), &code};
  const auto each = [](const auto& visit) {
    for (int i = 0; i < 30; ++i)
      visit(virtual_broker::topic("workflow.o" + std::to_string(i)));
  };
  each([&](const topic_ref& channel) {
    (void)node.get<workflow_answer>(start_workflow{channel, "test.orphan", "null", {}, {}});
  });
  // Those without code stay for a minute.
  code = {};
  if (is_tight) node.settings.workflows.resident_max = 10;
  node.crash();
  each([&](const topic_ref& channel) { (void)node.get<workflow_answer>(get_workflow{channel}); });
  node.advance(5s);
  if (is_tight) {
    CHECK(node.topics_active() <= 10);
  } else {
    CHECK(node.topics_active() == 30);
  }
  node.advance(80s);
  CHECK(node.topics_active() == 0);
}

TEST_CASE("signals that nobody reads are bounded, and the next run gets them all") {
  config with;
  with.workflows.unread_bytes_max = 20'000;
  hoard one{with};
  std::int64_t taken = 0;
  std::optional<error> refusal;
  while (!refusal) {
    REQUIRE(taken < 1000);
    const auto answer = one.signal("note", "1");
    if (answer) {
      ++taken;
    } else {
      refusal = answer.error();
    }
  }
  CHECK(taken > 20);
  CHECK(refusal->code == errc::inbox_full);
  CHECK(refusal->retry_after_ms != 0);
  CHECK(refusal->detail.find("workflows.unread_bytes_max") != std::string::npos);
  one.node.crash();
  REQUIRE_FALSE(one.signal("note", "1"));
  // What it waits for comes in all the same.
  REQUIRE(one.signal("on", "1"));
  // As it is read again from disk, too.
  one.node.advance(5s);
  CHECK(one.node.topics_active() == 0);
  const auto again = one.signal("note", "1");
  REQUIRE_FALSE(again);
  CHECK(again.error().code == errc::inbox_full);
  REQUIRE(one.signal("count", std::to_string(taken + 1)));
  one.node.advance(1s);
  REQUIRE(one.signal("note", "1"));
  CHECK(one.result_of_all().find(R"("result":)" + std::to_string(taken + 1)) != std::string::npos);
}

TEST_CASE("a run without code takes no more signals than it can hand on") {
  config with;
  with.workflows.unread_bytes_max = 20'000;
  hoard one{with};
  auto kept = std::exchange(one.code, {});
  one.node.crash();
  int taken = 0;
  while (one.signal("note", "1"))
    REQUIRE(++taken < 1000);
  CHECK(taken > 20);
  one.node.crash();
  const auto refused = one.signal("note", "1");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::inbox_full);
}

TEST_CASE("more unread signals than a topic has in flight go on to the next run") {
  config with;
  with.topics.events_in_flight_max = 64;
  hoard one{with};
  constexpr int count = 300;
  for (int i = 0; i < count; ++i) {
    (void)one.node.ask(signal_workflow{hoard::where(), "note", "1", {}});
    if (i % 50 == 0) one.node.settle();
  }
  one.node.settle();
  REQUIRE(one.signal("on", "1"));
  one.node.advance(1s);
  REQUIRE(one.signal("count", std::to_string(count)));
  CHECK(one.result_of_all().find(R"("result":300)") != std::string::npos);
}

TEST_CASE("timers of runs without code hold up no other run's", "[actors][workflow]") {
  crowd all;
  const auto here = all.node.shard_of("workflow.w");
  std::uint32_t begun = 0;
  for (int i = 0; begun < many; ++i) {
    const auto id = "n" + std::to_string(i);
    if (all.node.shard_of("workflow." + id) != here) continue;
    (void)all.node.ask(start_workflow{crowd::channel(id), "test.napping", "5000", {}, {}});
    if (++begun % 100 == 0) all.node.settle();
  }
  all.begin("w", "test.timed", "20000");
  all.restart_with({"test.timed"});
  all.node.advance(18s);
  CHECK_FALSE(all.has_ended("w"));
  all.node.advance(4s);
  CHECK(all.has_ended("w"));
  SECTION("theirs fire when their code is back") {
    all.restart_with({"test.timed", "test.napping"});
    all.node.advance(5s);
    auto reader = all.node.journal.read(here);
    std::uint32_t running = 0;
    CHECK(visit_workflow_rows(
        **reader, [&](const auto&, const auto& row) { running += row.ended ? 0U : 1U; }));
    CHECK(running == 0);
  }
}

TEST_CASE("a timer whose row comes late is not forgotten", "[actors][workflow]") {
  crowd all;
  all.node.journal.hold_views();
  all.begin("w", "test.timed", "30000");
  SECTION("of a run that went to sleep") {
    all.node.advance(60s);
    CHECK_FALSE(all.has_ended("w"));
    all.node.journal.apply();
    all.node.advance(2s);
    CHECK(all.has_ended("w"));
  }
  SECTION("of a run that was asleep when the node started") {
    all.restart_with({"test.timed"});
    all.node.advance(45s);
    CHECK_FALSE(all.has_ended("w"));
    all.node.journal.apply();
    all.node.advance(12s);
    CHECK(all.has_ended("w"));
  }
}

TEST_CASE(
    "a task that is asked for again after its queue was deleted stays one", "[actors][queue]") {
  const bool is_late = GENERATE(false, true);
  crowd all;
  all.begin("p", "test.orphan");
  all.node.settle();
  // Who waits for it cannot hear that it is gone.
  all.restart_with({"test.asking"});
  all.node.advance(2s);
  if (is_late) all.node.journal.hold_views();
  all.ask_for("p", 1);
  REQUIRE(queue_client::depth(all.node.describe("llm")) == 1);
  (void)all.node.get<actors::done>(delete_queue{queue_client::queue("llm")});
  (void)all.node.get<queue_description>(put_queue{.queue = queue_client::queue("llm")});
  all.ask_for("p", 1);
  CHECK(queue_client::depth(all.node.describe("llm")) == 0);
}

}  // namespace callboard::testing
