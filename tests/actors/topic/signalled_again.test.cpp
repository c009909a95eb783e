// Signals that are sent again because nobody heard that they count, to a workflow that has gone on
// as new meanwhile: known while it stays in memory, and when its node died before it could answer.
#include "actors/earlier_signals.hpp"
#include "runtime/workflow/run_codec.hpp"

#include "tests/actors/topic/virtual_broker.hpp"
#include "tests/runtime/binding/sample_event.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <callboard/workflow.hpp>
#include <cstdint>
#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// Goes on as new with each signal, and with each second one once more at once; what it is handed
/// counts them.
struct turnstile_workflow : workflow<turnstile_workflow> {
  static constexpr std::string_view type = "test.turnstile";

  flow<json> run(context& ctx, json passed) {
    const auto count = passed.at("count").as_int64();
    if (passed.at("is_on_its_way").as_bool()) co_return ctx.continue_as_new(at(count, false));
    const auto go = (co_await ctx.signal("go").required()).as_int64();
    if (go == 0) co_return json("closed");
    for (std::int64_t i = 1; i < go; ++i)
      (void)co_await ctx.signal("go").required();
    co_return ctx.continue_as_new(at(count + go, (count + go) % 2 == 0));
  }

  static json at(std::int64_t count, bool is_on_its_way) {
    return {{"count", count}, {"is_on_its_way", is_on_its_way}};
  }
};

/// Goes on as new with each signal, and as often again at once as it says.
struct running_workflow : workflow<running_workflow> {
  static constexpr std::string_view type = "test.running";

  flow<json> run(context& ctx, json at) {
    auto& left = at.as_object()["left"];
    if (left.as_int64() != 0) {
      left = left.as_int64() - 1;
      co_return ctx.continue_as_new(std::move(at));
    }
    left = co_await ctx.signal("go").required();
    at.as_object()["count"] = at.at("count").as_int64() + 1;
    co_return ctx.continue_as_new(std::move(at));
  }
};

class turnstile {
public:
  explicit turnstile(
      config with = {},
      const std::string& type = "test.turnstile",
      const std::string& input = R"({"count":0,"is_on_its_way":false})")
      : broker{with, registered()} {
    REQUIRE(broker.ask_now(start_workflow{channel, type, input, {}, {}}));
  }

  const runtime::workflow_registry* registered() {
    REQUIRE(code.add(turnstile_workflow::definition()));
    REQUIRE(code.add(running_workflow::definition()));
    return &code;
  }

  result<std::string> signal(const std::string& id, const std::string& payload = "1") {
    auto answer = broker.ask_now(signal_workflow{channel, "go", payload, id});
    if (!answer) return std::unexpected{answer.error()};
    return std::get<workflow_answer>(*std::move(answer)).body;
  }

  bool is_known(const std::string& id, const std::string& payload = "1") {
    return signal(id, payload).value() == R"({"duplicate":true})";
  }

  errc refusal(const std::string& id, const std::string& payload) {
    const auto answer = signal(id, payload);
    return answer ? errc::internal : answer.error().code;
  }

  /// It is on disk; nobody is told.
  void signal_and_die(const std::string& id, const std::string& payload = "1") {
    (void)broker.ask(signal_workflow{channel, "go", payload, id});
    broker.run();
    REQUIRE(broker.journal.commit() > 0);
    broker.crash();
  }

  boost::json::value shown() {
    const auto answer = broker.ask_now(get_workflow{channel});
    return boost::json::parse(std::get<workflow_answer>(answer.value()).body);
  }

  /// To read what is there of it, and to do nothing else.
  std::size_t events_read_to_load() {
    broker.crash();
    const auto before = broker.journal.visited();
    (void)shown();
    return broker.journal.visited() - before;
  }

  std::int64_t passed() { return shown().at("input").at("count").as_int64(); }

  runtime::workflow_registry code;
  virtual_broker broker;
  const topic_ref channel = virtual_broker::topic("workflow.w");
};

/// Runs of older builds do not name the signals that were taken in the chain before them.
void name_no_signals(storage::record_draft& draft) {
  if (draft.kind != storage::record_kind::event) return;
  v1::Event event;
  REQUIRE(event.ParseFromString(std::string{runtime::event_proto(draft.payload)}));
  if (event.type() != "workflow.started") return;
  auto data = boost::json::parse(event.json());
  data.as_object().erase("signals");
  event.set_json(boost::json::serialize(data));
  draft.payload = sample_event::stored(event);
}

}  // namespace

