// Journals that earlier versions wrote (tests/golden/make.sh): this version goes on from each, and
// the newest has a record of every kind, and an event of every type that the history of a run has.
#include "storage/record_names.hpp"

#include "tests/e2e/broker.hpp"
#include "tests/e2e/chores.hpp"
#include "tests/e2e/event_contract.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace callboard::testing;

namespace {

namespace fs = std::filesystem;

constexpr auto newest = "0.1-every-record.tar.gz";

std::vector<fs::path> archives() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator{CALLBOARD_GOLDEN}) {
    if (entry.path().filename().string().ends_with(".tar.gz")) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

json::value result_of(broker& client, const std::string& id) {
  return client.get("/workflows/" + id + "/result?wait_ms=20000").json();
}

/// Sends what the workflow waits for. Those of earlier versions do not read the second one.
void let_go(broker& client, const std::string& id) {
  REQUIRE(client.post("/workflows/" + id + "/signals/go", "7").status == 200);
  (void)client.post("/workflows/" + id + "/signals/soon", "3");
}

/// What journals have that were made since there are tasks, models, bindings and repair in them.
void check_the_rest(broker& client) {
  const auto anew = client.get("/workflows/anew").json();
  CHECK(number_of(anew, "run") == 2);
  CHECK(text_of(anew, "status") == "running");
  let_go(client, "anew");
  // Its task, and that of the one that waited for its own when the node was killed.
  chores_done tasks;
  while (tasks.given.size() < 3) {
    const auto before = tasks.given.size();
    do_chores(client, tasks, 20'000);
    REQUIRE(tasks.given.size() > before);
  }
  for (const auto* id : {"anew", "working", "waiting"}) {
    INFO(id);
    // A fork may have a task among those, and then one more is to be done.
    REQUIRE(eventually([&] {
      do_chores(client, tasks);
      const auto told = client.get(std::string{"/workflows/"} + id + "/result?wait_ms=100").json();
      return text_of(told, "status") == "completed";
    }));
    const auto result = result_of(client, id);
    CHECK(number_of(result.at("result"), "worked") == 16);
    CHECK(text_of(result.at("result"), "said") == "You said: say it");
    CHECK(number_of(result.at("result"), "retried") == 10);
  }
  CHECK(text_of(result_of(client, "done").at("result"), "said") == "You said: say it");
  CHECK(text_of(client.get("/workflows/stray").json(), "status") == "running");
  const auto broken = client.get("/queues/broken/dead").json().at("tasks").as_array();
  REQUIRE(broken.size() == 1);
  CHECK(number_of(result_of(client, "piece-1"), "result") == 8);
  const auto letters = client.get("/topics/placed/bindings/pieces/dead").json();
  CHECK(letters.at("events").as_array().size() == 1);
  const auto placed = client.http().post(
      client.path("/topics/placed/events"),
      R"({"specversion":"1.0","id":"p9","source":"/golden","type":"placed","subject":"9","data":5})",
      {{"Content-Type", "application/cloudevents+json"}});
  REQUIRE(placed.status == 200);
  CHECK(eventually([&] {
    const auto made = client.get("/workflows/piece-9/result?wait_ms=1000");
    return made.status == 200 && number_of(made.json(), "result") == 10;
  }));
}

/// What journals have that were made since repair by hand and kept events are as they are.
void check_by_hand(broker& client) {
  const auto terminated = client.get("/workflows/terminated").json();
  CHECK(text_of(terminated, "status") == "failed");
  CHECK(text_of(terminated.at("error"), "code") == "terminated");
  CHECK(text_of(client.get("/workflows/leaving").json(), "status") == "cancelled");
  CHECK(text_of(client.get("/workflows/left").json(), "status") == "cancelled");
  CHECK(number_of(result_of(client, "helped"), "result") == 5);
  const auto helped = client.history("workflow.helped");
  CHECK(std::ranges::any_of(helped, [](const auto& one) {
    return json::serialize(one.event).find("by_hand") != std::string::npos;
  }));
  CHECK(text_of(client.get("/workflows/forked").json(), "status") == "running");
  let_go(client, "forked");
  // It has gone on as new meanwhile.
  CHECK(number_of(client.post("/agents/tally/long/add", "4").json(), "result") == 124);
}

/// What journals have that were written over zeros, in two lives of a node.
void check_second_life(broker& client) {
  CHECK(number_of(result_of(client, "done").at("result"), "put off") == 11);
  CHECK(text_of(client.get("/workflows/done").json(), "state") == "at the end");
  CHECK(number_of(client.get("/topics/brief/groups/late").json(), "missed") == 3);
  CHECK(client.history("brief").size() == 2);
  CHECK(text_of(client.get("/workflows/later").json(), "status") == "running");
  CHECK(number_of(client.post("/agents/tally/second/add", "4").json(), "result") == 6);
}

/// What journals have that were made since every kind of record is in them.
void check_every_record(broker& client) {
  for (const auto* gone :
       {"/topics/passing", "/topics/many/groups/passing", "/queues/passing", "/queues/closed"}) {
    CHECK(client.get(gone).status == 404);
  }
  CHECK(number_of(client.get("/topics/many/groups/slow").json(), "floor") == 290);
  const auto room = client.get("/presence/room").json().at("members").as_array();
  REQUIRE(room.size() == 2);
  CHECK(text_of(room[0].at("state"), "mood") == "glad");
  const auto letter = client.get("/queues/broken/dead").json().at("tasks").as_array().at(0);
  const auto task = "/queues/broken/tasks/" + std::to_string(number_of(letter, "task"));
  CHECK(text_of(client.get(task).json(), "payload") == "mended");
  const auto edited = client.get("/queues/broken/audit").json().at("changes").as_array().at(0);
  CHECK(text_of(edited, "action") == "edit");
  const auto purged = client.get("/queues/purged/audit").json().at("changes").as_array().at(0);
  CHECK(text_of(purged, "action") == "purge");
  CHECK(number_of(purged, "up_to") != 0);
  CHECK(flag_of(purged, "dead"));
  const auto placed = client.get("/topics/placed/bindings/pieces/dead").json().at("events");
  CHECK(number_of(placed.at(0).at("event"), "data") == 5);
  CHECK(text_of(placed.at(0).at("event"), "deadletterreplaces") == "1");
  CHECK(text_of(result_of(client, "sent"), "result") == "task_queue_deleted");
  // Its code is in another build.
  CHECK(client.get("/workflows/deaf/explain").body.contains("no_code"));
  CHECK(text_of(client.get("/workflows/skipped").json(), "status") == "completed");
  CHECK(std::ranges::any_of(client.history("workflow.skipped"), [](const auto& one) {
    return json::serialize(one.event).contains(R"("how":"skipped")");
  }));
  const auto mirrored = client.history("watch");
  REQUIRE_FALSE(mirrored.empty());
  CHECK(text_of(mirrored[0].event.at("data"), "at") == "half");
  const auto repeated = client.http().post(
      client.path("/workflows/chained/signals/go"), "7", {{"Idempotency-Key", "k1"}});
  CHECK(flag_of(repeated.json(), "duplicate"));
  CHECK(number_of(client.get("/workflows/chained").json(), "run") == 2);
  CHECK(number_of(client.get("/workflows/dated").json(), "version") == 2);
  REQUIRE(client.post("/workflows/dated/signals/go", "7").status == 200);
  CHECK(number_of(result_of(client, "dated"), "result") == 2);
  REQUIRE(client.post("/workflows/rebuilt/signals/never", "7").status == 200);
  CHECK(number_of(result_of(client, "rebuilt"), "result") == 7);
  REQUIRE(client.post("/workflows/fickle/signals/go", "7").status == 200);
  CHECK(number_of(result_of(client, "fickle"), "result") == 7);
}

/// A JSON object of each line that a command of `journal` prints about the stopped node.
std::vector<json::value> journal_lines(const std::string& command, const fs::path& data) {
  const auto said =
      run_callboard({"--output", "json", "journal", command, "--data", data.string()});
  INFO(said.err);
  REQUIRE(said.status == 0);
  std::vector<json::value> lines;
  std::istringstream in{said.out};
  for (std::string line; std::getline(in, line);)
    lines.push_back(json::parse(line));
  return lines;
}

std::set<std::string> without(std::set<std::string> all, const std::set<std::string>& some) {
  for (const auto& one : some)
    all.erase(one);
  return all;
}

void unpack(const fs::path& archive, const temp_dir& folder) {
  const auto command = "tar -C '" + folder.path().string() + "' -xzf '" + archive.string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
}

}  // namespace

TEST_CASE("the newest golden journal has records of every kind", "[e2e][golden]") {
  temp_dir folder;
  unpack(fs::path{CALLBOARD_GOLDEN} / newest, folder);
  std::set<std::string> found;
  for (const auto& record : journal_lines("dump", folder.path() / "data"))
    found.insert(text_of(record, "kind"));
  std::set<std::string> kinds;
  for (unsigned number = 0; number < 1U << 10; ++number) {
    const auto name = callboard::storage::name_of(callboard::storage::record_kind(number));
    if (!name.empty()) kinds.emplace(name);
  }
  CHECK(kinds.size() >= 22);
  CHECK(without(kinds, found) == std::set<std::string>{});
}

TEST_CASE("the newest golden journal has events of runs of every type", "[e2e][golden]") {
  temp_dir folder;
  unpack(fs::path{CALLBOARD_GOLDEN} / newest, folder);
  std::set<std::string> found;
  for (const auto& event : journal_lines("export", folder.path() / "data")) {
    if (text_of(event, "topic").starts_with("workflow.")) {
      found.insert(text_of(event.at("event"), "type"));
    }
  }
  server_process server;
  broker client{server.where()};
  const auto types = event_contract{client.http()}.described();
  CHECK(types.size() >= 24);
  // Frames of a model's stream are ephemeral: no history has them.
  CHECK(
      without(types, found)
      == std::set<std::string>{"model.delta", "model.reset", "model.snapshot"});
}

TEST_CASE("a node goes on from every golden journal", "[e2e][golden]") {
  const auto all = archives();
  REQUIRE_FALSE(all.empty());
  chat_provider provider;
  for (const auto& archive : all) {
    INFO(archive.string());
    const bool is_first = archive.filename() == "0.1-first.tar.gz";
    auto arguments = asking(provider);
    for (const auto* one : {"storage.shard_count=4", "storage.ballast_bytes=0"})
      arguments.insert(arguments.end(), {"--set", one});
    // However old the archive is.
    arguments.insert(arguments.end(), {"--set", "workflows.retention_s=0"});
    temp_dir folder;
    unpack(archive, folder);
    server_process server{{.data_dir = folder.path() / "data", .arguments = arguments}};
    broker client{server.where()};

    const auto orders = client.history("orders");
    REQUIRE(orders.size() == 3);
    CHECK(orders[2].id == "o3");
    // The dedupe window and seqs go on.
    const auto known = client.publish(
        "orders", R"({"specversion":"1.0","id":"o4","source":"/golden","type":"order","data":4})");
    CHECK(number_of(known.json(), "seq") == 4);
    const auto group = client.get("/topics/orders/groups/billing").json();
    CHECK(number_of(group, "floor") == 1);

    CHECK(number_of(result_of(client, "child"), "result") == 8);
    const auto done = result_of(client, "done");
    CHECK(text_of(done, "status") == "completed");
    CHECK(number_of(done.at("result"), "child") == 42);
    CHECK(number_of(done.at("result"), "go") == 7);
    // Replayed from the journal of that version by the code of this one.
    CHECK(text_of(client.get("/workflows/waiting").json(), "status") == "running");
    let_go(client, "waiting");
    const auto name = archive.filename();
    const bool is_newest = name == newest;
    const bool has_second_life = is_newest || name == "0.1-zeroed-logs.tar.gz";
    if (has_second_life || name == "0.1-kept-events.tar.gz") check_by_hand(client);
    if (has_second_life) check_second_life(client);
    if (is_newest) check_every_record(client);
    if (!is_first) check_the_rest(client);
    const auto waited = result_of(client, "waiting");
    CHECK(text_of(waited, "status") == "completed");
    CHECK(number_of(waited.at("result"), "last") == 6);

    CHECK(number_of(client.post("/agents/tally/golden/add", "4").json(), "result") == 7);
    const auto leased =
        client.post("/queues/mail/lease", R"({"max":10,"lease_ms":30000,"wait_ms":0})").json();
    CHECK(leased.at("tasks").as_array().size() == 2);
    CHECK(server.stop() == 0);
  }
}
