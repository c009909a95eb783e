// Cancels that only the row of a run knows of, because its code was in a turn: when they are told,
// and what becomes of them when the run is begun anew or goes on as new.
#include "tests/actors/topic/mortal_broker.hpp"

#include <callboard/workflow.hpp>
#include <string>
#include <utility>

namespace callboard::testing {

namespace {

/// Goes on as new with the signal, so often at once as it says; ends with 0.
struct passing_workflow : workflow<passing_workflow> {
  static constexpr std::string_view type = "test.passing";

  flow<json> run(context& ctx, json left) {
    if (left == json(0)) {
      left = co_await ctx.signal("go").required();
      if (left == json(0)) co_return left;
    }
    co_return ctx.continue_as_new(json(left.as_int64() - 1));
  }
};

/// Takes a cancel for the end of its first wait.
struct deaf_workflow : workflow<deaf_workflow> {
  static constexpr std::string_view type = "test.deaf";

  flow<json> run(context& ctx, json left) {
    if (left == json(0)) co_return co_await ctx.signal("end").required();
    try {
      (void)co_await ctx.signal("go").required();
    } catch (const cancelled&) {  // It goes on.
    }
    co_return ctx.continue_as_new(json(0));
  }
};

class noting : public mortal_broker {
public:
  noting() {
    REQUIRE(code.add(passing_workflow::definition()));
    REQUIRE(code.add(deaf_workflow::definition()));
  }

  /// Code does not come to an end meanwhile, and nothing comes to the disk.
  void hang_for(std::chrono::milliseconds by) {
    for (std::chrono::milliseconds done{0}; done < by; done += 50ms) {
      broker.run_actors();
      broker.tick(50ms);
    }
    broker.run_actors();
  }

  /// What is asked while the code hangs.
  std::uint64_t ask_hanging(control_body body) {
    const auto asked = broker.ask(std::move(body));
    hang_for(3s);
    return asked;
  }

  std::string explained_hanging(const std::string& id) {
    const auto asked = ask_hanging(explain_workflow{channel(id)});
    REQUIRE(broker.got.answered.contains(asked));
    return std::get<workflow_answer>(broker.got.answered.at(asked).value()).body;
  }

  /// Its code works on the signal, and a cancel is on its way to the row.
  std::uint64_t cancel_behind(const std::string& id, const std::string& payload) {
    (void)ask_hanging(signal_workflow{channel(id), "go", payload, "k"});
    const auto asked = ask_hanging(cancel_workflow{channel(id), "enough", {}, "ada"});
    REQUIRE(broker.journal.queued() == 1);
    return asked;
  }

  void commit_hanging() {
    REQUIRE(broker.journal.commit() == 1);
    broker.run_actors();
  }

  bool is_cancelled(const std::string& id) {
    return comes([&] { return says(shown(id), R"("status":"cancelled")"); });
  }
};

}  // namespace

TEST_CASE("a cancel of code that hangs is told when it is on disk") {
  noting node;
  node.begin("w", "test.passing", "0");
  const auto asked = node.cancel_behind("w", "1");
  CHECK_FALSE(node.broker.got.answered.contains(asked));
  CHECK(node.explained_hanging("w").find("it is cancelled once") == std::string::npos);
  SECTION("which it is") {
    node.commit_hanging();
    REQUIRE(node.broker.got.answered.contains(asked));
    CHECK(node.broker.got.answered.at(asked));
    CHECK(says(node.explained_hanging("w"), "it is cancelled once this turn of its code ends"));
    CHECK(node.is_cancelled("w"));
  }
  SECTION("which it never is") {
    node.broker.journal.lose_queued();
    (void)node.broker.journal.commit();
    node.broker.run_actors();
    REQUIRE(node.broker.got.answered.contains(asked));
    CHECK_FALSE(node.broker.got.answered.at(asked));
  }
}

TEST_CASE("a run whose cancel only its row knows of is not begun anew") {
  noting node;
  node.begin("w", "test.passing", "0");
  (void)node.cancel_behind("w", "0");
  node.commit_hanging();
  auto kept = std::exchange(node.code, {});
  node.broker.crash();
  REQUIRE(node.row("w").cancel_asked);
  const auto restarted =
      node.ask(restart_workflow{node.channel("w"), {.reason = "again", .who = "ann"}});
  REQUIRE_FALSE(restarted);
  CHECK(restarted.error().code == errc::wrong_kind);
  CHECK(says(restarted.error().detail, "is being cancelled"));
  SECTION("with its code it is cancelled") {
    node.code = std::move(kept);
    node.broker.crash();
    CHECK(node.is_cancelled("w"));
  }
  SECTION("terminated it is") {
    (void)node.get<workflow_answer>(terminate_workflow{node.channel("w"), "enough", "ann"});
    REQUIRE(node.ask(restart_workflow{node.channel("w"), {.reason = "again", .who = "ann"}}));
    CHECK_FALSE(node.row("w").cancel_asked);
    node.code = std::move(kept);
    node.broker.crash();
    CHECK(says(node.shown("w"), R"("status":"running")"));
  }
}

TEST_CASE("a child whose cancel only its row knows of is begun for its parent's next run") {
  noting node;
  const auto begun_by = [&](std::uint32_t run) {
    return start_workflow{
        node.channel("w"), "test.passing", "0", {}, workflow_parent{node.channel("p"), run, 1, 7}};
  };
  REQUIRE(node.ask(begun_by(1)));
  (void)node.cancel_behind("w", "1");
  node.commit_hanging();
  const auto asked = node.ask_hanging(begun_by(2));
  REQUIRE(node.broker.got.answered.contains(asked));
  const auto& answer = node.broker.got.answered.at(asked);
  REQUIRE_FALSE(answer);
  CHECK(says(answer.error().detail, "is being cancelled"));
  // What ends as cancelled is the run that it went on as.
  CHECK(says(node.get<workflow_answer>(begun_by(2)).body, R"("status":"running")"));
  CHECK(node.row("w").run == 3);
  CHECK_FALSE(node.row("w").ended);
}

TEST_CASE("a noted cancel is heard once in a chain of runs") {
  const std::string length = GENERATE("1", "2", "3", "40");
  CAPTURE(length);
  noting node;
  node.begin("w", "test.passing", "0");
  (void)node.cancel_behind("w", length);
  node.commit_hanging();
  node.broker.settle();
  CHECK(node.is_cancelled("w"));
  CHECK_FALSE(node.row("w").cancel_asked);
}

TEST_CASE("a noted cancel is not one of the run that goes on from who heard it") {
  noting node;
  node.begin("w", "test.deaf", "1");
  const auto asked = node.ask_hanging(cancel_workflow{node.channel("w"), "enough", {}, "ada"});
  node.commit_hanging();
  CHECK(node.broker.got.answered.contains(asked));
  node.broker.settle();
  CHECK_FALSE(node.row("w").cancel_asked);
  const auto before = node.shown("w");
  node.broker.crash();
  CHECK(node.shown("w") == before);
}

}  // namespace callboard::testing