TEST_CASE("a signal's id is known in its run and the next", "[actors]") {
  turnstile node;
  const bool is_killed = GENERATE(false, true);
  const auto pause = [&] {
    if (is_killed) node.broker.crash();
  };
  for (const std::string id : {"a", "b", "c"}) {
    CHECK_FALSE(node.is_known(id));
    pause();
    CHECK(node.is_known(id));
  }
  CHECK(node.passed() == 3);
  pause();
  // It was more than a run ago: who is told for ever would have to be remembered for ever.
  CHECK_FALSE(node.is_known("a"));
  CHECK(node.passed() == 4);
}

TEST_CASE("a signal counts once whose node died before it could say so", "[actors]") {
  turnstile node;
  std::int64_t passed = 0;
  for (const std::string id : {"a", "b", "c", "d"}) {
    node.signal_and_die(id);
    CHECK(node.passed() == ++passed);
    CHECK(node.is_known(id));
    CHECK(node.refusal(id, "2") == errc::id_conflict);
    node.broker.crash();
    CHECK(node.is_known(id));
    CHECK(node.passed() == passed);
  }
}

TEST_CASE("a signal counts once however long a chain of runs it began", "[actors]") {
  turnstile node{{}, "test.running", R"({"count":0,"left":0})"};
  const std::string length = GENERATE("1", "15", "16", "17", "100", "2000");
  // In the middle of the chain, or when it is over.
  for (const std::size_t commits : {1, 2, 3, 1000}) {
    const auto id = std::to_string(commits);
    INFO("chain of " << length << ", " << id << " commits");
    const auto before = node.passed();
    CHECK_FALSE(node.is_known("other" + id, "0"));
    (void)node.broker.ask(signal_workflow{node.channel, "go", length, id});
    for (std::size_t i = 0; i < commits; ++i) {
      node.broker.run();
      if (node.broker.journal.commit() == 0) break;
    }
    node.broker.crash();
    CHECK(node.is_known(id, length));
    CHECK(node.refusal(id, "3") == errc::id_conflict);
    node.broker.settle();
    CHECK(node.passed() == before + 2);
    node.broker.crash();
    CHECK(node.is_known(id, length));
    CHECK(node.passed() == before + 2);
  }
}

TEST_CASE("a signal counts once that began a chain of runs in an older build", "[actors]") {
  turnstile node{{}, "test.running", R"({"count":0,"left":0})"};
  node.broker.journal.on_write = name_no_signals;
  const std::string length = GENERATE("0", "1", "3", "14");
  CHECK_FALSE(node.is_known("before", length));
  // In one part, of which nobody was told.
  node.signal_and_die("a", length);
  CHECK(node.is_known("a", length));
  CHECK(node.refusal("a", "20") == errc::id_conflict);
  CHECK(node.passed() == 2);
  node.broker.journal.on_write = nullptr;
  CHECK_FALSE(node.is_known("b", length));
  node.broker.crash();
  CHECK(node.is_known("b", length));
  CHECK(node.passed() == 3);
}

TEST_CASE("signals that a chain of runs reads count once", "[actors]") {
  turnstile node{{}, "test.running", R"({"count":0,"left":0})"};
  (void)node.signal("first", "40");
  for (const std::string id : {"a", "b", "c"})
    (void)node.broker.ask(signal_workflow{node.channel, "go", "20", id});
  node.broker.run();
  while (node.broker.journal.commit() > 0)
    node.broker.run();
  node.broker.crash();
  CHECK(node.is_known("c", "20"));
  CHECK(node.passed() == 4);
}

TEST_CASE("what says something else is refused once the first is on disk", "[actors]") {
  turnstile node;
  const auto other = virtual_broker::topic("workflow.other");
  const auto start = [&](int count) {
    return start_workflow{
        other,
        "test.turnstile",
        R"({"is_on_its_way":false,"count":)" + std::to_string(count) + '}',
        {},
        {}};
  };
  const auto first = node.broker.ask(signal_workflow{node.channel, "go", "1", "a"});
  const auto begun = node.broker.ask(start(1));
  node.broker.run();
  const auto second = node.broker.ask(signal_workflow{node.channel, "go", "2", "a"});
  const auto begun_again = node.broker.ask(start(2));
  node.broker.run();
  const auto& answered = node.broker.got.answered;
  CHECK_FALSE(answered.contains(second));
  CHECK_FALSE(answered.contains(begun_again));
  SECTION("as it is") {
    node.broker.settle();
    CHECK(answered.at(first));
    CHECK(answered.at(second).error().code == errc::id_conflict);
    CHECK(answered.at(begun));
    CHECK(answered.at(begun_again).error().code == errc::workflow_exists);
    CHECK(node.refusal("a", "2") == errc::id_conflict);
  }
  SECTION("which it never is") {
    node.broker.journal.lose_queued();
    node.broker.settle();
    CHECK_FALSE(answered.at(first));
    CHECK(answered.at(second).error().code != errc::id_conflict);
    CHECK(answered.at(begun_again).error().code != errc::workflow_exists);
    node.broker.advance(5s);
    CHECK_FALSE(node.is_known("a", "2"));
    CHECK(node.refusal("a", "1") == errc::id_conflict);
  }
}

