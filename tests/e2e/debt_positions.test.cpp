// kill -9 at every position of the journal of a workflow that is cancelled while its child and its
// task are under way: whatever the position, neither is left behind, though nobody asks for the
// workflow again once it has ended.
#include "tests/e2e/broker.hpp"
#include "tests/e2e/kill_everywhere.hpp"
#include "tests/support/catch.hpp"

#include <string>

using namespace callboard::testing;

namespace {

/// One life of the workflow on a fresh data directory, killed at one position.
class killed_leaver : public killed_life {
public:
  explicit killed_leaver(const std::string& position) {
    begin(CALLBOARD_KILL_AT_JOURNAL, position);
    is_over_ = live([this] { return drive(); });
  }

  /// Neither the child nor the task is left.
  [[nodiscard]] bool is_over() const { return is_over_; }

private:
  /// As the views show it; nothing is woken by that.
  [[nodiscard]] bool has_ended(broker& node) {
    const auto list = said(node.get("/workflows?type=leaver"));
    if (list.status != 200) return false;
    const auto shown = list.json().at("workflows").as_array();
    return !shown.empty() && text_of(shown[0], "status") == "cancelled";
  }

  /// Does what is left to do, on a new node if the last one was killed; false if it is not done.
  bool drive() {
    if (!revive()) return false;
    try {
      auto node = client();
      if (!has_ended(node) && !is_cancelled(node)) return false;
      const auto child = said(node.get("/workflows/left"));
      if (child.status != 200 || text_of(child.json(), "status") != "cancelled") return false;
      const auto errands = said(node.get("/queues/errands"));
      return errands.status == 200 && number_of(errands.json(), "depth") == 0;
    } catch (const std::runtime_error& gone) {
      last_ = gone.what();
      return false;
    }
  }

  bool is_cancelled(broker& node) {
    const auto started = said(node.post("/workflows", R"({"type":"leaver","id":"l"})"));
    if (started.status != 200 && started.status != 201) return false;
    if (said(node.get("/workflows/left")).status != 200) return false;
    const auto errands = said(node.get("/queues/errands"));
    if (errands.status != 200 || number_of(errands.json(), "depth") != 1) return false;
    return said(node.post("/workflows/l/cancel", R"({"reason":"enough"})")).status == 200;
  }

  bool is_over_ = false;
};

void check(killed_leaver& run) {
  CHECK(run.is_over());
  int cancelled = 0;
  for (const auto& one : run.client().history("workflow.left"))
    cancelled += text_of(one.event, "type") == "workflow.cancelling" ? 1 : 0;
  CHECK(cancelled == 1);
}

}  // namespace

TEST_CASE(
    "a cancelled workflow leaves nothing behind, killed before every write", "[e2e][workflow]") {
  kill_everywhere<killed_leaver>("write:", check);
}

TEST_CASE(
    "a cancelled workflow leaves nothing behind, killed after every fsync", "[e2e][workflow]") {
  // Few: what is written meanwhile shares an fsync.
  kill_everywhere<killed_leaver>("sync:", check, 5);
}
