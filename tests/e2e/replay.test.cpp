// `callboard workflow replay`: does another build fit what a workflow has recorded?
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

using namespace callboard::testing;

namespace {

run_result replay(const server_process& node, std::vector<std::string> words) {
  words.insert(words.begin(), {"--server", node.url(), "--output", "json", "workflow", "replay"});
  return run_callboard(words);
}

}  // namespace

TEST_CASE("a replay tells whether code fits, and changes nothing", "[e2e][replay]") {
  server_process node;
  broker client{node.where()};
  REQUIRE(client.post("/workflows", R"({"type":"trip","id":"t1"})").status == 201);
  const auto waits = [&] {
    return client.get("/workflows/t1/explain").body.find("the signal 'go'") != std::string::npos;
  };
  REQUIRE(eventually(waits));
  const auto before = client.history("workflow.t1").size();

  // This program, which has the class as it was.
  const auto here = replay(node, {"t1"});
  CHECK(here.status == 0);
  const auto fits = json::parse(here.out);
  CHECK(flag_of(fits, "fits"));
  CHECK(number_of(fits, "events") == before);
  CHECK(fits.at("next").as_array().empty());
  CHECK(fits.at("changed").as_array().empty());
  CHECK(fits.at("waits_for").as_array().at(0) == "signal 'go'");
  // The changed one, by its own classes.
  const auto there = replay(node, {"t1", "--against", CALLBOARD_CHANGED_PROGRAM});
  CHECK(there.status == 1);
  const auto differs = json::parse(there.out);
  CHECK_FALSE(flag_of(differs, "fits"));
  const auto& why = differs.at("error");
  CHECK(text_of(why, "code") == "command_differs");
  CHECK(number_of(why.at("details"), "command") == 3);
  CHECK(text_of(why.at("details").at("recorded"), "name") == "hotel");
  CHECK(text_of(why.at("details").at("attempted"), "name") == "train");
  CHECK(text_of(why.at("details"), "recorded_build").size() == 16);
  CHECK(text_of(why.at("details"), "build") != text_of(why.at("details"), "recorded_build"));
  const auto& changed = differs.at("changed").as_array().at(0);
  CHECK(number_of(changed, "command") == 1);
  CHECK(text_of(changed, "member") == "data");
  CHECK(text_of(changed, "recorded") == R"("hotel")");
  CHECK(text_of(changed, "attempted") == R"("train")");
  // A module without the class, a program that is not there, a workflow that is not there.
  const auto module = replay(node, {"t1", "--against", CALLBOARD_COUNTER_MODULE});
  CHECK(module.status == 1);
  CHECK(text_of(json::parse(module.out).at("error"), "code") == "no_code");
  CHECK(replay(node, {"t1", "--against", "/nonexistent"}).status == 1);
  // Programs that know nothing of workflows.
  CHECK(replay(node, {"t1", "--against", "/bin/true"}).status == 1);
  for (const std::string program : {"/bin/cat", "/bin/echo"}) {
    const auto other = replay(node, {"t1", "--against", program});
    CHECK(other.status == 1);
    CHECK_THAT(other.err, Catch::Contains(program + " is no program of Callboard"));
  }
  CHECK(replay(node, {"nobody"}).status == 1);

  // From a file, without the node; and of a run that has ended.
  REQUIRE(client.post("/workflows/t1/signals/go", "1").status == 200);
  REQUIRE(
      text_of(client.get("/workflows/t1/result?wait_ms=20000").json(), "status") == "completed");
  CHECK(client.history("workflow.t1").size() > before);
  const auto history =
      run_callboard({"--server", node.url(), "--output", "json", "workflow", "history", "t1"});
  temp_dir folder;
  const auto file = (folder.path() / "history").string();
  std::ofstream{file} << history.out;
  node.stop();
  const auto ended =
      run_callboard({"--output", "json", "workflow", "replay", "t1", "--history", file});
  CHECK(ended.status == 0);
  CHECK(text_of(json::parse(ended.out), "end") == "completed");
  // With any one of its events missing or doubled it is no record, however well the rest fits.
  const auto whole = json::parse(history.out);
  const auto count = whole.at("events").as_array().size();
  REQUIRE(count > 4);
  const auto replay_of = [&](const json::value& changed) {
    std::ofstream{file} << json::serialize(changed);
    return run_callboard({"--output", "json", "workflow", "replay", "t1", "--history", file});
  };
  for (std::size_t at = 1; at + 1 < count; ++at) {
    auto cut = whole;
    auto& events = cut.as_object()["events"].as_array();
    const auto seq = std::to_string(number_of(events[at], "seq"));
    events.erase(events.begin() + static_cast<std::ptrdiff_t>(at));
    const auto holed = replay_of(cut);
    CHECK(holed.status == 1);
    CHECK(holed.out.empty());
    CHECK_THAT(holed.err, Catch::Contains("where " + seq + " belongs"));
    auto twice = whole;
    auto& doubled = twice.as_object()["events"].as_array();
    doubled.insert(doubled.begin() + static_cast<std::ptrdiff_t>(at), json::value(doubled[at]));
    const auto again = replay_of(twice);
    CHECK(again.status == 1);
    CHECK_THAT(again.err, Catch::Contains("comes the one with seq " + seq));
  }
}

TEST_CASE("a run that another build blocks says where, and which builds", "[e2e][replay]") {
  server_process node;
  const auto started = broker{node.where()}.post("/workflows", R"({"type":"trip","id":"t1"})");
  REQUIRE(started.status == 201);
  REQUIRE(eventually([&] {
    return broker{node.where()}.get("/workflows/t1/explain").body.find("the signal 'go'")
           != std::string::npos;
  }));
  node.kill();
  const std::string own = std::getenv("CALLBOARD_PROGRAM");
  ::setenv("CALLBOARD_PROGRAM", CALLBOARD_CHANGED_PROGRAM, 1);
  node.start();
  ::setenv("CALLBOARD_PROGRAM", own.c_str(), 1);
  const auto show = [&] { return broker{node.where()}.get("/workflows/t1").json(); };
  // Looking at it is what replays it.
  REQUIRE(eventually([&] { return text_of(show(), "status") == "blocked"; }));
  const auto shown = show();
  const auto& details = shown.at("error").at("details");
  CHECK(number_of(details, "command") == 3);
  CHECK(text_of(details, "recorded_build").size() == 16);
  CHECK(text_of(details, "build").size() == 16);
  CHECK(text_of(details, "build") != text_of(details, "recorded_build"));
}