TEST_CASE("all signals of the run before are known again", "[actors]") {
  turnstile node;
  CHECK_FALSE(node.is_known("a", "3"));
  CHECK_FALSE(node.is_known("b", "5"));
  node.signal_and_die("c", "5");
  CHECK(node.passed() == 3);
  CHECK(node.is_known("a", "3"));
  CHECK(node.is_known("b", "5"));
  CHECK(node.refusal("b", "6") == errc::id_conflict);
  CHECK(node.is_known("c", "5"));
  CHECK(node.passed() == 3);
}

TEST_CASE("of a long run before the latest signals are known again", "[actors]") {
  turnstile node;
  // As many, and what its code did about them.
  const auto count = static_cast<int>(earlier_signals_reach) - 1;
  for (int i = 1; i < count; ++i)
    CHECK_FALSE(node.is_known("s" + std::to_string(i), std::to_string(count)));
  node.signal_and_die("last", "1");
  CHECK(node.passed() == count);
  CHECK(node.is_known("last"));
  CHECK(node.is_known("s" + std::to_string(count - 1), std::to_string(count)));
  CHECK_FALSE(node.is_known("s1"));
}

TEST_CASE("a signal that ended the workflow is known when its node died", "[actors]") {
  turnstile node;
  node.signal_and_die("a");
  node.signal_and_die("b", "0");
  CHECK(node.shown().at("status") == "completed");
  CHECK(node.is_known("b", "0"));
  CHECK(node.is_known("a"));
  CHECK(node.refusal("c", "1") == errc::wrong_kind);
}

TEST_CASE("what the run before one that is begun anew was sent is known", "[actors]") {
  turnstile node;
  const bool is_killed = GENERATE(false, true);
  CHECK_FALSE(node.is_known("a"));
  // Also of one that had been begun anew itself.
  for (const std::string_view run : {"2", "3"}) {
    CAPTURE(run);
    REQUIRE(node.broker.ask_now(restart_workflow{node.channel, {.reason = "again", .who = "ann"}}));
    if (is_killed) node.broker.crash();
    CHECK(node.passed() == 1);
    CHECK(node.is_known("a"));
    CHECK(node.refusal("a", "2") == errc::id_conflict);
  }
  CHECK_FALSE(node.is_known("b"));
  if (is_killed) node.broker.crash();
  CHECK(node.is_known("b"));
  CHECK(node.passed() == 2);
  CHECK_FALSE(node.is_known("a"));
}

TEST_CASE("what a run that is begun anew from a command took before counts once", "[actors]") {
  turnstile node;
  const bool is_killed = GENERATE(false, true);
  CHECK_FALSE(node.is_known("a"));
  CHECK_FALSE(node.is_known("b", "3"));
  CHECK_FALSE(node.is_known("c", "3"));
  REQUIRE(node.broker.ask_now(
      restart_workflow{node.channel, {.from = "2", .reason = "again", .who = "ann"}}));
  if (is_killed) node.broker.crash();
  CHECK(node.is_known("a"));
  CHECK(node.is_known("b", "3"));
  CHECK(node.is_known("c", "3"));
  CHECK_FALSE(node.is_known("d", "3"));
  CHECK(node.passed() == 4);
}

TEST_CASE("what is on disk is known while a restart records it again", "[actors]") {
  turnstile node;
  CHECK_FALSE(node.is_known("a"));
  CHECK_FALSE(node.is_known("b", "3"));
  const auto restarted = node.broker.ask(
      restart_workflow{node.channel, {.from = "1", .reason = "again", .who = "ann"}});
  node.broker.run();
  REQUIRE(node.broker.journal.queued() == 1);
  const auto again = node.broker.ask(signal_workflow{node.channel, "go", "3", "b"});
  const auto other = node.broker.ask(signal_workflow{node.channel, "go", "4", "b"});
  node.broker.run();
  const auto& answered = node.broker.got.answered;
  CHECK_FALSE(answered.contains(restarted));
  REQUIRE(answered.contains(again));
  CHECK(std::get<workflow_answer>(answered.at(again).value()).body == R"({"duplicate":true})");
  REQUIRE(answered.contains(other));
  CHECK(answered.at(other).error().code == errc::id_conflict);
  node.broker.settle();
  CHECK(answered.at(restarted));
  CHECK(node.is_known("b", "3"));
}

