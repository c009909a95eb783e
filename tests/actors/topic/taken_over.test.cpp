// What a restart or a fork takes over beside the copy of the record: signals that came behind the
// command, whatever read them; and that no cancel is lost by it, wherever the node is killed.
#include "tests/actors/topic/mortal_broker.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <callboard/workflow.hpp>
#include <string>

namespace callboard::testing {

namespace {

struct approval_workflow : workflow<approval_workflow> {
  static constexpr std::string_view type = "test.approval";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("before", [] {}).required();
    boost::json::array heard;
    heard.push_back(co_await ctx.signal("approve").required());
    co_await ctx.step("charge", [] {}).required();
    heard.push_back(co_await ctx.signal("ship").required());
    heard.push_back(co_await ctx.signal("note").required());
    heard.push_back(co_await ctx.signal("note").required());
    co_return heard;
  }
};

/// Has something to do for as long as `undone` has not come, once it is cancelled.
struct undoing_workflow : workflow<undoing_workflow> {
  static constexpr std::string_view type = "test.undoing";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("before", [] {}).required();
    bool is_cancelled = false;
    try {
      co_await ctx.signal("go").required();
    } catch (const cancelled&) {
      is_cancelled = true;
    }
    if (is_cancelled) {
      co_await ctx.shielded([](context& inner) -> flow<void> {
        co_await inner.step("undo", [] {}).required();
        co_await inner.signal("undone").required();
      });
      throw cancelled{};
    }
    co_return 1;
  }
};

class taken_over : public mortal_broker {
public:
  taken_over() {
    REQUIRE(code.add(approval_workflow::definition()));
    REQUIRE(code.add(undoing_workflow::definition()));
  }

  /// Whether it was known already; nothing if it was refused.
  std::optional<bool>
  tell(const std::string& id, const std::string& name, int payload, const std::string& key) {
    auto answer = ask(signal_workflow{channel(id), name, std::to_string(payload), key});
    if (!answer) return std::nullopt;
    return says(std::get<workflow_answer>(*answer).body, "true");
  }

  result<control_answer> restart(const std::string& id, rerun_order order) {
    order.who = "ann";
    return ask(restart_workflow{channel(id), std::move(order)});
  }

  /// The name of the command that it waits in.
  bool waits_in(const std::string& id, std::string_view name) {
    return comes([&] {
      const auto seen = boost::json::parse(shown(id)).as_object();
      const auto* steps = seen.if_contains("steps");
      if (steps == nullptr || steps->as_array().empty()) return false;
      const auto& last = steps->as_array().back();
      return last.at("name").as_string() == name && last.at("status") == "running";
    });
  }

  /// Up to where it waits for `ship`; one note is not read.
  void begin_approved(const std::string& id) {
    begin(id, "test.approval");
    CHECK(tell(id, "approve", 1, "a") == false);
    CHECK(tell(id, "note", 2, "n") == false);
    REQUIRE(waits_in(id, "ship"));
  }

  bool ends_with(const std::string& id, const std::string& result) {
    return comes([&] { return says(shown(id), "\"result\":" + result); });
  }
};

}  // namespace

TEST_CASE("a restart takes over what was signalled behind it, wherever the node is killed") {
  const auto from = GENERATE("before", "approve", "charge", "ship");
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO(from << ", killed after " << life);
    taken_over node;
    node.begin_approved("w");
    node.left = life;
    REQUIRE(node.restart("w", {.from = from}));
    REQUIRE(node.waits_in("w", "ship"));
    // Those that are told again count once.
    CHECK(node.tell("w", "approve", 1, "a") == true);
    CHECK(node.tell("w", "note", 2, "n") == true);
    CHECK_FALSE(node.tell("w", "note", 3, "n"));
    CHECK(node.tell("w", "note", 4, "m") == false);
    CHECK(node.tell("w", "ship", 3, "s") == false);
    CHECK(node.ends_with("w", "[1,3,2,4]"));
    // Also of a run that has ended, and of one that was begun so before.
    node.left = SIZE_MAX;
    REQUIRE(node.restart("w", {.from = from}));
    CHECK(node.ends_with("w", "[1,3,2,4]"));
    node.broker.crash();
    CHECK(node.ends_with("w", "[1,3,2,4]"));
    was_killed = node.was_killed;
  }
}

