// A run that does one step after another does not write its row with each; what is shown of it, and
// what is done again after a kill, is the same as if it did.
#include "tests/actors/topic/mortal_broker.hpp"

#include <boost/json/parse.hpp>

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace callboard::testing {

namespace {

constexpr std::size_t quick_steps = 10;

std::array<int, quick_steps> done{};
std::optional<step_promise<int>> held;

struct busy_workflow : workflow<busy_workflow> {
  static constexpr std::string_view type = "test.busy";

  flow<json> run(context& ctx, json) {
    for (std::size_t i = 0; i < quick_steps; ++i)
      (void)co_await ctx.step("count", [i] { return ++done[i]; }).required();
    co_return co_await ctx
        .async_step<int>(
            "elsewhere",
            [](const step_attempt&, step_promise<int> promise) { held = std::move(promise); })
        .required();
  }
};

struct busy_node : mortal_broker {
  explicit busy_node(std::size_t life = SIZE_MAX) : mortal_broker{life} {
    done.fill(0);
    held.reset();
    on_death = [this] {
      held.reset();
      done_before = done;
      recorded = steps_recorded();
    };
    if (!code.add(busy_workflow::definition())) FAIL("cannot add the workflow");
    broker.journal.on_write = [this](const storage::record_draft& draft) {
      if (draft.kind == storage::record_kind::workflow_progress) ++rows_written;
    };
  }

  /// What is listed of the only workflow.
  boost::json::object listed() {
    const auto page = get<workflow_answer>(list_workflows{channel("w").tenant, {}, {}, {}, 10});
    return boost::json::parse(page.body).at("workflows").at(0).as_object();
  }

  [[nodiscard]] std::uint64_t bytes_shown() {
    return boost::json::parse(shown("w")).at("history_bytes").to_number<std::uint64_t>();
  }

  /// Of the run's events, as they are on disk.
  [[nodiscard]] std::uint64_t bytes_stored() {
    auto reader = broker.journal.read(broker.shard_of("workflow.w"));
    std::uint64_t bytes = 0;
    const auto is_read = visit_history(
        **reader, row("w").entity, row("w").first_seq, 1, [&](const auto&, const auto& record) {
          bytes += record.payload.size();
          return true;
        });
    REQUIRE(is_read);
    return bytes;
  }

  /// Steps whose end is on disk.
  [[nodiscard]] std::array<bool, quick_steps> steps_recorded() {
    std::array<bool, quick_steps> found{};
    const auto begun = row("w");
    if (begun.entity == entity_id{}) return found;
    auto reader = broker.journal.read(broker.shard_of("workflow.w"));
    const auto is_read = visit_history(
        **reader, begun.entity, begun.first_seq, 1, [&](const auto& event, const auto&) {
          const auto is_step = event.command != 0 && event.command <= quick_steps;
          if (is_step && runtime::ends_command(event.kind)) found[event.command - 1] = true;
          return true;
        });
    REQUIRE(is_read);
    return found;
  }

  int rows_written = 0;
  /// When the node died.
  std::array<int, quick_steps> done_before{};
  std::array<bool, quick_steps> recorded{};
};

}  // namespace

TEST_CASE("a run writes its row when it begins, works for longer, and ends", "[actors][workflow]") {
  busy_node node;
  node.begin("w", "test.busy");
  REQUIRE(node.comes([&] { return held.has_value(); }));
  CHECK(node.rows_written < 3);
  // How much it has done is known at once.
  const auto now = boost::json::parse(node.shown("w")).as_object();
  CHECK(now.at("commands") == quick_steps + 1);
  CHECK(node.listed().at("history_size") == now.at("history_size"));
  // What is still under way then is in the row a little later.
  node.pass(3s);
  CHECK(node.row("w").commands == quick_steps + 1);
  CHECK(node.listed().at("commands") == quick_steps + 1);
  CHECK(node.bytes_shown() == node.bytes_stored());
  CHECK(node.listed().at("history_bytes") == node.bytes_stored());
  const auto before = node.rows_written;
  node.pass(10s);
  CHECK(node.rows_written == before);
  held->complete(7);
  REQUIRE(node.comes([&] { return node.row("w").ended.has_value(); }));
  CHECK(node.rows_written == before + 1);
}

TEST_CASE("a run whose row is behind goes on after a kill", "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 60);
    busy_node node{life};
    node.begin("w", "test.busy");
    REQUIRE(node.comes([&] { return held.has_value(); }));
    for (std::size_t i = 0; i < quick_steps; ++i) {
      INFO("step " << i);
      // Again only that which was done and whose end was not on disk.
      const auto is_lost = node.done_before[i] > 0 && !node.recorded[i];
      CHECK(done[i] == (is_lost ? 2 : 1));
    }
    CHECK(says(node.shown("w"), R"("commands":11)"));
    // Counted as they were written, or read again.
    CHECK(node.bytes_shown() == node.bytes_stored());
    const auto bytes = node.bytes_shown();
    node.on_death();
    node.broker.crash();
    CHECK(node.bytes_shown() == bytes);
    REQUIRE(node.comes([&] {
      if (auto promise = std::exchange(held, {})) promise->complete(7);
      return node.row("w").ended.has_value();
    }));
    was_killed = node.was_killed;
    CHECK(node.row("w").result == "7");
    CHECK(node.row("w").commands == quick_steps + 1);
    CHECK(node.row("w").history_bytes == node.bytes_stored());
  }
}

}  // namespace callboard::testing