TEST_CASE("what a restart leaves out counts that is sent again while it is written", "[actors]") {
  turnstile node;
  for (int i = 0; i < 300; ++i)
    CHECK_FALSE(node.is_known("a" + std::to_string(i), "305"));
  const auto restarted = node.broker.ask(restart_workflow{
      node.channel, {.from = "280", .reason = "again", .who = "ann", .without_signals = true}});
  // Up to where the first part of the copy is on its way to the disk.
  node.broker.run();
  REQUIRE(node.broker.journal.queued() == 1);
  const auto again = node.broker.ask(signal_workflow{node.channel, "go", "305", "a299"});
  node.broker.run();
  REQUIRE(node.broker.got.answered.contains(again));
  const auto& answer = node.broker.got.answered.at(again);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::overloaded);
  node.broker.settle();
  REQUIRE(node.broker.got.answered.contains(restarted));
  CHECK(node.broker.got.answered.at(restarted));
  CHECK(node.is_known("a100", "305"));
  CHECK_FALSE(node.is_known("a299", "305"));
  CHECK(node.is_known("a299", "305"));
}

TEST_CASE("a run goes on whose record of the run before is gone", "[actors]") {
  config settings;
  settings.workflows.events_kept = 1;
  turnstile node{settings};
  CHECK_FALSE(node.is_known("a"));
  node.broker.advance(10s);
  node.broker.crash();
  CHECK(node.passed() == 1);
  CHECK_FALSE(node.is_known("a"));
  CHECK(node.passed() == 2);
}

TEST_CASE("short runs that go on as new stay cheap to load", "[actors]") {
  turnstile node;
  for (int i = 0; i < 300; ++i)
    CHECK_FALSE(node.is_known("s" + std::to_string(i)));
  CHECK(node.events_read_to_load() < 30);
  CHECK(node.is_known("s299"));
  CHECK(node.passed() == 300);
}

TEST_CASE("the sweep reads nothing of the run before", "[actors]") {
  config settings;
  settings.workflows.sweep_ms = 1000;
  turnstile node{settings};
  CHECK_FALSE(node.is_known("a"));
  CHECK_FALSE(node.is_known("b"));
  node.broker.crash();
  const auto before = node.broker.journal.visited();
  node.broker.advance(10s);
  // Its start, and what it waits for.
  CHECK(node.broker.journal.visited() - before == 2);
}

TEST_CASE("of large signals of the run before the latest are known again", "[actors]") {
  turnstile node;
  const auto large = '"' + std::string(250'000, 'x') + '"';
  CHECK_FALSE(node.is_known("s0", "21"));
  for (int i = 1; i < 20; ++i)
    CHECK_FALSE(node.is_known("s" + std::to_string(i), large));
  node.signal_and_die("last");
  CHECK(node.events_read_to_load() < 64);
  CHECK(node.is_known("last"));
  CHECK(node.is_known("s19", large));
  CHECK_FALSE(node.is_known("s0", "1"));
  CHECK(node.passed() == 22);
}

TEST_CASE(
    "signals in a copy that was given up are not those of the run of its number", "[actors]") {
  turnstile node;
  const auto send = [&](const std::string& stem, int from, int to, const std::string& payload) {
    for (int i = from; i < to; ++i)
      CHECK_FALSE(node.is_known(stem + std::to_string(i), payload));
  };
  send("a", 0, 300, "305");
  (void)node.broker.ask(
      restart_workflow{node.channel, {.from = "go", .reason = "again", .who = "ann"}});
  node.broker.run();
  REQUIRE(node.broker.journal.commit() > 0);
  node.broker.crash();
  REQUIRE(node.shown().at("run") == 1);
  send("a", 300, 305, "305");
  REQUIRE(node.shown().at("run") == 2);
  send("b", 0, 12, "12");
  REQUIRE(node.shown().at("run") == 3);
  node.broker.crash();
  CHECK(node.is_known("b0", "12"));
  // The first slice ends with one of these.
  send("a", 240, 255, "100");
}

TEST_CASE("a run goes on whose record of the run before cannot be decoded", "[actors]") {
  turnstile node;
  node.broker.journal.on_write = [](storage::record_draft& draft) {
    if (draft.kind != storage::record_kind::event) return;
    const auto outline = runtime::outline_of({{}, {}, draft.payload});
    const bool is_damaged =
        outline && outline->run == 2 && outline->kind == runtime::run_event_kind::issued;
    if (!is_damaged) return;
    const auto prefix = draft.payload.view().substr(0, runtime::event_prefix_size);
    draft.payload = shared_bytes{std::string{prefix} + "nonsense"};
  };
  CHECK_FALSE(node.is_known("a"));
  node.signal_and_die("b");
  CHECK(node.passed() == 2);
  CHECK(node.is_known("b"));
}

}  // namespace callboard::testing
