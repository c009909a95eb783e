// How exactly sleeps end while the machine's clock is set, on virtual time: by the time that has
// passed, whatever the wall clock shows.
#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json/parse.hpp>

#include <callboard/workflow.hpp>
#include <chrono>
#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

constexpr auto nap = 20s;
constexpr auto exactness = 50ms;

struct napping_workflow : workflow<napping_workflow> {
  static constexpr std::string_view type = "test.napping";

  flow<json> run(context& ctx, json) {
    (void)co_await ctx.sleep(nap).required();
    co_return json(1);
  }
};

class napping_node {
public:
  napping_node() {
    REQUIRE(code_.add(napping_workflow::definition()));
    broker = std::make_unique<virtual_broker>(config{}, &code_);
    REQUIRE(broker->ask_now(start_workflow{channel(), "test.napping", "1", {}, {}}));
    broker->settle();
    began_ = broker->time.boot();
  }

  [[nodiscard]] bool is_awake() {
    const auto answer = broker->ask_now(get_workflow{channel()});
    const auto body = boost::json::parse(std::get<workflow_answer>(answer.value()).body);
    return body.at("status") == "completed";
  }

  void pass(std::chrono::milliseconds by) {
    for (std::chrono::milliseconds done{0}; done < by; done += 10ms) {
      broker->tick(10ms);
      broker->settle();
    }
  }

  /// Starts the machine anew. How long it had slept by then.
  [[nodiscard]] std::chrono::milliseconds reboot() {
    const auto gone = broker->time.boot() - began_;
    broker->time.reboot();
    broker->crash();
    began_ = broker->time.boot();
    return std::chrono::duration_cast<std::chrono::milliseconds>(gone);
  }

  /// How long it slept, if it woke within a minute; looks every 10 ms.
  [[nodiscard]] std::chrono::milliseconds slept() {
    while (broker->time.boot() - began_ < nap + 60s) {
      if (is_awake()) break;
      pass(10ms);
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(broker->time.boot() - began_);
  }

  std::unique_ptr<virtual_broker> broker;

private:
  static topic_ref channel() { return virtual_broker::topic("workflow.w"); }

  runtime::workflow_registry code_;
  boot_time began_{};
};

}  // namespace

TEST_CASE("a sleep on a quiet node ends within 50 ms of its time", "[actors][workflow]") {
  napping_node node;
  const auto slept = node.slept();
  CHECK(slept >= nap);
  CHECK(slept <= nap + exactness);
}

TEST_CASE("a step of the wall clock ends no sleep early or late", "[actors][workflow]") {
  const auto by = GENERATE(as<std::chrono::milliseconds>{}, 1h, -1h);
  // Its run is in memory, has left it, or is being woken.
  const auto after = GENERATE(as<std::chrono::milliseconds>{}, 0ms, 5s, 19s);
  napping_node node;
  node.pass(after);
  node.broker->time.step_wall(by);
  const auto slept = node.slept();
  // Shard time is drawn towards the wall clock, by a thousandth.
  CHECK(slept >= nap - exactness);
  CHECK(slept <= nap + exactness);
}

TEST_CASE("a sleep over a restart goes on from what the shard recorded", "[actors][workflow]") {
  const auto before = GENERATE(as<std::chrono::milliseconds>{}, 1s, 12s);
  napping_node node;
  node.pass(before);
  SECTION("as if nothing was, where the clock was let be") {
    node.broker->crash();
    const auto slept = node.slept();
    CHECK(slept >= nap);
    CHECK(slept <= nap + 2s);
  }
  SECTION("neither early nor late, where it was set") {
    node.broker->time.step_wall(GENERATE(as<std::chrono::milliseconds>{}, 1h, -1h));
    node.broker->crash();
    if (GENERATE(false, true)) node.broker->crash();
    const auto slept = node.slept();
    CHECK(slept >= nap - exactness);
    CHECK(slept <= nap + 2s);
  }
  SECTION("not an hour late, where it was set back and the machine started anew") {
    node.broker->time.step_wall(-1h);
    const auto gone = node.reboot();
    const auto slept = gone + node.slept();
    CHECK(slept >= nap - exactness);
    // What passed since the last record is not known.
    CHECK(slept <= nap + before + 2s);
  }
  SECTION("at once, where it was set forward and the machine started anew: nobody can know") {
    node.broker->time.step_wall(1h);
    const auto gone = node.reboot();
    CHECK(gone + node.slept() < nap);
  }
}

}  // namespace callboard::testing
