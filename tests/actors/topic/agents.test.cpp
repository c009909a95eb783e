// Agents in a whole broker: each message is handled once and in order, what a key knows survives,
// calls between agents end, also those that would wait for themselves.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/actors/topic/virtual_broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json/parse.hpp>

#include <callboard/agent.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

struct counter : agent<counter, std::int64_t> {
  static constexpr std::string_view type = "counter";

  static void handlers(handler_table<counter>& on) {
    on.message("add", &counter::add)
        .message("spoil", &counter::spoil)
        .message("ask", &counter::ask)
        .message("fill", &counter::fill)
        .message("ask_soon", &counter::ask_soon)
        .message("doze", &counter::doze)
        .message("add_late", &counter::add_late);
  }

  flow<std::int64_t> add(context& ctx, std::int64_t by) {
    state() += co_await ctx.step("count", [by] { return by; }).required();
    co_return state();
  }

  flow<void> spoil(context&, json) {
    state() = -1;
    throw run_failed{{failure_class::permanent, "spoiled", "on purpose"}};
    co_return;
  }

  flow<json> ask(context& ctx, json chain) {
    // {"key": …, "message": …, "payload": …}
    const auto& to = chain.as_object();
    auto told = co_await ctx.call(
        "counter",
        std::string{to.at("key").as_string()},
        std::string{to.at("message").as_string()},
        to.at("payload"));
    if (!told) co_return "failed: " + told.error().code;
    co_return *told;
  }

  flow<std::string> fill(context&, std::int64_t size) {
    ++state();
    co_return std::string(static_cast<std::size_t>(size), 'x');
  }

  flow<std::string> ask_soon(context& ctx, std::string key) {
    auto told = co_await ctx.call("counter", key, "doze", nullptr, {.timeout = 60ms});
    co_return told ? "in time" : told.error().code;
  }

  flow<void> doze(context& ctx, json) { co_await ctx.sleep(1s).required(); }

  flow<std::int64_t> add_late(context& ctx, std::int64_t by) {
    co_await ctx.sleep(500ms).required();
    co_return state() += by;
  }
};

struct caller : workflow<caller> {
  static constexpr std::string_view type = "caller";

  flow<json> run(context& ctx, json by) {
    co_return co_await ctx.call("counter", "a", "add_late", by, {.timeout = 0ms}).required();
  }
};

struct shy_state {
  std::int64_t value = 0;
};

void tag_invoke(const boost::json::value_from_tag&, json& into, const shy_state& from) {
  if (from.value < 0) throw std::range_error{"it is below zero"};
  if (from.value > 100) throw from.value;
  into = from.value;
}

shy_state tag_invoke(const boost::json::value_to_tag<shy_state>&, const json& from) {
  return {from.to_number<std::int64_t>()};
}

/// Its state cannot always be said.
struct shy : agent<shy, shy_state> {
  static constexpr std::string_view type = "shy";

  static void handlers(handler_table<shy>& on) { on.message("add", &shy::add); }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state().value += by; }
};

/// It cannot always be made.
struct moody : agent<moody, std::int64_t> {
  static constexpr std::string_view type = "moody";
  static inline bool is_out_of_order = false;

  moody() {
    if (is_out_of_order) throw std::runtime_error{"there is no such file"};
  }

  static void handlers(handler_table<moody>& on) { on.message("add", &moody::add); }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }
};

/// Its state is as large as what it was told.
struct diary : agent<diary, std::string> {
  static constexpr std::string_view type = "diary";

  static void handlers(handler_table<diary>& on) {
    on.message("write", &diary::write).message("read", &diary::read);
  }

  flow<std::size_t> write(context&, std::string text) {
    state() += text;
    co_return state().size();
  }

  flow<std::size_t> read(context&, std::string) { co_return state().size(); }
};

/// Has too much to do, and says until when.
struct busy : agent<busy, std::int64_t> {
  static constexpr std::string_view type = "busy";

  static void handlers(handler_table<busy>& on) { on.message("add", &busy::add); }

