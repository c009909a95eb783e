// kill -9 at every position of the journal of a workflow that uses every command: before each write
// to the write-ahead log, and after each fsync of it. Whatever the position, the workflow ends with
// the same result, each command is recorded once, and nothing is done twice but what was being
// done and has no end in the journal.
#include "tests/e2e/broker.hpp"
#include "tests/e2e/chores.hpp"
#include "tests/e2e/kill_everywhere.hpp"
#include "tests/e2e/what_was_done.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

using namespace callboard::testing;

namespace {

constexpr std::string_view expected =
    R"({"one":1,"version":2,"drawn again":true,"both":5,"first":0,"tally":5,"child":42,"seq":1,)"
    R"("undone":"refused","go":7,"soon":3,"now again":true,"told later":14,"slept":2,)"
    R"("worked":16,"waited":1,"said":"You said: say it",)"
    R"("elsewhere":9,"retried":10,"uuid again":true,"left":1,)"
    R"("put off":11,"raced":0,"won":true,"never":false,"last":6,"outlived":1})";

/// Each takes 20 ms: nothing that the workflow waits for takes nearly so long.
constexpr int looks_max = 1500;

/// One life of the workflow on a fresh data directory, killed at one position.
class killed_run : public killed_life {
public:
  explicit killed_run(const std::string& position) {
    ::setenv("EVERY_COMMAND_LOG", log_file().c_str(), 1);
    begin(CALLBOARD_KILL_AT_JOURNAL, position, asking(provider_));
    // Refusals while what was there is read again are for the client to retry.
    (void)live([this] { return drive(); });
  }

  [[nodiscard]] const json::value& result() const { return result_; }

  /// What the worker was given.
  [[nodiscard]] const chores_done& chores() const { return chores_; }

  /// How often each task had come when the node died.
  [[nodiscard]] const std::map<std::uint64_t, int>& given_before() const { return given_before_; }

  /// How often the provider was asked, by idempotency key.
  [[nodiscard]] std::map<std::string, std::uint32_t> questions() const {
    return provider_.counts();
  }

  /// The same when the node died.
  [[nodiscard]] const std::map<std::string, std::uint32_t>& questions_before() const {
    return questions_before_;
  }

private:
  void on_death() override {
    given_before_ = chores_.given;
    questions_before_ = provider_.counts();
  }

  /// Does what is left to do, on a new node if the last one was killed; false if it is not done.
  bool drive() {
    if (!revive()) return false;
    try {
      auto node = client();
      // What a run publishes counts once also where ids are not remembered.
      for (const auto topic : {"/topics/out", "/topics/watch"}) {
        const auto made = node.put(topic, R"({"dedupe_window_s":0})");
        last_ = made.body;
        if (made.status != 200 && made.status != 201) return false;
      }
      const auto started =
          node.post("/workflows", R"({"type":"everything","id":"e","mirror":"watch"})");
      last_ = started.body;
      if (started.status != 200 && started.status != 201) return false;
      if (!signal(node, "go", "7")) return false;
      for (int looks = 0; looks < looks_max; ++looks) {
        do_chores(node, chores_);
        if (waits_for_soon(node) && !signal(node, "soon", "3")) return false;
        const auto ended = node.get("/workflows/e/result?wait_ms=20");
        last_ = ended.body;
        if (ended.status == 200) {
          result_ = ended.json();
          return true;
        }
        if (ended.status != 202) return false;
      }
      return false;
    } catch (const std::runtime_error& gone) {
      last_ = gone.what();
      return false;
    }
  }

  /// That one comes when its timeout runs, and `go` most often before the workflow asks for it.
  static bool waits_for_soon(broker& node) {
    return node.get("/workflows/e/explain").body.contains("the signal 'soon'");
  }

  bool signal(broker& node, const std::string& name, const std::string& payload) {
    const auto path = node.path("/workflows/e/signals/" + name);
    const auto told = said(node.http().post(path, payload, {{"Idempotency-Key", name}}));
    // 409: the workflow has ended, so it has had its signal.
    return told.status == 200 || told.status == 409;
  }

