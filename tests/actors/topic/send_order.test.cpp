// What a run sends to one topic or one queue gets there in the order of its commands, whatever is
// refused on the way and wherever the node is killed; nothing else waits for it.
#include "actors/queue_routing.hpp"
#include "base/rfc3339.hpp"

#include "tests/actors/topic/mortal_broker.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <callboard/workflow.hpp>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::testing {

namespace {

constexpr int branches = 9;
constexpr int rounds = 3;

/// Sends the numbers from 0 on, in the order of its commands: to the topic `out`, its mirror, and
/// the queue `llm`.
struct sender_workflow : workflow<sender_workflow> {
  static constexpr std::string_view type = "test.sender";

  flow<json> run(context& ctx, std::uint64_t seed) {
    std::mt19937_64 draw{seed};
    int next = 0;
    std::vector<flow<json>> parts;
    for (int i = 0; i < branches; ++i)
      parts.push_back(branch(ctx, draw(), i % 3, next));
    co_await all(std::move(parts));
    co_return next;
  }

  static flow<json> branch(context& ctx, std::uint64_t seed, int kind, int& next) {
    std::mt19937_64 draw{seed};
    for (int i = 0; i < rounds; ++i) {
      if (draw() % 2 == 0) {
        co_await ctx.sleep(std::chrono::milliseconds{draw() % 300}).required();
      }
      const json said = boost::json::object{{"n", next++}};
      if (kind == 0) {
        co_await ctx.publish("out", said).required();
      } else if (kind == 1) {
        co_await ctx.update(said).required();
      } else {
        co_await any(ctx.task("llm", said), ctx.sleep(3s));
      }
    }
    co_return nullptr;
  }
};

/// To `out`, `out` and `other`, all at once. What became of each: a seq or a code.
struct trio_workflow : workflow<trio_workflow> {
  static constexpr std::string_view type = "test.trio";

  flow<json> run(context& ctx, json) {
    const auto said = [](int n) { return json(boost::json::object{{"n", n}}); };
    const auto [first, second, other] = co_await all(
        ctx.publish("out", said(0)), ctx.publish("out", said(1)), ctx.publish("other", said(2)));
    const auto told = [](const auto& one) { return one ? json(*one) : json(one.error().code); };
    co_return boost::json::array{told(first), told(second), told(other)};
  }
};

/// Three tasks for one queue at once, the second in a hurry. What became of each: a result or a
/// code.
struct hurried_workflow : workflow<hurried_workflow> {
  static constexpr std::string_view type = "test.hurried";

