// Runs that go on as new ones again and again: however many they are and whatever they carry along,
// each write is bounded, others have their turns in between, and none is lost or done twice
// wherever the node is killed.
#include "tests/actors/topic/mortal_broker.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <callboard/workflow.hpp>
#include <string>

namespace callboard::testing {

namespace {

/// Of one test: turns of `ceaseless_workflow`, and steps of `stepping_workflow`.
int turns = 0;
int steps = 0;

constexpr int turns_max = 3000;

/// Goes on as new as often as it is told without waiting for anything, and then waits.
struct chain_workflow : workflow<chain_workflow> {
  static constexpr std::string_view type = "test.chain";

  flow<json> run(context& ctx, std::int64_t left) {
    if (left > 0) co_return ctx.continue_as_new(left - 1);
    co_return co_await ctx.signal("stop").required();
  }
};

/// Does so for ever. That it ends lets the test fail where nobody else has a turn.
struct ceaseless_workflow : workflow<ceaseless_workflow> {
  static constexpr std::string_view type = "test.ceaseless";

  flow<json> run(context& ctx, json) {
    if (++turns < turns_max) co_return ctx.continue_as_new(1);
    co_return json("out of turns");
  }
};

/// Waits for a child that does so.
struct ceaseless_parent : workflow<ceaseless_parent> {
  static constexpr std::string_view type = "test.ceaseless_parent";

  flow<json> run(context& ctx, json) {
    co_return co_await ctx.child("test.ceaseless", 1, {.id = "kid"}).required();
  }
};

/// Reads one note in each of its runs, of as many as it is told.
struct reading_workflow : workflow<reading_workflow> {
  static constexpr std::string_view type = "test.reading";

  flow<json> run(context& ctx, json input) {
    const auto left = input.as_array().at(0).as_int64();
    const auto sum = input.as_array().at(1).as_int64();
    if (left < 0) {
      co_await ctx.signal("on").required();
      co_return ctx.continue_as_new(boost::json::array{-left, sum});
    }
    if (left == 0) co_return sum;
    const auto note = co_await ctx.signal("note").required();
    co_return ctx.continue_as_new(boost::json::array{left - 1, sum + note.at("value").as_int64()});
  }
};

/// A step, and with its end too much at once, if the test says so.
struct stepping_workflow : workflow<stepping_workflow> {
  static constexpr std::string_view type = "test.stepping";

  flow<json> run(context& ctx, json input) {
    if (input.is_string()) co_return input;
    co_await ctx.step("count", [] { ++steps; }).required();
    co_await ctx.signal("go").required();
    co_return ctx.continue_as_new("new");
  }
};

class continued_runs : public mortal_broker {
public:
  explicit continued_runs(std::size_t life = SIZE_MAX) : mortal_broker{life} {
    turns = steps = 0;
    REQUIRE(code.add(chain_workflow::definition()));
    REQUIRE(code.add(ceaseless_workflow::definition()));
    REQUIRE(code.add(ceaseless_parent::definition()));
    REQUIRE(code.add(reading_workflow::definition()));
    REQUIRE(code.add(stepping_workflow::definition()));
    broker.journal.on_write = [this](const storage::record_draft& one) {
      records_written += 1;
      bytes_written += one.payload.size();
    };
  }

  /// One append after the other, at most so many.
  void write(int appends_max = 1000) {
    for (int i = 0; i < appends_max; ++i) {
      broker.run();
      records_written = bytes_written = 0;
      if (broker.journal.commit(1) == 0) return;
      ++appends;
      records_max = std::max(records_max, records_written);
      bytes_max = std::max(bytes_max, bytes_written);
    }
  }

  boost::json::object described(const std::string& id) {
    return boost::json::parse(shown(id)).as_object();
  }

