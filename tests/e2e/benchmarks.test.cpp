// The load generators of workflows, timers, queues and recovery with few of each: nothing is lost
// and nothing done twice. How fast that is says nothing here.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"

#include <chrono>
#include <future>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace callboard::testing;

namespace {

/// The measurements of one workload, as they are printed for programs.
std::vector<json::value> measured(std::vector<std::string> words) {
  words.insert(words.begin(), {"--output", "json", "bench"});
  words.push_back("--no-machine");
  const auto ran = run_callboard(words, {}, std::chrono::minutes{10});
  if (ran.status != 0) throw std::runtime_error{ran.err};
  std::vector<json::value> rows;
  std::istringstream lines{ran.out};
  for (std::string line; std::getline(lines, line);)
    rows.push_back(json::parse(line));
  return rows;
}

}  // namespace

TEST_CASE("benchmarks lose nothing and do nothing twice", "[e2e][bench]") {
  // Side by side, for most of the time some wait for their timers.
  const auto begin = [](std::vector<std::string> words) {
    return std::async(std::launch::async, measured, std::move(words));
  };
  auto timer = begin({"timer", "--workflows", "100"});
  auto recovery = begin({"recovery", "--workflows", "100", "--steps", "300"});
  auto queue = begin({"queue", "--tasks", "300", "--seconds", "1", "--warmup", "0"});
  auto workflow = begin({"workflow", "--workflows", "200"});

  const auto runs = workflow.get();
  REQUIRE(runs.size() == 1);
  CHECK(number_of(runs[0], "workflows") == 200);
  CHECK(number_of(runs[0], "completed") == 200);

  // A workload of tasks that does not come to the end of them fails.
  std::vector<std::string> done;
  for (const auto& row : queue.get()) {
    done.push_back(text_of(row, "what"));
    INFO(json::serialize(row));
    CHECK(number_of(row, "tasks") > 0);
    if (done.back().starts_with("backlog")) CHECK(number_of(row, "tasks") == 300);
  }
  CHECK(
      done
      == std::vector<std::string>{
          "http enqueue",
          "http lease, 20 at a time",
          "http complete",
          "websocket lease and complete",
          "from enqueue to lease, at a rate",
          "backlog filled",
          "restart on the backlog",
          "backlog drained"});

  const auto recovered = recovery.get();
  REQUIRE(recovered.size() == 4);
  for (const auto& row : recovered) {
    INFO(json::serialize(row));
    CHECK(number_of(row, "workflows") > 0);
    CHECK(number_of(row, "completed") == number_of(row, "workflows"));
    CHECK(row.at("lost") == 0);
  }
  CHECK(number_of(recovered[0], "workflows") == 100);
  CHECK(recovered[0].at("recorded_twice") == 0);
  CHECK(recovered[0].at("steps_not_run") == 0);

  const auto slept = timer.get();
  REQUIRE(slept.size() == 1);
  CHECK(number_of(slept[0], "started") == 100);
  CHECK(number_of(slept[0], "woken") == 100);
}
