// kill -9 at every position of the journal of a workflow that is cancelled in the middle of its
// saga: whatever the position, all that it did is undone, in reverse order; each part of that is
// recorded once, and done twice only if it was under way at the kill. Nobody asks for the workflow
// again once its cancel was answered.
#include "tests/e2e/broker.hpp"
#include "tests/e2e/kill_everywhere.hpp"
#include "tests/e2e/what_was_done.hpp"
#include "tests/support/catch.hpp"

#include <cstdlib>
#include <string>
#include <vector>

using namespace callboard::testing;

namespace {

/// One life of the workflow on a fresh data directory, killed at one position.
class killed_saga : public killed_life {
public:
  explicit killed_saga(const std::string& position) {
    ::setenv("EVERY_COMMAND_LOG", log_file().c_str(), 1);
    begin(
        CALLBOARD_KILL_AT_JOURNAL,
        position,
        {"--set", "storage.shard_count=4", "--set", "storage.ballast_bytes=0"});
    is_over_ = live([this] { return drive(); });
  }

  /// The workflow and its child have ended, and its task is withdrawn.
  [[nodiscard]] bool is_over() const { return is_over_; }

private:
  /// Does what is left to do, on a new node if the last one was killed; false if it is not done.
  bool drive() {
    if (!revive()) return false;
    try {
      auto node = client();
      if (!has_ended(node)) {
        if (!is_cancelled_) is_cancelled_ = cancel(node);
        return false;
      }
      const auto child = said(node.get("/workflows/left"));
      if (child.status != 200 || text_of(child.json(), "status") != "cancelled") return false;
      const auto errands = said(node.get("/queues/errands"));
      return errands.status == 200 && number_of(errands.json(), "depth") == 0
             && number_of(errands.json(), "dead") == 0;
    } catch (const std::runtime_error& gone) {
      last_ = gone.what();
      return false;
    }
  }

  /// As the views show it; nothing is woken by that.
  [[nodiscard]] bool has_ended(broker& node) {
    const auto list = said(node.get("/workflows?type=undoer"));
    if (list.status != 200) return false;
    const auto shown = list.json().at("workflows").as_array();
    return !shown.empty() && text_of(shown[0], "status") == "cancelled";
  }

  /// Once its child and its task are under way.
  bool cancel(broker& node) {
    // What a run publishes counts once also where ids are not remembered.
    const auto made = said(node.put("/topics/undone", R"({"dedupe_window_s":0})"));
    if (made.status != 200 && made.status != 201) return false;
    const auto started = said(node.post("/workflows", R"({"type":"undoer","id":"u"})"));
    if (started.status != 200 && started.status != 201) return false;
    if (said(node.get("/workflows/left")).status != 200) return false;
    const auto errands = said(node.get("/queues/errands"));
    if (errands.status != 200 || number_of(errands.json(), "depth") != 1) return false;
    return said(node.post("/workflows/u/cancel", R"({"reason":"enough"})")).status == 200;
  }

  bool is_cancelled_ = false;
  bool is_over_ = false;
};

int count_of(const std::vector<stored_event>& channel, std::string_view type) {
  int count = 0;
  for (const auto& one : channel)
    count += text_of(one.event, "type") == type ? 1 : 0;
  return count;
}

/// Names of what the run began, in the order of the channel.
std::vector<std::string> begun(const std::vector<stored_event>& channel) {
  std::vector<std::string> names;
  for (const auto& one : channel) {
    if (text_of(one.event, "type") != "task.started") continue;
    names.push_back(text_of(one.event.at("data"), "name"));
  }
  return names;
}

void check_channel(const std::vector<stored_event>& channel) {
  check_recorded_once(channel);
  const std::vector<std::string> in_order{
      "first", "second", "patient", "errands", "undo second", "undo first", "give back", "undone"};
  CHECK(begun(channel) == in_order);
  // The child and the task.
  CHECK(count_of(channel, "command.cancelled") == 2);
  CHECK(count_of(channel, "task.completed") == 6);
  CHECK(count_of(channel, "task.failed") == 0);
  CHECK(count_of(channel, "workflow.cancelling") == 1);
  CHECK(count_of(channel, "workflow.cancelled") == 1);
  REQUIRE_FALSE(channel.empty());
  CHECK(text_of(channel.back().event, "type") == "workflow.cancelled");
}

void check(killed_saga& run) {
  REQUIRE(run.is_over());
  auto node = run.client();
  check_channel(node.history("workflow.u"));
  CHECK(count_of(node.history("workflow.left"), "workflow.cancelling") == 1);
  CHECK(node.history("undone").size() == 1);
  CHECK(run.effects().size() == 5);
  run.check_effects();
}

}  // namespace

TEST_CASE("a cancelled saga is undone, killed before every write", "[e2e][workflow]") {
  kill_everywhere<killed_saga>("write:", check, 12);
}

TEST_CASE("a cancelled saga is undone, killed after every fsync", "[e2e][workflow]") {
  // Few: what is written meanwhile shares an fsync.
  kill_everywhere<killed_saga>("sync:", check, 5);
}