  std::size_t records_written = 0;
  std::size_t bytes_written = 0;
  std::size_t appends = 0;
  std::size_t records_max = 0;
  std::size_t bytes_max = 0;
};

}  // namespace

TEST_CASE("runs that go on as new at once are written in parts", "[actors][workflow]") {
  continued_runs node;
  node.broker.ask(start_workflow{continued_runs::channel("w"), "test.chain", "200", {}, {}});
  node.write();
  CHECK(node.appends > 10);
  // Of each run its start and its end, and the row.
  CHECK(node.records_max < 40);
  CHECK(node.described("w").at("run") == 201);
  node.signal("w", "stop");
  CHECK(node.described("w").at("result") == 7);
}

TEST_CASE("a run that goes on as new for ever leaves others their turns", "[actors][workflow]") {
  continued_runs node;
  node.broker.ask(start_workflow{continued_runs::channel("w"), "test.ceaseless", "1", {}, {}});
  node.write(20);
  CHECK(turns < 20 * 20);
  const auto other =
      node.broker.ask(start_workflow{continued_runs::channel("other"), "test.chain", "0", {}, {}});
  node.write(20);
  CHECK(node.broker.got.answered.contains(other));
  const auto end =
      node.broker.ask(terminate_workflow{continued_runs::channel("w"), "it never waits", "ann"});
  node.write(20);
  REQUIRE(node.broker.got.answered.contains(end));
  CHECK(node.broker.got.answered.at(end));
  CHECK(turns < turns_max);
  CHECK(node.described("w").at("status") == "failed");
}

TEST_CASE("a run that goes on as new for ever is cancelled", "[actors][workflow]") {
  continued_runs node;
  node.broker.ask(start_workflow{continued_runs::channel("w"), "test.ceaseless", "1", {}, {}});
  node.write(20);
  const auto cancel =
      node.broker.ask(cancel_workflow{continued_runs::channel("w"), "enough", {}, "ann"});
  node.write(20);
  REQUIRE(node.broker.got.answered.contains(cancel));
  CHECK(node.broker.got.answered.at(cancel));
  CHECK(turns < turns_max);
  CHECK(node.described("w").at("status") == "cancelled");
  const auto run = node.described("w").at("run");
  node.broker.crash();
  CHECK(node.described("w").at("status") == "cancelled");
  CHECK(node.described("w").at("run") == run);
}

TEST_CASE("a cancel between two runs is not meant for a child begun anew", "[actors][workflow]") {
  continued_runs node;
  const auto parent = continued_runs::channel("p");
  node.broker.ask(start_workflow{parent, "test.ceaseless_parent", "1", {}, {}});
  node.write(20);
  node.broker.ask(cancel_workflow{continued_runs::channel("kid"), "enough", {}, "ann"});
  node.write(20);
  CHECK(node.described("kid").at("status") == "cancelled");
  CHECK(node.described("p").at("status") == "failed");
  turns = 0;
  node.broker.ask(restart_workflow{parent, {.from = "1", .reason = "again", .who = "ann"}});
  node.write(20);
  CHECK(turns > 1);
  CHECK(node.described("kid").at("status") != "cancelled");
}

TEST_CASE("what is unread is written again in parts, too", "[actors][workflow]") {
  continued_runs node;
  constexpr int notes = 60;
  node.broker.ask(start_workflow{continued_runs::channel("w"), "test.reading", "[-60,0]", {}, {}});
  node.write();
  const auto note = R"({"value":1,"filling":")" + std::string(100'000, 'x') + "\"}";
  for (int i = 0; i < notes; ++i) {
    node.broker.ask(signal_workflow{continued_runs::channel("w"), "note", note, {}});
    node.write();
  }
  node.appends = node.bytes_max = 0;
  node.broker.ask(signal_workflow{continued_runs::channel("w"), "on", "1", {}});
  node.write();
  CHECK(node.bytes_max < 8'000'000);
  CHECK(node.described("w").at("result") == notes);
}

TEST_CASE("runs that go on as new lose nothing wherever the node is killed", "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    continued_runs node{life};
    node.begin("w", "test.chain", "50");
    node.signal("w", "stop");
    // Whether anybody asks or not.
    CHECK(node.comes([&] { return node.row("w").ended.has_value(); }));
    was_killed = node.was_killed;
    const auto shown = node.described("w");
    CHECK(shown.at("run") == 51);
    CHECK(shown.at("result") == 7);
  }
}

TEST_CASE("the next run is taken up again though nobody asks for it", "[actors][workflow]") {
  continued_runs node;
  node.broker.ask(start_workflow{continued_runs::channel("w"), "test.chain", "50", {}, {}});
  node.write(1);
  REQUIRE(node.row("w").run > 1);
  REQUIRE(node.row("w").run < 51);
  node.broker.crash();
  node.pass(2s);
  CHECK(node.row("w").run == 51);
}

TEST_CASE("a transition that is never taken ends its run", "[actors][workflow]") {
  const error never{errc::too_large, "80000000 bytes in one append", 0};
  continued_runs node;
  node.begin("w", "test.stepping", "1");
  node.pass(1s);
  REQUIRE(steps == 1);
  const auto asked =
      node.broker.ask(signal_workflow{continued_runs::channel("w"), "go", "1", "key"});
  node.broker.journal.refuse_next(never);
  node.pass(1s);
  REQUIRE(node.broker.got.answered.contains(asked));
  CHECK(node.broker.got.answered.at(asked).error().code == errc::wrong_kind);
  CHECK(node.row("w").ended);
  CHECK(node.row("w").run == 1);
  const auto shown = node.described("w");
  CHECK(shown.at("status") == "failed");
  CHECK(shown.at("run") == 1);
  CHECK(shown.at("error").at("code") == "transition_too_large");
  CHECK(says(node.explained("w"), "80000000 bytes"));
  // It is over: nothing of it is done again.
  node.broker.crash();
  node.pass(30s);
  CHECK(steps == 1);
  CHECK(node.described("w").at("status") == "failed");
}

}  // namespace callboard::testing