  flow<void> add(context&, json) {
    throw run_failed{{failure_class::rate, "busy", "later", 5'000, R"({"queue":17})"}};
    co_return;
  }
};

struct patient : workflow<patient> {
  static constexpr std::string_view type = "patient";

  flow<json> run(context& ctx, json) {
    co_return co_await ctx.call("busy", "a", "add", 1).required();
  }
};

class agent_fixture : public broker_fixture {
public:
  agent_fixture() {
    if (!workflows.add(counter::definition()) || !workflows.add(shy::definition())
        || !workflows.add(diary::definition()))
      FAIL("cannot add the agents");
  }

  result<workflow_answer> tell(
      const std::string& key,
      const std::string& message,
      const std::string& payload,
      const std::string& id,
      std::uint32_t wait_ms = 10'000) {
    call_agent call;
    call.topic = topic("workflow.agent.counter." + key);
    call.type = "agent:counter";
    call.message = message;
    call.payload = payload;
    call.id = id;
    call.wait_ms = wait_ms;
    auto answered = ask(std::move(call));
    if (!answered) return std::unexpected{answered.error()};
    return std::get<workflow_answer>(std::move(*answered));
  }

  std::string note(const std::string& message, std::size_t bytes, const std::string& id) {
    call_agent call;
    call.topic = topic("workflow.agent.diary.a");
    call.type = "agent:diary";
    call.message = message;
    call.payload = '"' + std::string(bytes, 'x') + '"';
    call.id = id;
    call.wait_ms = 10'000;
    auto answered = ask(std::move(call));
    if (!answered) FAIL(answered.error().detail);
    return std::get<workflow_answer>(std::move(*answered)).body;
  }

  std::uint64_t number(const std::string& channel, std::string_view member) {
    auto told = ask(get_workflow{topic("workflow.agent." + channel)});
    if (!told) FAIL(told.error().detail);
    const auto shown = boost::json::parse(std::get<workflow_answer>(*told).body);
    return shown.at(member).to_number<std::uint64_t>();
  }

  /// The reply, as JSON text.
  std::string reply(
      const std::string& key,
      const std::string& message,
      const std::string& payload,
      const std::string& id) {
    auto told = tell(key, message, payload, id);
    if (!told) FAIL(told.error().detail);
    return told->body;
  }

  std::string shown(const std::string& key) {
    auto told = ask(get_workflow{topic("workflow.agent.counter." + key)});
    if (!told) FAIL(told.error().detail);
    return std::get<workflow_answer>(*told).body;
  }
};

bool says(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE_METHOD(agent_fixture, "an agent handles each message once and keeps its state") {
  CHECK(reply("a", "add", "2", "m1") == R"({"message":"m1","duplicate":false,"result":2})");
  CHECK(reply("a", "add", "3", "m2") == R"({"message":"m2","duplicate":false,"result":5})");
  CHECK(reply("a", "add", "2", "m1") == R"({"message":"m1","duplicate":true,"result":2})");
  CHECK(says(reply("b", "add", "7", "m1"), R"("result":7)"));
  restart();
  CHECK(says(shown("a"), R"("state":5)"));
  CHECK(reply("a", "add", "3", "m2") == R"({"message":"m2","duplicate":true,"result":5})");
  CHECK(says(reply("a", "add", "1", "m3"), R"("result":6)"));
}

TEST_CASE_METHOD(agent_fixture, "an agent whose state cannot be said keeps the one before") {
  const auto told = [&](const std::string& by, const std::string& id) {
    call_agent call;
    call.topic = topic("workflow.agent.shy.a");
    call.type = "agent:shy";
    call.message = "add";
    call.payload = by;
    call.id = id;
    call.wait_ms = 10'000;
    auto answered = ask(std::move(call));
    if (!answered) FAIL(answered.error().detail);
    return std::get<workflow_answer>(std::move(*answered)).body;
  };
  CHECK(says(told("2", "m1"), R"("result":2)"));
  const auto refused = told("-5", "m2");
  CHECK(says(refused, R"("class":"bug","code":"exception")"));
  CHECK(says(refused, "cannot be said: it is below zero"));
  CHECK(says(told("1", "m3"), R"("result":3)"));
  CHECK(says(told("100", "m4"), R"("code":"exception")"));
  restart();
  CHECK(told("-5", "m2").find("below zero") != std::string::npos);
  CHECK(says(told("1", "m5"), R"("result":4)"));
}

TEST_CASE_METHOD(agent_fixture, "a call counts once, however long its caller was away") {
  auto with_caller = std::exchange(workflows, {});
  REQUIRE(with_caller.add(caller::definition()));
  REQUIRE(workflows.add(counter::definition()));
  std::swap(workflows, with_caller);
  restart();
  REQUIRE(ask(start_workflow{topic("workflow.w"), "caller", "1000", {}, {}}));
  REQUIRE(eventually([&] {
    auto told = ask(get_workflow{topic("workflow.agent.counter.a")});
    return told && says(std::get<workflow_answer>(*told).body, R"("messages_waiting":1)");
  }));
  // The reply comes while nobody can hear it, and the agent forgets it.
  std::swap(workflows, with_caller);
  restart();
  REQUIRE(eventually([&] { return says(shown("a"), R"("messages_waiting":0)"); }));
  CHECK(says(shown("a"), R"("state":1000)"));
  for (int i = 1; i <= 250; ++i)
    REQUIRE(tell("a", "add", "1", "m" + std::to_string(i)));
  CHECK(says(shown("a"), R"("state":1250)"));
  std::swap(workflows, with_caller);
  restart();
  auto ended = ask(await_workflow{topic("workflow.w"), 10'000});
  REQUIRE(ended);
  CHECK(says(std::get<workflow_answer>(*ended).body, R"("result":1000)"));
  CHECK(says(shown("a"), R"("state":1250)"));
}

TEST_CASE_METHOD(agent_fixture, "a handler that fails answers why and leaves the state alone") {
  REQUIRE(says(reply("a", "add", "2", "m1"), R"("result":2)"));
  auto failed = tell("a", "spoil", "null", "m2");
  REQUIRE(failed);
  CHECK(failed->failed);
  CHECK(says(failed->body, R"("code":"spoiled")"));
  CHECK(tell("a", "spoil", "null", "m2")->failed);
  CHECK(says(tell("a", "dance", "null", "m3")->body, "unknown_message"));
  const auto bad = tell("a", "add", R"("two")", "m4")->body;
  CHECK(says(bad, "bad_message"));
  // Not where in the source of a library that was noticed.
  CHECK(says(bad, "another shape"));
  CHECK_FALSE(says(bad, "/"));
  CHECK(says(reply("a", "add", "1", "m5"), R"("result":3)"));
}

TEST_CASE_METHOD(
    agent_fixture, "a reply that is too large is told as such, and the agent goes on") {
  settings.workflows.reply_bytes_max = 1000;
  settings.workflows.result_bytes_max = 8000;
  restart();
  CHECK(says(reply("a", "fill", "100", "m1"), "xxxx"));
  const auto told = tell("a", "fill", "9000", "m2");
  REQUIRE(told);
  CHECK(told->failed);
  CHECK(says(told->body, R"("code":"reply_too_large")"));
  CHECK(says(told->body, "1000 bytes (workflows.reply_bytes_max)"));
  // As it was recorded, also by a replay under another limit, and by the next run.
  settings.workflows.reply_bytes_max = 1 << 20;
  restart();
  CHECK(says(tell("a", "fill", "9000", "m2")->body, "reply_too_large"));
  for (int i = 0; i < 110; ++i)
    REQUIRE(tell("a", "add", "1", "n" + std::to_string(i)));
  restart();
  CHECK(says(shown("a"), R"("state":112)"));
}

TEST_CASE_METHOD(agent_fixture, "an agent is no workflow that can be started or told to end") {
  const auto channel = topic("workflow.agent.counter.a");
  CHECK(ask(get_workflow{channel}).error().code == errc::agent_not_found);
  CHECK(
      ask(start_workflow{channel, "agent:counter", "null", {}, {}}).error().code
      == errc::bad_request);
  CHECK(
      ask(start_workflow{channel, "test.waiting", "null", {}, {}}).error().code
      == errc::bad_request);
  REQUIRE(tell("a", "add", "1", "m1"));
  CHECK(ask(signal_workflow{channel, "message", "1", "x"}).error().code == errc::wrong_kind);
  CHECK(ask(cancel_workflow{channel, "enough"}).error().code == errc::wrong_kind);
  CHECK(ask(terminate_workflow{channel, "enough"}).error().code == errc::wrong_kind);
  // Also when that is what wakes it.
  restart();
  CHECK(ask(terminate_workflow{channel, "enough"}).error().code == errc::wrong_kind);
  CHECK(says(reply("a", "add", "1", "m2"), R"("result":2)"));
  call_agent stranger;
  stranger.topic = topic("workflow.agent.nobody.a");
  stranger.type = "agent:nobody";
  stranger.id = "m";
  CHECK(ask(std::move(stranger)).error().code == errc::agent_not_found);
}

TEST_CASE_METHOD(agent_fixture, "agents ask each other, and a circle is told at once") {
  REQUIRE(tell("b", "add", "4", "m0"));
  CHECK(
      says(reply("a", "ask", R"({"key":"b","message":"add","payload":3})", "m1"), R"("result":7)"));
  CHECK(says(
      reply("a", "ask", R"({"key":"a","message":"add","payload":3})", "m2"),
      R"("result":"failed: agent_cycle")"));
  const std::string through_b =
      R"({"key":"b","message":"ask","payload":{"key":"a","message":"add","payload":1}})";
  CHECK(says(reply("a", "ask", through_b, "m3"), R"("result":"failed: agent_cycle")"));
}

TEST_CASE_METHOD(agent_fixture, "the key of a message stands for what it said") {
  const auto fill = [&](int from, int to) {
    for (int i = from; i < to; ++i)
      REQUIRE(tell("a", "add", "0", "n" + std::to_string(i)));
  };
  const auto is_known = [&] {
    CHECK(says(reply("a", "add", "2", "m1"), R"("duplicate":true,"result":2)"));
    for (const auto& other : {tell("a", "add", "3", "m1"), tell("a", "spoil", "2", "m1")}) {
      REQUIRE_FALSE(other);
      CHECK(other.error().code == errc::id_conflict);
    }
  };
  fill(0, 70);
  REQUIRE(says(reply("a", "add", "2", "m1"), R"("result":2)"));
  is_known();
  restart();
  is_known();
  // The run that heard it has ended, and nothing of it is in memory.
  fill(70, 120);
  CHECK(says(shown("a"), R"("run":2)"));
  is_known();
  restart();
  is_known();
}

TEST_CASE_METHOD(agent_fixture, "a caller need not wait longer than it wants to") {
  CHECK(says(reply("a", "ask_soon", R"("b")", "m1"), R"("result":"timeout")"));
  // Without waiting the answer is that the message is on disk.
  const auto accepted = tell("c", "add", "5", "m1", 0);
  REQUIRE(accepted);
  CHECK(accepted->pending);
  CHECK(says(reply("c", "add", "5", "m1"), R"("result":5)"));
  CHECK(says(reply("c", "add", "0", "m2"), R"("result":5)"));
}

TEST_CASE_METHOD(agent_fixture, "an agent lives longer than its journal") {
  constexpr int messages = 250;
  for (int i = 1; i <= messages; ++i) {
    const auto told = tell("a", "add", "1", "m" + std::to_string(i), i % 10 == 0 ? 10'000 : 0);
    REQUIRE(told);
    CHECK(told->pending == (i % 10 != 0));
  }
  CHECK(says(reply("a", "add", "0", "last"), R"("result":250)"));
  CHECK(says(shown("a"), R"("run":3)"));
  restart();
  CHECK(says(shown("a"), R"("state":250)"));
  // A message of the run before.
  CHECK(says(reply("a", "add", "1", "m199"), R"("duplicate":true,"result":199)"));
  CHECK(says(reply("a", "add", "1", "m249"), R"("duplicate":true,"result":249)"));
  CHECK(says(reply("a", "add", "1", "next"), R"("result":251)"));
}

TEST_CASE_METHOD(agent_fixture, "an agent gives up its history after as many messages as are set") {
  settings.workflows.agent_messages = 10;
  restart();
  for (int i = 1; i <= 25; ++i)
    REQUIRE(says(reply("a", "add", "1", "m" + std::to_string(i)), std::to_string(i)));
  CHECK(number("counter.a", "run") == 3);
  // What is recorded stays as it is, whatever the limit is now.
  for (const auto limit : {2U, 1000U}) {
    settings.workflows.agent_messages = limit;
    restart();
    CHECK(says(shown("a"), R"("status":"running")"));
    CHECK(says(shown("a"), R"("state":25)"));
    CHECK(number("counter.a", "run") == 3);
  }
  for (int i = 26; i <= 60; ++i)
    REQUIRE(says(reply("a", "add", "1", "m" + std::to_string(i)), std::to_string(i)));
  CHECK(number("counter.a", "run") == 3);
}

TEST_CASE_METHOD(agent_fixture, "an agent gives up a history of many bytes, too") {
  settings.workflows.agent_history_bytes = 200'000;
  restart();
  for (int i = 1; i <= 20; ++i) {
    REQUIRE(says(reply("a", "fill", "50000", "m" + std::to_string(i)), "xxx"));
    // Besides: the latest reply, and the message at which it is seen.
    CHECK(number("counter.a", "history_bytes") < 320'000);
  }
  const auto run = number("counter.a", "run");
  CHECK(run >= 4);
  CHECK(says(shown("a"), R"("state":20)"));
  CHECK(says(reply("a", "fill", "50000", "m20"), R"("duplicate":true)"));
  // What is recorded stays as it is, whatever the limit is now.
  REQUIRE(tell("a", "fill", "150000", "n1"));
  const auto bytes = number("counter.a", "history_bytes");
  for (const auto limit : {4096U, 1U << 30}) {
    settings.workflows.agent_history_bytes = limit;
    restart();
    CHECK(says(shown("a"), R"("status":"running")"));
    CHECK(number("counter.a", "history_bytes") == bytes);
    CHECK(says(shown("a"), R"("state":21)"));
  }
  const auto last = number("counter.a", "run");
  for (int i = 1; i <= 20; ++i)
    REQUIRE(tell("a", "fill", "50000", "o" + std::to_string(i)));
  CHECK(number("counter.a", "run") == last);
  CHECK(says(shown("a"), R"("state":41)"));
}

TEST_CASE_METHOD(agent_fixture, "a large state is not written again for each small message") {
  settings.workflows.agent_history_bytes = 4096;
  restart();
  REQUIRE(says(note("write", 100'000, "m0"), "100000"));
  // It is in its own right from the next run on.
  REQUIRE(says(note("read", 1, "m1"), "100000"));
  const auto run = number("diary.a", "run");
  for (int i = 2; i < 60; ++i)
    REQUIRE(says(note("read", 100, "m" + std::to_string(i)), "100000"));
  CHECK(number("diary.a", "run") == run);
  restart();
  CHECK(number("diary.a", "run") == run);
  for (int i = 60; i < 64; ++i)
    REQUIRE(says(note("read", 40'000, "m" + std::to_string(i)), "100000"));
  CHECK(number("diary.a", "run") == run + 1);
}

TEST_CASE_METHOD(agent_fixture, "an agent that is never here for long forgets what is old") {
  // No check falls into the time that it is in memory.
  settings.topics.retention_check_ms = 3'600'000;
  restart();
  constexpr int messages = 600;
  for (int i = 1; i <= messages; ++i)
    REQUIRE(tell("a", "add", "1", "m" + std::to_string(i), i % 50 == 0 ? 10'000 : 0));
  const auto first_seq = [&] {
    return std::get<topic_description>(ask(get_topic{topic("workflow.agent.counter.a")}).value())
        .first_seq;
  };
  CHECK(eventually([&] { return first_seq() > sequence{1}; }));
  restart();
  CHECK(says(reply("a", "add", "1", "next"), R"("result":601)"));
}

TEST_CASE_METHOD(agent_fixture, "an agent remembers what it answered however large that was") {
  for (int i = 1; i <= 100; ++i)
    REQUIRE(tell("a", "add", "1", "m" + std::to_string(i)));
  // More than it keeps in memory.
  for (int i = 1; i <= 10; ++i)
    REQUIRE(tell("a", "fill", "200000", "f" + std::to_string(i)));
  const auto check = [&] {
    CHECK(says(reply("a", "fill", "200000", "f1"), R"("duplicate":true,"result":"xxx)"));
    CHECK(says(reply("a", "fill", "200000", "f10"), R"("duplicate":true)"));
    CHECK(says(reply("a", "add", "1", "m100"), R"("duplicate":true,"result":100)"));
    CHECK(says(reply("a", "add", "1", "m37"), R"("duplicate":true,"result":37)"));
    CHECK(tell("a", "fill", "200000", "f2", 0)->pending);
    CHECK(says(shown("a"), R"("state":110)"));
  };
  check();
  restart();
  check();
}

namespace {

/// Message `n` to the counter `a`; gives what its reply is told under.
std::uint64_t tell_counter(
    virtual_broker& broker, const std::string& message, const std::string& payload, int n) {
  call_agent call;
  call.topic = virtual_broker::topic("workflow.agent.counter.a");
  call.type = "agent:counter";
  call.message = message;
  call.payload = payload;
  call.id = "m" + std::to_string(n);
  call.wait_ms = 60'000;
  return broker.ask(std::move(call));
}

}  // namespace

TEST_CASE("whoever waits gets a reply though much is replied at once as the run ends") {
  runtime::workflow_registry code;
  REQUIRE(code.add(counter::definition()));
  virtual_broker broker{{}, &code};
  // All behind the first, until what the agent does in one run is done.
  std::vector<std::uint64_t> asked{tell_counter(broker, "doze", "null", 0)};
  broker.settle();
  for (int n = 1; n < 100; ++n)
    asked.push_back(tell_counter(broker, "fill", "30000", n));
  broker.settle();
  CHECK(broker.got.answered.empty());
  broker.advance(2s);
  std::size_t replied = 0;
  for (const auto one : asked) {
    const auto found = broker.got.answered.find(one);
    if (found == broker.got.answered.end() || !found->second) continue;
    replied += std::get<workflow_answer>(*found->second).pending ? 0 : 1;
  }
  CHECK(replied == 100);
}

TEST_CASE("messages that are replied at once are written in batches that fit") {
  runtime::workflow_registry code;
  REQUIRE(code.add(counter::definition()));
  virtual_broker broker{{}, &code};
  constexpr int messages = 60;
  std::vector<std::uint64_t> asked{tell_counter(broker, "doze", "null", 0)};
  broker.settle();
  for (int n = 1; n <= messages; ++n)
    asked.push_back(tell_counter(broker, "fill", "1000000", n));
  broker.settle();
  // The last of them with the node: what it goes on as new for is on disk.
  const bool dies = GENERATE(false, true);
  broker.tick(1s);
  std::size_t largest = 0;
  for (int batches = 0; broker.journal.queued() != 0 || batches == 0; ++batches) {
    broker.run();
    largest = std::max(largest, broker.journal.queued_bytes());
    if (dies && batches == 3) {
      broker.crash();
      break;
    }
    broker.journal.commit(1);
    broker.run();
  }
  CHECK(largest < 20'000'000);
  broker.advance(2s);
  auto shown = broker.ask_now(get_workflow{virtual_broker::topic("workflow.agent.counter.a")});
  REQUIRE(shown);
  CHECK(says(std::get<workflow_answer>(*shown).body, R"("state":60)"));
  CHECK(says(std::get<workflow_answer>(*shown).body, R"("messages_waiting":0)"));
}

TEST_CASE("an agent whose class cannot be made keeps its messages") {
  runtime::workflow_registry code;
  REQUIRE(code.add(moody::definition()));
  virtual_broker broker{{}, &code};
  const auto channel = virtual_broker::topic("workflow.agent.moody.a");
  const auto tell = [&](int n) {
    call_agent call;
    call.topic = channel;
    call.type = "agent:moody";
    call.message = "add";
    call.payload = "1";
    call.id = "m" + std::to_string(n);
    call.wait_ms = 0;
    return broker.ask_now(std::move(call));
  };
  const auto shown = [&] {
    auto told = broker.ask_now(get_workflow{channel});
    return told ? std::get<workflow_answer>(*told).body : std::string{told.error().detail};
  };
  moody::is_out_of_order = true;
  REQUIRE(tell(0));
  CHECK(says(shown(), R"("status":"blocked")"));
  CHECK(says(shown(), "there is no such file"));
  moody::is_out_of_order = false;
  SECTION("until it is loaded again") {
    broker.advance(5s);
  }
  SECTION("until the node is started again") {
    broker.crash();
  }
  SECTION("also at the end of a run") {
    broker.advance(5s);
    for (int n = 1; n < 99; ++n)
      REQUIRE(tell(n));
    CHECK(says(shown(), R"("state":99)"));
    moody::is_out_of_order = true;
    REQUIRE(tell(99));
    CHECK(says(shown(), R"("status":"blocked")"));
    CHECK(says(shown(), R"("run":2)"));
    CHECK(says(shown(), R"("state":100)"));
    moody::is_out_of_order = false;
    REQUIRE(tell(100));
    CHECK(says(shown(), R"("messages_waiting":1)"));
    broker.crash();
    REQUIRE(tell(101));
    CHECK(says(shown(), R"("state":102)"));
    return;
  }
  REQUIRE(tell(1));
  CHECK(says(shown(), R"("status":"running")"));
  CHECK(says(shown(), R"("state":2)"));
  CHECK(says(shown(), R"("messages_waiting":0)"));
}

TEST_CASE_METHOD(agent_fixture, "messages that wait outlive the run that heard them") {
  constexpr int messages = 230;
  for (int i = 1; i <= messages; ++i) {
    const auto told = tell("a", "add", "1", "m" + std::to_string(i), 0);
    REQUIRE(told);
    REQUIRE(told->pending);
    // The node goes away with most of them unread, before and after a run has ended.
    if (i == messages / 2 || i == messages) restart();
  }
  // In the order in which they were heard: each reply counts those before it.
  for (int i = messages - 20; i <= messages; ++i) {
    const auto id = "m" + std::to_string(i);
    const auto told = reply("a", "add", "1", id);
    CHECK(says(told, R"("result":)" + std::to_string(i) + "}"));
  }
  CHECK(says(reply("a", "add", "0", "last"), R"("result":230)"));
}

TEST_CASE("a caller learns all that an agent fails with") {
  runtime::workflow_registry code;
  REQUIRE(code.add(busy::definition()));
  REQUIRE(code.add(patient::definition()));
  virtual_broker broker{{}, &code};
  const auto channel = virtual_broker::topic("workflow.w");
  REQUIRE(broker.ask_now(start_workflow{channel, "patient", "null", {}, {}}));
  broker.settle();
  const auto shown = [&] {
    const auto told = broker.ask_now(get_workflow{channel});
    return std::get<workflow_answer>(told.value()).body;
  };
  const auto why = R"({"class":"rate","code":"busy","message":"later","retry_after_ms":5000,)"
                   R"("details":{"queue":17}})";
  CHECK(says(shown(), why));
  broker.crash();
  CHECK(says(shown(), why));
}

}  // namespace callboard::testing