  flow<json> run(context& ctx, json) {
    const auto said = [](int n) { return json(boost::json::object{{"n", n}}); };
    const auto [first, hurried, last] = co_await all(
        ctx.task("llm", said(0)),
        ctx.task("llm", said(1), {.timeout = 1s}),
        ctx.task("llm", said(2)));
    const auto told = [](const auto& one) { return one ? json(*one) : json(one.error().code); };
    co_return boost::json::array{told(first), told(hurried), told(last)};
  }
};

/// The number that a record of a topic or queue carries; of the run's own channel none does.
std::optional<int> number_in(std::string_view payload) {
  constexpr std::string_view mark = "\"n\":";
  const auto at = payload.find(mark);
  if (at == std::string_view::npos || payload.contains("command")) return std::nullopt;
  return std::atoi(std::string{payload.substr(at + mark.size(), 4)}.c_str());
}

struct sending_node : mortal_broker {
  explicit sending_node(std::size_t life = SIZE_MAX) : mortal_broker{life} {
    if (!code.add(sender_workflow::definition()) || !code.add(trio_workflow::definition())
        || !code.add(hurried_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
    (void)get<queue_description>(put_queue{.queue = queue()});
  }

  /// Each commit may be followed by something that is refused: of a topic, the queue or the run.
  void live_under_load(std::mt19937_64& draw) {
    while (true) {
      broker.run();
      if (broker.journal.queued() == 0) return;
      if (left == 0) {
        die();
        continue;
      }
      --left;
      if (draw() % 2 == 0) refuse_next(errc::overloaded, 1 + draw() % 2);
      broker.journal.commit(1);
    }
  }

  void refuse_next(errc code, std::size_t count = 1) {
    broker.journal.refuse_next(error{code, "on purpose", 0}, count);
  }

  [[nodiscard]] shard_id shard_of_tasks() const {
    return shard_of_queue(get_queue{queue()}, broker.journal.shard_count()).value();
  }

  /// The id of a workflow that goes on whatever becomes of the queue's shard.
  [[nodiscard]] std::string id_elsewhere() const {
    std::string id = "w";
    while (broker.shard_of("workflow." + id) == shard_of_tasks())
      id += 'w';
    return id;
  }

  /// By topic or queue, in the order in which they came in.
  [[nodiscard]] std::vector<std::vector<int>> sent() const {
    std::map<std::pair<std::uint32_t, entity_id>, std::vector<int>> all;
    for (std::uint32_t shard = 0; shard < broker.journal.shard_count(); ++shard) {
      for (const auto& one : broker.journal.records(shard_id{shard})) {
        const bool is_sent = one.kind == storage::record_kind::event
                             || one.kind == storage::record_kind::task_enqueued;
        const auto number = is_sent ? number_in(one.payload.view()) : std::nullopt;
        if (number) all[{shard, one.entity}].push_back(*number);
      }
    }
    std::vector<std::vector<int>> listed;
    for (auto& [target, numbers] : all)
      listed.push_back(std::move(numbers));
    std::ranges::sort(listed);
    return listed;
  }
};

}  // namespace

TEST_CASE("what a run sends to one target gets there in order", "[actors][workflow]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const auto first = given != nullptr ? std::strtoull(given, nullptr, 10)
                                      : static_cast<std::uint64_t>(std::random_device{}());
  for (auto seed = first; seed < first + 20; ++seed) {
    std::mt19937_64 draw{seed};
    const auto life = draw() % 3 == 0 ? SIZE_MAX : 10 + draw() % 60;
    INFO("CALLBOARD_SEED=" << seed << ", killed after " << life << " commits");
    sending_node node{life};
    start_workflow start{node.channel("w"), "test.sender", std::to_string(seed), {}, {}};
    start.mirror = "watch";
    (void)node.get<workflow_answer>(start);
    for (int ticks = 0; ticks < 1000 && !node.row("w").ended; ++ticks) {
      node.live_under_load(draw);
      node.broker.tick(50ms);
    }
    REQUIRE(node.row("w").ended);
    CHECK(node.row("w").result == std::to_string(branches * rounds));
    const auto sent = node.sent();
    CHECK(sent.size() == 3);
    std::size_t count = 0;
    for (const auto& numbers : sent) {
      CAPTURE(numbers);
      CHECK(std::ranges::is_sorted(numbers));
      CHECK(std::ranges::adjacent_find(numbers) == numbers.end());
      count += numbers.size();
    }
    // Tasks that nobody took in time may have been left before they were sent.
    CHECK(count >= 2 * branches * rounds / 3);
  }
}

TEST_CASE("only what is for the same target waits for what is refused", "[actors][workflow]") {
  using numbers = std::vector<std::vector<int>>;
  sending_node node;
  auto& broker = node.broker;
  // They are in memory then, and only append what they are sent.
  for (const auto* name : {"out", "other"})
    broker.publish(name, {"first"});
  broker.settle();
  broker.ask(start_workflow{node.channel("w"), "test.trio", "null", {}, {}});
  broker.run();
  REQUIRE(broker.journal.queued() == 1);
  const bool is_final = GENERATE(false, true);
  node.refuse_next(is_final ? errc::too_large : errc::overloaded);
  broker.settle();
  // Also for what is refused for good, until that is on disk.
  CHECK(node.sent() == numbers{{2}});
  if (!is_final && GENERATE(false, true)) node.die();
  node.pass(1s);
  CHECK(node.sent() == (is_final ? numbers{{1}, {2}} : numbers{{0, 1}, {2}}));
  CHECK(node.row("w").result == (is_final ? R"(["too_large",2,2])" : "[2,3,2]"));
}

TEST_CASE("a run says what waits for its turn, and behind what", "[actors][workflow]") {
  sending_node node;
  const auto id = node.id_elsewhere();
  node.broker.journal.refuse_appends(
      node.shard_of_tasks(), error{errc::overloaded, "on purpose", 0});
  node.begin(id, "test.hurried");
  node.pass(500ms);
  // Where it is asked for again, too.
  if (GENERATE(false, true)) node.die();
  const auto told = boost::json::parse(node.explained(id)).as_object();
  CAPTURE(told);
  const auto& waits = told.at("waiting_for").as_array();
  REQUIRE(waits.size() == 3);
  CHECK_FALSE(waits.at(0).as_object().contains("turn"));
  for (const std::size_t behind : {1U, 2U}) {
    const auto& one = waits.at(behind).as_object();
    CHECK(one.at("turn") == json(boost::json::object{{"behind", behind}, {"command", 1}}));
    CHECK_FALSE(one.contains("task"));
    const time_ms since{std::chrono::milliseconds{one.at("since_ms").as_int64()}};
    const std::string sends = behind == 1 ? "1 earlier send" : "2 earlier sends";
    const std::string detail{one.at("detail").as_string()};
    CHECK(
        detail
        == "since " + format_time(since) + " it waits for its turn to be sent, behind " + sends
               + " to the same queue, of which command 1 is the first");
    CHECK(says(std::string{told.at("summary").as_string()}, detail));
  }
  // Those that are there are looked at.
  node.broker.journal.refuse_appends(node.shard_of_tasks(), std::nullopt);
  node.pass(300ms);
  const auto sent = node.explained(id);
  CHECK_FALSE(says(sent, "turn"));
  CHECK(says(sent, "no worker has it"));
}

TEST_CASE("a run says of its events what waits for its turn", "[actors][workflow]") {
  sending_node node;
  node.begin("w", "test.trio");
  node.pass(300ms);
  CHECK_FALSE(says(node.explained("w"), "turn"));
  node.broker.ask(start_workflow{node.channel("w2"), "test.trio", "null", {}, {}});
  node.broker.run();
  node.refuse_next(errc::overloaded, 1'000'000);
  node.broker.settle();
  const auto told = boost::json::parse(node.explained("w2")).as_object();
  CAPTURE(told);
  const auto& waits = told.at("waiting_for").as_array();
  REQUIRE(waits.size() == 3);
  CHECK_FALSE(waits.at(0).as_object().contains("turn"));
  CHECK(waits.at(1).at("turn") == json(boost::json::object{{"behind", 1}, {"command", 1}}));
  CHECK(says(
      std::string{waits.at(1).at("detail").as_string()}, "to the same topic, of which command 1"));
  CHECK_FALSE(waits.at(2).as_object().contains("turn"));
  node.refuse_next(errc::overloaded, 0);
}

TEST_CASE("a task whose time is up while it waits for its turn is never sent", "[actors]") {
  sending_node node;
  const auto id = node.id_elsewhere();
  const auto tasks = node.shard_of_tasks();
  const bool is_killed = GENERATE(false, true);
  node.broker.journal.refuse_appends(tasks, error{errc::overloaded, "on purpose", 0});
  node.begin(id, "test.hurried");
  node.pass(900ms);
  CHECK_FALSE(says(node.shown(id), "\"timeout\""));
  if (is_killed) node.die();
  node.pass(300ms);
  CHECK(says(node.shown(id), "no result from queue 'llm' in time"));
  CHECK(node.sent().empty());
  node.broker.journal.refuse_appends(tasks, std::nullopt);
  node.pass(1s);
  CHECK(node.sent() == std::vector<std::vector<int>>{{0, 2}});
  node.complete_task();
  node.complete_task();
  REQUIRE(node.comes([&] { return node.row(id).ended.has_value(); }));
  CHECK(node.row(id).result == R"([5,"timeout",5])");
  CHECK(node.open_tasks() == 0);
}

}  // namespace callboard::testing
