// kill -9 at every position of the journal of a workflow that is begun anew from a step while its
// child is under way, and then goes on as new. Whatever the position, a restart that was answered
// has begun one run, what is before the step is not done again, the children of runs that were left
// are cancelled, and a signal that was not read is handed on to the run that goes on as new.
#include "tests/e2e/broker.hpp"
#include "tests/e2e/kill_everywhere.hpp"
#include "tests/e2e/what_was_done.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/unmarked.hpp"

#include <cstdlib>
#include <set>
#include <string>
#include <vector>

using namespace callboard::testing;

namespace {

/// One life of the workflow on a fresh data directory, killed at one position.
class killed_repair : public killed_life {
public:
  explicit killed_repair(const std::string& position) {
    ::setenv("EVERY_COMMAND_LOG", log_file().c_str(), 1);
    begin(
        CALLBOARD_KILL_AT_JOURNAL,
        position,
        {"--set", "storage.shard_count=4", "--set", "storage.ballast_bytes=0"});
    is_over_ = live([this] { return drive(); });
  }

  /// The last run has ended, and so have all children.
  [[nodiscard]] bool is_over() const { return is_over_; }

  [[nodiscard]] const json::value& result() const { return result_; }

private:
  /// Does what is left to do, on a new node if the last one was killed; false if it is not done.
  bool drive() {
    if (!revive()) return false;
    try {
      auto node = client();
      const auto shown = said(node.get("/workflows/r"));
      if (shown.status == 404) begin_run(node);
      if (shown.status != 200) return false;
      const auto run = number_of(shown.json(), "run");
      const auto children = statuses_of_children(node);
      if (run == 1 && !is_restarted_ && children.size() == 1) {
        const auto answer =
            said(node.post("/workflows/r/restart", R"({"from":"middle","reason":"again"})"));
        is_restarted_ = answer.status == 200;
      }
      if (run == 2 && children.size() == 2) {
        if (!is_late_told_) is_late_told_ = tell(node, "late", "4");
        if (is_late_told_ && !is_gone_on_) is_gone_on_ = tell(node, "go", "1");
      }
      if (run != 3) return false;
      const auto ended = said(node.get("/workflows/r/result?wait_ms=20"));
      if (ended.status != 200) return false;
      result_ = ended.json();
      return children == std::vector<std::string>(2, "cancelled");
    } catch (const std::runtime_error& gone) {
      last_ = gone.what();
      return false;
    }
  }

  void begin_run(broker& node) {
    // What a run publishes counts once also where ids are not remembered.
    const auto made = said(node.put("/topics/redone", R"({"dedupe_window_s":0})"));
    if (made.status != 200 && made.status != 201) return;
    (void)said(node.post("/workflows", R"({"type":"redone","id":"r"})"));
  }

  bool tell(broker& node, const std::string& name, const std::string& payload) {
    const auto path = node.path("/workflows/r/signals/" + name);
    return said(node.http().post(path, payload, {{"Idempotency-Key", name}})).status == 200;
  }

  std::vector<std::string> statuses_of_children(broker& node) {
    std::vector<std::string> found;
    const auto list = said(node.get("/workflows?type=patient"));
    if (list.status != 200) return found;
    for (const auto& one : list.json().at("workflows").as_array())
      found.push_back(text_of(one, "status"));
    return found;
  }

  bool is_late_told_ = false;
  bool is_restarted_ = false;
  bool is_gone_on_ = false;
  bool is_over_ = false;
  json::value result_;
};

/// Runs of the events of this type, in the order of the channel.
std::vector<std::uint64_t>
runs_of(const std::vector<stored_event>& channel, std::string_view type) {
  std::vector<std::uint64_t> runs;
  for (const auto& one : channel) {
    if (text_of(one.event, "type") == type) runs.push_back(number_of(one.event, "run"));
  }
  return runs;
}

void check_channel(const std::vector<stored_event>& channel) {
  using runs = std::vector<std::uint64_t>;
  check_recorded_once(channel);
  CHECK(runs_of(channel, "workflow.started") == runs{1, 2, 3});
  CHECK(runs_of(channel, "workflow.restarted") == runs{2});
  CHECK(runs_of(channel, "workflow.failed") == runs{1});
  CHECK(runs_of(channel, "workflow.continued") == runs{2});
  CHECK(runs_of(channel, "workflow.completed") == runs{3});
}

void check(killed_repair& run) {
  REQUIRE(run.is_over());
  CHECK(text_of(run.result(), "status") == "completed");
  const auto expected = R"({"before":1,"middle":2,"went":1,"late":4,"last":3})";
  CHECK(run.result().at("result") == json::parse(expected));
  auto node = run.client();
  check_channel(node.history("workflow.r"));
  // Each run its own.
  CHECK(node.history("redone").size() == 2);
  std::set<std::string> done;
  for (const auto& [one, count] : run.effects())
    done.insert(one.what + ' ' + unmarked(one.key));
  const std::set<std::string> expected_done{
      "before r.1.1", "middle r.1.2", "middle r.2.2", "last r.3.2"};
  CHECK(done == expected_done);
  run.check_effects();
}

}  // namespace

TEST_CASE("a workflow is begun anew once, killed before every write", "[e2e][repair]") {
  kill_everywhere<killed_repair>("write:", check, 12);
}

TEST_CASE("a workflow is begun anew once, killed after every fsync", "[e2e][repair]") {
  // Few: what is written meanwhile shares an fsync.
  kill_everywhere<killed_repair>("sync:", check, 5);
}