  chat_provider provider_;
  std::map<std::string, std::uint32_t> questions_before_;
  chores_done chores_;
  std::map<std::uint64_t, int> given_before_;
  json::value result_;
};

/// The key of the command of this name in the first run, without its mark.
std::string key_of(const std::vector<stored_event>& channel, std::string_view name) {
  for (const auto& one : channel) {
    if (text_of(one.event, "type") == "task.started"
        && text_of(one.event.at("data"), "name") == name)
      return "e.1." + std::to_string(number_of(one.event, "command"));
  }
  return {};
}

int count_in(const auto& counts, const auto& what) {
  const auto found = counts.find(what);
  return found == counts.end() ? 0 : static_cast<int>(found->second);
}

/// Nothing was done twice but what was under way at the kill and has no end in the journal.
void check_once(const killed_run& run, const std::vector<stored_event>& channel) {
  CHECK(run.effects().size() == 16);
  run.check_effects();
  // One question however often it was sent.
  const auto questions = run.questions();
  REQUIRE(questions.size() == 1);
  const auto& [asked, times] = *questions.begin();
  const auto asked_before = count_in(run.questions_before(), asked);
  CHECK(run.may_repeat(key_of(channel, "say"), 1, asked_before, static_cast<int>(times)));
  const auto& chores = run.chores();
  REQUIRE(chores.given.size() == 1);
  const auto& [task, given] = *chores.given.begin();
  CHECK(run.may_repeat(key_of(channel, "chores"), 1, count_in(run.given_before(), task), given));
  CHECK(chores.given_again == 0);
}

bool is_signal(const stored_event& one) {
  return text_of(one.event, "type") == "signal.received";
}

/// No task is left in the queue, dead or alive.
bool is_empty(killed_run& run, const std::string& queue) {
  const auto shown = run.client().get("/queues/" + queue);
  // The race may have been lost before the task was handed over.
  if (shown.status == 404 && queue == "nobody") return run.was_killed();
  if (shown.status != 200) return false;
  const auto body = shown.json();
  return number_of(body, "depth") + number_of(body, "in_flight") + number_of(body, "dead") == 0;
}

void check(killed_run& run) {
  REQUIRE(text_of(run.result(), "status") == "completed");
  CHECK(run.result().at("result") == json::parse(expected));
  auto node = run.client();
  CHECK(text_of(node.get("/workflows/e").json(), "state") == "at the end");
  const auto child = "workflow." + child_named(node, "e.1.11");
  for (const auto& channel :
       {std::string{"workflow.e"}, child, std::string{"workflow.agent.tally.t"}}) {
    INFO(channel);
    check_recorded_once(node.history(channel));
  }
  // Nobody waits for them, so only a kill that comes before they are begun keeps them from being
  // there; their parent has completed.
  for (const auto* id : {"stray", "outliving"}) {
    INFO(id);
    const auto left = node.get("/workflows/" + std::string{id});
    CHECK((left.status == 200 || (left.status == 404 && run.was_killed())));
    if (left.status == 200) CHECK(text_of(left.json(), "status") == "running");
  }
  CHECK(run.client().history("out").size() == 1);
  const auto watched = run.client().history("watch");
  REQUIRE(watched.size() == 1);
  CHECK(text_of(watched[0].event, "type") == "workflow.update");
  CHECK(text_of(watched[0].event, "subject") == "e");
  CHECK(text_of(watched[0].event.at("data"), "at") == "half");
  CHECK(number_of(run.client().get("/agents/tally/t").json(), "state") == 5);
  // What nobody works on lost its race.
  for (const auto* queue : {"chores", "nobody"}) {
    INFO(queue << ' ' << node.get("/queues/" + std::string{queue}).body);
    CHECK(eventually([&] { return is_empty(run, queue); }));
  }
  const auto channel = node.history("workflow.e");
  // Though what was not answered was sent again after the kill.
  CHECK(std::ranges::count_if(channel, is_signal) == 2);
  check_once(run, channel);
}

}  // namespace

TEST_CASE("a workflow survives kill -9 before every write to the journal", "[e2e][workflow]") {
  kill_everywhere<killed_run>("write:", check, 60);
}

TEST_CASE("a workflow survives kill -9 after every fsync of the journal", "[e2e][workflow]") {
  kill_everywhere<killed_run>("sync:", check, 25);
}
