// Starting, draining, stopping and saving a node: the real program, its signals and its files.
#include "tests/e2e/ack_log.hpp"
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace {

using namespace callboard::testing;
namespace fs = std::filesystem;

/// Publishes until it is refused or cut off, and logs every ack.
void publish_until_refused(endpoint where, std::string_view name, ack_log& log) {
  broker to{where};
  try {
    for (int i = 1;; ++i) {
      const auto id = std::string{name} + std::to_string(i);
      const auto answer = to.publish("drain.events", cloud_event(id));
      if (answer.status != 200) {
        if (answer.status != 503) log.broken("refused with " + std::to_string(answer.status));
        return;
      }
      log.acked("drain.events", id, number_of(answer.json(), "seq"));
    }
  } catch (const std::runtime_error&) {
  }
}

}  // namespace

TEST_CASE("SIGTERM drains: goaway, work in flight is answered, exit 0, nothing acked is lost") {
  server_process node;
  broker to{node.where()};
  REQUIRE(to.publish("drain.events", cloud_event("first")).status == 200);
  websocket_client subscriber{node.where()};
  subscriber.ask({{"op", "subscribe"}, {"topic", "drain.events"}, {"from", "now"}});
  event_stream stream{node.where(), to.topic_path("drain.events", "/events?from=first")};
  REQUIRE(stream.next());
  ack_log log;
  {
    std::vector<std::jthread> publishers;
    for (const auto* name : {"p1-", "p2-", "p3-"}) {
      publishers.emplace_back(
          [&, name, where = node.where()] { publish_until_refused(where, name, log); });
    }
    REQUIRE(eventually([&] { return log.count() > 50; }));
    node.terminate();
  }
  const auto goaway = subscriber.next_op("goaway");
  CHECK(goaway.contains("reconnect_after_ms"));
  CHECK(subscriber.wait_closed() == 1001);
  while (stream.next()) {
  }
  CHECK(stream.retry_ms() > 0);
  CHECK(node.wait() == 0);

  node.start();
  broker now{node.where()};
  CHECK(log.check(now) == std::vector<std::string>{});
}

TEST_CASE("an idle node stops at once on SIGTERM") {
  server_process node;
  CHECK(node.stop(std::chrono::seconds{10}) == 0);
}

TEST_CASE("a data directory belongs to one process, and the second one says so") {
  const server_process node;
  const auto second =
      run_callboard({"dev", "--data", node.data_dir().string(), "--listen", "127.0.0.1:0"});
  CHECK(second.status != 0);
  CHECK_THAT(second.err + second.out, Catch::Contains("process"));
  CHECK(http_client{node.where()}.get("/readyz").status == 200);
}

TEST_CASE("a node that waits for its data directory hears SIGTERM") {
  const server_process holder;
  // SIGTERM after half a second; 124 if that was enough, 137 if it had to be killed a second later.
  const auto command = "timeout --kill-after=1 0.5 " + callboard_program()
                       + " dev --listen 127.0.0.1:0 --data " + holder.data_dir().string()
                       + " 2>/dev/null";
  CHECK(WEXITSTATUS(std::system(command.c_str())) == 124);
}

TEST_CASE("a data directory keeps its shard count") {
  server_process node{{.arguments = {"--set", "storage.shard_count=8"}}};
  REQUIRE(broker{node.where()}.publish("a", cloud_event("1")).status == 200);
  REQUIRE(node.stop() == 0);
  const auto other = run_callboard(
      {"dev",
       "--data",
       node.data_dir().string(),
       "--listen",
       "127.0.0.1:0",
       "--set",
       "storage.shard_count=16"});
  CHECK(other.status != 0);
  CHECK_THAT(other.err + other.out, Catch::Contains("8") && Catch::Contains("shard"));
  node.start();
  CHECK(broker{node.where()}.history("a").size() == 1);
}

TEST_CASE("a backup taken while publishing can be restored, and has all that was acked before") {
  server_process node;
  broker to{node.where()};
  ack_log before;
  for (int i = 1; i <= 200; ++i) {
    const auto id = std::to_string(i);
    const auto answer = to.publish("saved", cloud_event(id));
    REQUIRE(answer.status == 200);
    before.acked("saved", id, number_of(answer.json(), "seq"));
  }
  const temp_dir folder;
  const auto backup = folder.path() / "backup";
  {
    std::atomic<bool> stop{false};
    const std::jthread publisher{[&, where = node.where()] {
      broker also{where};
      for (int i = 0; !stop; ++i)
        (void)also.publish("noise", cloud_event(std::to_string(i)));
    }};
    const auto made = run_callboard({"backup", "create", backup.string(), "--server", node.url()});
    stop = true;
    INFO(made.err);
    REQUIRE(made.status == 0);
  }
  const auto old_cursor = to.history("saved").back().cursor;
  node.kill();

  const auto restored_dir = folder.path() / "restored";
  const auto restored =
      run_callboard({"backup", "restore", backup.string(), "--data", restored_dir.string()});
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  server_process second{{.data_dir = restored_dir}};
  broker now{second.where()};
  CHECK(before.check(now) == std::vector<std::string>{});
  // History may have been lost by going back, so cursors of the original are told apart.
  CHECK(now.http().get(now.topic_path("saved", "/events?from=" + old_cursor)).status == 410);
}

TEST_CASE("journal verify finds nothing wrong with a killed node's files, and damage if there is") {
  server_process node{{.arguments = {"--set", "storage.shard_count=4"}}};
  broker to{node.where()};
  for (int i = 1; i <= 100; ++i) {
    REQUIRE(to.publish("verify", cloud_event(std::to_string(i))).status == 200);
  }
  node.kill();
  const auto sound = run_callboard({"journal", "verify", "--data", node.data_dir().string()});
  INFO(sound.out << sound.err);
  CHECK(sound.status == 0);
}

TEST_CASE("the settings we ship are valid, and the list of settings is the program's own") {
  const fs::path source{CALLBOARD_SOURCE_DIR};
  for (const auto* name : {"callboard.toml", "small.toml"}) {
    const auto checked = run_callboard({"config", "check", (source / "config" / name).string()});
    INFO(name << ": " << checked.out << checked.err);
    CHECK(checked.status == 0);
  }
  std::ifstream file{source / "docs/configuration.md"};
  const std::string written{std::istreambuf_iterator<char>{file}, {}};
  CHECK(run_callboard({"config", "show", "--markdown"}).out == written);
}

TEST_CASE("mistakes on the command line are told with exit code 2, an absent server with 3") {
  CHECK(run_callboard({"dance"}).status == 2);
  CHECK(run_callboard({"serve", "--no-such-flag"}).status == 2);
  CHECK(run_callboard({"topic", "list", "--server", "http://127.0.0.1:1"}).status == 3);
  const auto unknown = run_callboard({"dev", "--listen", "127.0.0.1:0", "--set", "topics.nope=1"});
  CHECK(unknown.status != 0);
  CHECK_THAT(unknown.err + unknown.out, Catch::Contains("topics.nope"));
  const server_process other;
  const auto port = std::to_string(other.where().port);
  const auto taken = run_callboard({"dev", "--listen", "127.0.0.1:" + port});
  CHECK(taken.status == 1);
  CHECK(taken.out.empty());
  CHECK(taken.err.starts_with("callboard: io_error: cannot listen on 127.0.0.1 port " + port));
  CHECK(std::ranges::count(taken.err, '\n') == 1);
}
