// Journals that earlier versions wrote (tests/golden/make.sh): this version goes on from each.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

using namespace callboard::testing;

namespace {

namespace fs = std::filesystem;

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

}  // namespace

TEST_CASE("a node goes on from every golden journal", "[e2e][golden]") {
  const auto all = archives();
  REQUIRE_FALSE(all.empty());
  for (const auto& archive : all) {
    INFO(archive.string());
    temp_dir folder;
    const auto unpack = "tar -C '" + folder.path().string() + "' -xzf '" + archive.string() + "'";
    REQUIRE(std::system(unpack.c_str()) == 0);
    server_process server{
        {.data_dir = folder.path() / "data",
         // However old the archive is.
         .arguments = {
             "--set",
             "storage.shard_count=4",
             "--set",
             "storage.ballast_bytes=0",
             "--set",
             "workflows.retention_s=0"}}};
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
    REQUIRE(client.post("/workflows/waiting/signals/go", "7").status == 200);
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