TEST_CASE("a restart may leave out what was signalled behind it") {
  taken_over node;
  node.begin_approved("w");
  REQUIRE(node.restart("w", {.from = "approve", .without_signals = true}));
  REQUIRE(node.waits_in("w", "approve"));
  if (GENERATE(false, true)) node.broker.crash();
  CHECK(node.tell("w", "approve", 5, "a") == false);
  REQUIRE(node.waits_in("w", "ship"));
  CHECK(node.tell("w", "ship", 3, "s") == false);
  REQUIRE(node.waits_in("w", "note"));
}

TEST_CASE("a fork takes over what was signalled behind it, and no later signal") {
  taken_over node;
  node.begin_approved("w");
  const auto fork = [&](const std::string& id, bool without) {
    return node.ask(fork_workflow{
        node.channel("w"),
        node.channel(id),
        {.from = "approve", .who = "ann", .without_signals = without}});
  };
  REQUIRE(fork("f", false));
  REQUIRE(fork("g", true));
  // Asked again it is another.
  CHECK(fork("f", true).error().code == errc::workflow_exists);
  REQUIRE(fork("f", false));
  CHECK(node.waits_in("f", "ship"));
  CHECK(node.waits_in("g", "approve"));
  CHECK(node.tell("w", "note", 4, "m") == false);
  CHECK(node.tell("f", "note", 2, "n") == true);
  CHECK(node.tell("f", "note", 7, "m") == false);
  CHECK(node.tell("f", "ship", 3, "s") == false);
  CHECK(node.ends_with("f", "[1,3,2,7]"));
  CHECK(node.waits_in("w", "ship"));
}

TEST_CASE("signals behind a restart are bounded together with those that are unread") {
  taken_over node;
  node.broker.settings.workflows.unread_bytes_max = 3000;
  node.broker.crash();
  node.begin_approved("w");
  const auto refused = node.tell("w", "ship", 3, "s");
  CHECK(refused == false);
  REQUIRE(node.waits_in("w", "note"));
  for (const auto key : {"1", "2", "3"})
    CHECK(node.tell("w", "other", 1, key) == false);
  const auto answer = node.restart("w", {.from = "before"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::too_large);
  CHECK(says(answer.error().detail, "behind command 1 are more than 3000 bytes"));
  CHECK(node.waits_in("w", "note"));
  REQUIRE(node.restart("w", {.from = "before", .without_signals = true}));
  CHECK(node.waits_in("w", "approve"));
}

TEST_CASE("a restart loses no cancel, wherever the node is killed") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life);
    taken_over node;
    node.begin("w", "test.undoing");
    REQUIRE(node.waits_in("w", "go"));
    node.left = life;
    (void)node.get<workflow_answer>(cancel_workflow{node.channel("w"), "enough"});
    const auto refused = node.restart("w", {.from = "go"});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::wrong_kind);
    CHECK(says(refused.error().detail, "is being cancelled"));
    REQUIRE(node.waits_in("w", "undone"));
    // From a command that it has come to by the cancel.
    REQUIRE(node.restart("w", {.from = "undo"}));
    REQUIRE(node.waits_in("w", "undone"));
    CHECK(node.tell("w", "undone", 1, "u") == false);
    CHECK(node.comes([&] { return says(node.shown("w"), R"("status":"cancelled")"); }));
    // Who wants it to go on all the same says so.
    REQUIRE(node.restart("w", {.from = "go"}));
    REQUIRE(node.waits_in("w", "go"));
    CHECK(node.tell("w", "go", 1, "g") == false);
    CHECK(node.ends_with("w", "1"));
    was_killed = node.was_killed;
  }
}

TEST_CASE("a run that is being cancelled is restarted once it is terminated") {
  taken_over node;
  node.begin("w", "test.undoing");
  REQUIRE(node.waits_in("w", "go"));
  (void)node.get<workflow_answer>(cancel_workflow{node.channel("w"), "enough"});
  REQUIRE(node.waits_in("w", "undone"));
  CHECK(node.restart("w", {.from = "before"}).error().code == errc::wrong_kind);
  // A fork is another workflow, which nobody has cancelled.
  REQUIRE(node.ask(fork_workflow{node.channel("w"), node.channel("f"), {.from = "go"}}));
  CHECK(node.waits_in("f", "go"));
  (void)node.get<workflow_answer>(terminate_workflow{node.channel("w"), "stands still", "ann"});
  REQUIRE(node.restart("w", {.from = "before"}));
  CHECK(node.waits_in("w", "go"));
}

}  // namespace callboard::testing
