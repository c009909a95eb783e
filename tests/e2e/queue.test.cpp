// Task queues against the real program: leases, long polls, dead letters, kill -9.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>
#include <thread>
#include <utility>

namespace {

using namespace callboard::testing;
using namespace std::chrono_literals;

server_process& node() {
  static server_process process;
  return process;
}

struct leased {
  std::string lease;
  std::uint64_t task = 0;
  std::uint64_t fencing = 0;
  std::uint64_t attempt = 0;
  json::value payload;
};

/// One queue, as its producers and workers see it.
class work {
public:
  work(endpoint where, const std::string& queue, const std::string& token = {})
      : to_{where, token.empty() ? "default" : "acme", token}, path_{"/queues/" + queue} {}

  http_response try_push(const json::object& body) {
    return to_.post(path_ + "/tasks", json::serialize(body));
  }

  std::uint64_t push(const json::value& payload) {
    const auto answer = try_push({{"payload", payload}});
    INFO(answer.body);
    REQUIRE(answer.status == 201);
    return number_of(answer.json(), "task");
  }

  std::vector<leased> lease(int max, int wait_ms = 0, int lease_ms = 30'000) {
    const auto answer = to_.post(
        path_ + "/lease",
        json::serialize(json::object{
            {"worker", "w"}, {"max", max}, {"wait_ms", wait_ms}, {"lease_ms", lease_ms}}));
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    std::vector<leased> out;
    const auto body = answer.json();
    for (const auto& each : body.at("tasks").as_array()) {
      out.push_back(
          {text_of(each, "lease"),
           number_of(each, "task"),
           number_of(each, "fencing"),
           number_of(each, "attempt"),
           each.at("payload")});
    }
    return out;
  }

  http_response end(const leased& task, const std::string& how, const std::string& body = "{}") {
    return to_.post("/leases/" + task.lease + "/" + how, body);
  }

  json::object describe() {
    const auto answer = to_.get(path_);
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    return answer.json().as_object();
  }

  broker& http() { return to_; }

  [[nodiscard]] std::string path(const std::string& rest) const { return path_ + rest; }

private:
  broker to_;
  std::string path_;
};

}  // namespace

TEST_CASE("a task goes from its producer through one worker") {
  work q{node().where(), "plain"};
  const auto id = q.push(json::object{{"n", 1}});
  CHECK(number_of(q.describe(), "depth") == 1);
  const auto tasks = q.lease(5);
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].task == id);
  CHECK(tasks[0].attempt == 1);
  CHECK(tasks[0].payload.at("n").as_int64() == 1);
  CHECK(q.lease(5).empty());
  CHECK(number_of(q.describe(), "in_flight") == 1);
  const auto seen = q.http().get(q.path("/tasks/" + std::to_string(id)));
  CHECK(text_of(seen.json(), "phase") == "leased");
  CHECK(q.end(tasks[0], "extend", R"({"lease_ms":60000})").status == 200);
  CHECK(q.end(tasks[0], "complete", R"({"result":{"ok":true}})").status == 204);
  const auto late = q.end(tasks[0], "complete");
  CHECK(late.status == 409);
  CHECK(late.code() == "lease_lost");
  CHECK(q.http().get(q.path("/tasks/" + std::to_string(id))).status == 404);
  CHECK(number_of(q.describe(), "in_flight") == 0);
}

TEST_CASE("a node that was stopped for longer than a lease takes what came in time") {
  server_process stopped;
  work q{stopped.where(), "paused"};
  CHECK(q.http().put(q.path(""), R"({"attempts_max":1})").status == 201);
  for (int n = 0; n < 8; ++n)
    q.push(n);
  const auto tasks = q.lease(8, 0, 2000);
  REQUIRE(tasks.size() == 8);
  REQUIRE(::kill(stopped.pid(), SIGSTOP) == 0);
  std::vector<std::future<int>> answers;
  for (const auto& task : tasks) {
    answers.push_back(std::async(std::launch::async, [&stopped, &task] {
      return work{stopped.where(), "paused"}.end(task, "complete").status;
    }));
  }
  CHECK_FALSE(stopped.wait(4s));
  REQUIRE(::kill(stopped.pid(), SIGCONT) == 0);
  for (auto& answer : answers)
    CHECK(answer.get() == 204);
  CHECK(number_of(q.describe(), "dead") == 0);
}

TEST_CASE("tasks come by priority, after their delay, and once per dedupe key") {
  work q{node().where(), "order"};
  CHECK(q.try_push({{"payload", "bulk"}, {"priority", "bulk"}}).status == 201);
  CHECK(q.try_push({{"payload", "later"}, {"delay_ms", 700}}).status == 201);
  CHECK(q.try_push({{"payload", "now"}, {"priority", "interactive"}}).status == 201);
  CHECK(q.try_push({{"payload", "once"}, {"dedupe_key", "k"}}).status == 201);
  const auto again = q.try_push({{"payload", "once"}, {"dedupe_key", "k"}});
  CHECK(again.status == 200);
  CHECK(flag_of(again.json(), "duplicate"));
  std::vector<std::string> got;
  for (const auto& each : q.lease(10))
    got.emplace_back(each.payload.as_string());
  CHECK(got == std::vector<std::string>{"now", "once", "bulk"});
  const auto later = q.lease(10, 5000);
  REQUIRE(later.size() == 1);
  CHECK(later[0].payload.as_string() == "later");
}

TEST_CASE("wrong requests for queues are refused with their reason") {
  work q{node().where(), "wrong"};
  CHECK(q.http().get(q.path("")).status == 404);
  CHECK(q.try_push({{"payload", 1}, {"priority", "urgent"}}).status == 400);
  CHECK(q.try_push({{"payload", 1}, {"colour", "red"}}).status == 400);
  CHECK(q.http().post("/queues/a%2Fb/tasks", "{}").status == 400);
  CHECK(q.http().get(q.path("/tasks/none")).status == 400);
  CHECK(q.http().get(q.path("/nothing")).status == 404);
  CHECK(q.http().post("/leases/nonsense/complete", "{}").code() == "lease_lost");
  CHECK(q.http().put(q.path(""), R"({"attempts_max":0})").status == 400);
  CHECK(q.http().post(q.path("/lease"), R"({"max":101})").status == 400);
  CHECK(q.try_push({{"payload", std::string(2 << 20, 'x')}}).status == 413);
  const auto empty = q.http().post(q.path("/tasks"), "{}");
  CHECK(empty.status == 400);
  CHECK_THAT(empty.body, Catch::Contains("'payload' is missing"));
  CHECK(q.http().post(q.path("/tasks"), R"({"payload":null})").status == 201);
  const auto broken = q.http().post(q.path("/tasks"), R"({"payload": nope})");
  CHECK(broken.code() == "invalid_json");
  CHECK(text_of(broken.json(), "detail") == "the body is not valid JSON at byte 12: syntax error");
}

TEST_CASE("a long poll is answered as soon as a task is there") {
  work q{node().where(), "poll"};
  CHECK(q.lease(1, 100).empty());
  auto waiting = std::async(std::launch::async, [&] {
    work own{node().where(), "poll"};
    const auto got = own.lease(1, 20'000);
    return std::pair{std::chrono::steady_clock::now(), got};
  });
  REQUIRE(eventually([&] { return number_of(q.describe(), "workers_waiting") == 1; }));
  const auto pushed = std::chrono::steady_clock::now();
  q.push("x");
  const auto [answered, got] = waiting.get();
  REQUIRE(got.size() == 1);
  CHECK(answered - pushed < 1s);
}

TEST_CASE("a worker that hangs up in a long poll takes no task with it") {
  work q{node().where(), "hangup"};
  q.push("first");
  REQUIRE(q.lease(1).size() == 1);
  {
    work gone{node().where(), "hangup"};
    gone.http().http().set_limit(200ms);
    CHECK_THROWS(gone.lease(1, 20'000, 3'600'000));
  }
  REQUIRE(eventually([&] { return number_of(q.describe(), "workers_waiting") == 0; }));
  q.push("second");
  const auto got = q.lease(1, 2000);
  REQUIRE(got.size() == 1);
  CHECK(got[0].payload.as_string() == "second");
}

TEST_CASE("a lease that runs out passes on, and its fencing number rises") {
  work q{node().where(), "expiry"};
  q.push("x");
  const auto first = q.lease(1, 0, 300);
  REQUIRE(first.size() == 1);
  const auto second = q.lease(1, 5000);
  REQUIRE(second.size() == 1);
  CHECK(second[0].attempt == 2);
  CHECK(second[0].fencing > first[0].fencing);
  CHECK(q.end(first[0], "complete").code() == "lease_lost");
  CHECK(q.end(first[0], "extend").code() == "lease_lost");
  CHECK(q.end(first[0], "fail").code() == "lease_lost");
  CHECK(q.end(second[0], "complete").status == 204);
}

TEST_CASE("what fails too often is a dead letter: looked at, mended, driven again") {
  work q{node().where(), "dead"};
  CHECK(
      q.http()
          .put(q.path(""), R"({"attempts_max":2,"backoff_min_ms":10,"backoff_max_ms":20})")
          .status
      == 201);
  const auto id = q.push("broken");
  const auto other = q.push("other");
  for (int attempt = 1; attempt <= 2; ++attempt) {
    for (const auto& each : q.lease(1, 3000)) {
      if (each.task != id) continue;
      const auto told = q.end(each, "fail", R"({"error":"no such file"})");
      CHECK(told.status == 200);
      CHECK(flag_of(told.json(), "dead") == (attempt == 2));
    }
  }
  if (number_of(q.describe(), "dead") == 0) {
    for (const auto& each : q.lease(2, 3000)) {
      if (each.task == id)
        CHECK(flag_of(q.end(each, "fail", R"({"error":"no such file"})").json(), "dead"));
    }
  }
  REQUIRE(number_of(q.describe(), "dead") == 1);
  auto dead = q.http().get(q.path("/dead")).json();
  REQUIRE(dead.at("tasks").as_array().size() == 1);
  const auto& letter = dead.at("tasks").as_array()[0];
  CHECK(number_of(letter, "task") == id);
  CHECK(letter.at("history").as_array().size() == 2);
  CHECK(text_of(letter.at("history").as_array()[1], "error") == "no such file");
  const auto in_path = "/dead/" + std::to_string(id);
  CHECK(q.http().put(q.path(in_path), R"({"payload":"mended"})").status == 200);
  // Of these one is no dead letter.
  const auto named = json::serialize(json::object{{"tasks", {id, other}}});
  for (const auto* call : {"/dead/redrive", "/dead/abandon"}) {
    const auto missed = q.http().post(q.path(call), named);
    CHECK(missed.status == 404);
    CHECK(text_of(missed.json(), "code") == "task_not_found");
  }
  CHECK(q.http().post(q.path("/dead/redrive"), "{}").status == 400);
  const auto none = q.http().post(q.path("/dead/redrive"), R"({"error_contains":"timeout"})");
  CHECK(number_of(none.json(), "count") == 0);
  const auto driven = q.http().post(q.path("/dead/redrive"), R"({"error_contains":"no such"})");
  CHECK(driven.status == 200);
  CHECK(number_of(driven.json(), "count") == 1);
  bool is_mended = false;
  for (const auto& each : q.lease(10, 3000))
    is_mended = is_mended || (each.task == id && each.payload.as_string() == "mended");
  CHECK(is_mended);

  // Who did that, a page of one at a time; what changed nothing is not there.
  const auto first = q.http().get(q.path("/audit?limit=1")).json();
  REQUIRE(first.at("changes").as_array().size() == 1);
  const auto& edit = first.at("changes").as_array()[0];
  CHECK(text_of(edit, "action") == "edit");
  CHECK(edit.at("tasks") == json::array{id});
  CHECK(text_of(edit, "time").ends_with("Z"));
  const auto rest =
      q.http().get(q.path("/audit?after=" + std::to_string(number_of(first, "next")))).json();
  REQUIRE(rest.at("changes").as_array().size() == 1);
  CHECK(text_of(rest.at("changes").as_array()[0], "action") == "redrive");
  CHECK(number_of(rest.at("changes").as_array()[0], "number") > number_of(edit, "number"));
  CHECK(rest.at("next").is_null());
}

TEST_CASE("a task that has not ended can be cancelled") {
  work q{node().where(), "cancel"};
  const auto waits = q.push("waits");
  const auto path = [&](std::uint64_t id) { return q.path("/tasks/" + std::to_string(id)); };
  CHECK(q.http().del(path(waits)).status == 204);
  CHECK(q.http().del(path(waits)).status == 404);
  const auto held = q.push("held");
  const auto task = q.lease(1).at(0);
  CHECK(task.task == held);
  CHECK(q.http().del(path(held)).status == 204);
  CHECK(q.end(task, "complete").status == 409);
  const auto audit = q.http().get(q.path("/audit")).json();
  REQUIRE(audit.at("changes").as_array().size() == 2);
  CHECK(text_of(audit.at("changes").as_array()[1], "action") == "cancel");
}

TEST_CASE("a queue is purged of what waits, and of its dead letters if asked for") {
  work q{node().where(), "purge"};
  CHECK(q.http().post(q.path("/purge"), "").status == 404);
  q.push("dies");
  CHECK(flag_of(q.end(q.lease(1).at(0), "fail", R"({"retryable":false})").json(), "dead"));
  q.push("held");
  const auto held = q.lease(1).at(0);
  q.push("waits");
  CHECK(q.try_push({{"payload", "later"}, {"delay_ms", 60'000}}).status == 201);
  CHECK(q.http().post(q.path("/purge"), R"({"dead":1})").status == 400);
  CHECK(number_of(q.http().post(q.path("/purge"), "").json(), "count") == 2);
  CHECK(number_of(q.describe(), "depth") == 0);
  CHECK(number_of(q.describe(), "dead") == 1);
  CHECK(q.end(held, "complete").status == 204);
  CHECK(number_of(q.http().post(q.path("/purge"), R"({"dead":true})").json(), "count") == 1);
  CHECK(number_of(q.describe(), "dead") == 0);
  const auto audit = q.http().get(q.path("/audit")).json();
  REQUIRE(audit.at("changes").as_array().size() == 2);
  CHECK(text_of(audit.at("changes").as_array()[0], "action") == "purge");
  CHECK(number_of(audit.at("changes").as_array()[0], "up_to") > 0);
  CHECK(flag_of(audit.at("changes").as_array()[1], "dead"));
}

TEST_CASE("what a purge that was cut by kill -9 has left is purged when it is asked again") {
  server_process own;
  constexpr std::uint64_t count = 12'000;
  {
    std::vector<std::future<std::uint64_t>> producers;
    for (int i = 0; i < 24; ++i) {
      producers.push_back(std::async(std::launch::async, [&] {
        work q{own.where(), "purge"};
        std::uint64_t made = 0;
        for (std::uint64_t n = 0; n < count / 24; ++n)
          made += q.try_push({{"payload", "x"}}).status == 201 ? 1 : 0;
        return made;
      }));
    }
    std::uint64_t made = 0;
    for (auto& each : producers)
      made += each.get();
    REQUIRE(made == count);
  }
  work q{own.where(), "purge"};
  const auto depth = [](work& of) { return number_of(of.describe(), "depth"); };
  REQUIRE(depth(q) == count);
  auto cut = std::async(std::launch::async, [&] {
    try {
      work other{own.where(), "purge"};
      (void)other.http().post(other.path("/purge"), "{}");
    } catch (const std::exception&) {
      // The node is gone.
    }
  });
  while (depth(q) == count) {
  }
  own.kill();
  cut.get();
  own.start();
  work again{own.where(), "purge"};
  const auto left = depth(again);
  CHECK(left > 0);
  CHECK(left < count);
  const auto done = again.http().post(again.path("/purge"), "{}");
  CHECK(number_of(done.json(), "count") == left);
  CHECK(depth(again) == 0);
  again.push("new");
  CHECK(again.lease(5).size() == 1);
}

TEST_CASE("a dead letter can be given up") {
  work q{node().where(), "abandon"};
  const auto id = q.push("hopeless");
  const auto task = q.lease(1).at(0);
  CHECK(flag_of(q.end(task, "fail", R"({"retryable":false})").json(), "dead"));
  const auto gone =
      q.http().post(q.path("/dead/abandon"), json::serialize(json::object{{"tasks", {id}}}));
  CHECK(number_of(gone.json(), "count") == 1);
  CHECK(q.http().get(q.path("/tasks/" + std::to_string(id))).status == 404);
  CHECK(number_of(q.describe(), "dead") == 0);
}

TEST_CASE("kill -9 loses no task and no lease, and makes no lease good again") {
  server_process own;
  constexpr int count = 60;
  std::set<std::uint64_t> open;
  std::vector<leased> held;
  std::uint64_t fencing = 0;
  leased stale;
  {
    work q{own.where(), "kill"};
    for (int i = 0; i < count; ++i)
      open.insert(q.push(i));
    held = q.lease(20, 0, 2000);
    REQUIRE(held.size() == 20);
    for (const auto& each : held)
      fencing = std::max(fencing, each.fencing);
    for (int i = 0; i < 10; ++i) {
      REQUIRE(q.end(held.back(), "complete").status == 204);
      open.erase(held.back().task);
      stale = held.back();
      held.pop_back();
    }
  }
  own.kill();
  own.start();
  work q{own.where(), "kill"};
  CHECK(number_of(q.describe(), "in_flight") == 10);
  CHECK(number_of(q.describe(), "depth") == count - 20);
  CHECK(q.end(stale, "complete").code() == "lease_lost");
  // Given out before the crash, and still good.
  CHECK(q.end(held[0], "complete").status == 204);
  open.erase(held[0].task);
  while (!open.empty()) {
    const auto tasks = q.lease(10, 10'000);
    INFO(open.size() << " tasks left");
    REQUIRE_FALSE(tasks.empty());
    for (const auto& each : tasks) {
      CHECK(open.contains(each.task));
      CHECK(each.fencing > fencing);
      REQUIRE(q.end(each, "complete").status == 204);
      open.erase(each.task);
    }
  }
  // What was out at the crash has run out and passed on.
  CHECK(q.end(held[1], "complete").code() == "lease_lost");
  CHECK(q.lease(1).empty());
  CHECK(number_of(q.describe(), "in_flight") == 0);
}

TEST_CASE("queues tell their backlog and its age") {
  work q{node().where(), "seen"};
  q.push("x");
  REQUIRE(eventually([&] { return number_of(q.describe(), "oldest_age_ms") > 100; }));
  REQUIRE(eventually([&] {
    const auto text = q.http().http().get("/metrics").body;
    return text.contains(R"(callboard_tasks{state="waiting"})")
           && text.contains("callboard_tasks_enqueued_total");
  }));
  const auto list = q.http().get("/queues").json();
  bool is_listed = false;
  for (const auto& each : list.at("queues").as_array())
    is_listed = is_listed || text_of(each, "queue") == "seen";
  CHECK(is_listed);
  CHECK(q.http().del(q.path("")).status == 204);
  CHECK(q.http().get(q.path("")).status == 404);
}

TEST_CASE("a worker on a WebSocket gets tasks pushed, and leaves none behind") {
  work q{node().where(), "pushed"};
  {
    websocket_client worker{node().where()};
    const auto started = worker.ask({{"op", "work"}, {"queue", "pushed"}, {"credits", 2}});
    REQUIRE(text_of(started, "op") == "ok");
    for (int i = 0; i < 4; ++i)
      q.push(i);
    const auto first = worker.next_op("task");
    const auto second = worker.next_op("task");
    CHECK(first.at("payload").as_int64() == 0);
    CHECK(second.at("payload").as_int64() == 1);
    CHECK_THROWS(worker.next(300ms));
    const auto done = worker.ask({{"op", "complete"}, {"lease", text_of(first, "lease")}});
    CHECK(text_of(done, "op") == "ok");
    const auto third = worker.next_op("task");
    CHECK(third.at("payload").as_int64() == 2);
    const auto lost = worker.ask({{"op", "complete"}, {"lease", text_of(first, "lease")}});
    CHECK(text_of(lost, "code") == "lease_lost");
    const auto extended =
        worker.ask({{"op", "extend"}, {"lease", text_of(third, "lease")}, {"lease_ms", 60'000}});
    CHECK(number_of(extended, "lease_ms") == 60'000);
    worker.cut();
  }
  // Its two leases are released, not waited for.
  REQUIRE(eventually([&] { return number_of(q.describe(), "in_flight") == 0; }));
  const auto rest = q.lease(5, 2000);
  REQUIRE(rest.size() == 3);
  CHECK(rest[0].payload.as_int64() == 3);
  CHECK(rest[1].attempt == 2);
}

TEST_CASE("workers that do not read take neither memory nor tasks from others") {
  constexpr std::uint64_t budget = 8 << 20;
  constexpr std::size_t count = 100;
  const server_process small{
      {.arguments = {"--set", "node.payload_bytes_max=" + std::to_string(budget)}}};
  work q{small.where(), "deaf"};
  const json::string large(900'000, 'x');
  std::set<std::uint64_t> open;
  for (std::size_t i = 0; i < count; ++i)
    open.insert(q.push(large));
  const auto held_bytes = [&] {
    const std::string name = "\ncallboard_payload_bytes_in_flight ";
    const auto text = q.http().http().get("/metrics").body;
    const auto at = text.find(name);
    return at == std::string::npos ? 0.0 : std::strtod(text.c_str() + at + name.size(), nullptr);
  };
  {
    const std::string body = R"({"max":100,"lease_ms":2000})";
    std::string asks;
    for (int i = 0; i < 30; ++i) {
      asks += fmt::format(
          "POST {} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}"
          "\r\n\r\n{}",
          q.http().path(q.path("/lease")),
          body.size(),
          body);
    }
    std::vector<socket> deaf;
    for (int i = 0; i < 2; ++i)
      deaf.emplace_back(small.where()).write(asks);
    websocket_client deaf_too{small.where()};
    deaf_too.send_json(
        {{"op", "work"}, {"id", 1}, {"queue", "deaf"}, {"credits", 70}, {"lease_ms", 2000}});
    // What the sockets hold is the system's; what is behind it is charged.
    REQUIRE(eventually([&] { return held_bytes() > 800'000; }));
    CHECK(held_bytes() <= budget / 2.0);
    // The others are still there to be leased, as far as an answer goes.
    const auto next = q.lease(100, 5000);
    REQUIRE(next.size() == 1);
    CHECK(next[0].attempt == 1);
    CHECK(q.end(next[0], "complete").status == 204);
    open.erase(next[0].task);
    deaf_too.cut();
    for (auto& one : deaf)
      one.cut();
  }
  REQUIRE(eventually([&] {
    for (const auto& one : q.lease(100, 500)) {
      CHECK(q.end(one, "complete").status == 204);
      CHECK(open.erase(one.task) == 1);
    }
    return open.empty();
  }));
  CHECK(number_of(q.describe(), "dead") == 0);
  CHECK(number_of(q.describe(), "depth") == 0);
  CHECK(eventually([&] { return held_bytes() == 0; }));
}

TEST_CASE("the example workers do their work, in Python and in a shell") {
  work q{node().where(), "example"};
  CHECK(q.http().put(q.path(""), R"({"attempts_max":1})").status == 201);
  const auto run = [](const std::string& command) {
    return std::system(
        fmt::format(
            "cd {}/examples/plain_worker && CALLBOARD_SERVER={} COUNT=2 timeout 60 {} >/dev/null",
            CALLBOARD_SOURCE_DIR,
            node().url(),
            command)
            .c_str());
  };
  q.push(json::object{{"say", "hello"}});
  q.push(json::object{{"fail", "boom"}});
  CHECK(run("python3 worker.py example --count 2") == 0);
  CHECK(number_of(q.describe(), "dead") == 1);
  const auto letters = q.http().get(q.path("/dead")).json();
  CHECK(text_of(letters.at("tasks").as_array().at(0), "error") == "RuntimeError: boom");
  const auto greeted = q.push(R"(say "hello" \ and a tab	)");
  const auto refused = q.push("no");
  temp_dir folder;
  const auto told = (folder.path() / "told").string();
  CHECK(
      run(fmt::format(
          R"(./worker.sh example sh -c 'echo "$TASK $ATTEMPT $FENCING" >>{}; grep hello')", told))
      == 0);
  // The leases before these were those of the worker in Python; each has a higher number.
  std::ifstream lines{told};
  std::uint64_t fencing = 2;
  for (const auto task : {greeted, refused}) {
    std::uint64_t of = 0;
    std::uint64_t attempt = 0;
    std::uint64_t number = 0;
    CHECK(lines >> of >> attempt >> number);
    CHECK(of == task);
    CHECK(attempt == 1);
    CHECK(number > std::exchange(fencing, number));
  }
  // A name that cannot be one is told in a line, and ends the worker with 1.
  const auto refuses = [&](const std::string& command) {
    return run(fmt::format(
        R"(sh -c 'f=$(mktemp); {} 2>$f; test $? = 1 && test $(wc -l <$f) = 1 &&)"
        R"( grep -q "^refused: " $f; ok=$?; rm $f; exit $ok')",
        command));
  };
  const std::string too_long(300, 'q');
  CHECK(refuses(R"(python3 worker.py "no name")") == 0);
  CHECK(refuses("python3 worker.py " + too_long) == 0);
  CHECK(refuses("python3 worker.py example --server nowhere") == 0);
  CHECK(refuses(R"(./worker.sh "no name" true)") == 0);
  CHECK(refuses("./worker.sh " + too_long + " true") == 0);
  CHECK(number_of(q.describe(), "dead") == 2);
  CHECK(number_of(q.describe(), "depth") == 0);
  CHECK(number_of(q.describe(), "in_flight") == 0);
}

TEST_CASE("an example worker whose output is no text, or is refused, ends the task all the same") {
  work q{node().where(), "broken-output"};
  CHECK(q.http().put(q.path(""), R"({"attempts_max":2})").status == 201);
  temp_dir folder;
  // An `iconv` that lets everything through.
  const auto idle = (folder.path() / "iconv").string();
  std::ofstream{idle} << "#!/bin/sh\nexec cat\n";
  std::filesystem::permissions(idle, std::filesystem::perms::owner_all);
  const auto run = [&](const std::string& command) {
    q.push(1);
    return std::system(
        fmt::format(
            "cd {}/examples/plain_worker && CALLBOARD_SERVER={} COUNT=1 PYTHONDONTWRITEBYTECODE=1 "
            "timeout 60 {} >/dev/null",
            CALLBOARD_SOURCE_DIR,
            node().url(),
            command)
            .c_str());
  };
  const auto is_settled = [&] {
    const auto now = q.describe();
    return number_of(now, "depth") == 0 && number_of(now, "in_flight") == 0;
  };
  const auto last_error = [&] {
    const auto letters = q.http().get(q.path("/dead")).json();
    const auto& tasks = letters.at("tasks").as_array();
    return tasks.empty() ? std::string{} : text_of(tasks.back(), "error");
  };
  SECTION("in a shell") {
    // 4,000 bytes end within a character of three.
    CHECK(run(R"(./worker.sh broken-output sh -c 'yes € | head -n 3000 | tr -d "\n"')") == 0);
    CHECK(run(R"(./worker.sh broken-output printf 'caf\351 \355\240\200 \364\220\200\200')") == 0);
    CHECK(is_settled());
    CHECK(number_of(q.describe(), "dead") == 0);
    const auto fails = R"(./worker.sh broken-output sh -c 'printf "caf\351 is shut"; exit 1')";
    CHECK(run(fails) == 0);
    CHECK(eventually([&] { return number_of(q.describe(), "depth") == 1; }));
    CHECK(number_of(q.describe(), "in_flight") == 0);
    const auto again = q.lease(1, 10'000).at(0);
    CHECK(q.end(again, "fail", R"({"error":"","retryable":false})").status == 200);
    const auto history = q.http().get(q.path("/dead")).json();
    const auto& tries = history.at("tasks").as_array().at(0).at("history").as_array();
    CHECK(text_of(tries.at(0), "error") == "caf is shut");
    CHECK(
        run(fmt::format(
            R"(env PATH="{}:$PATH" ./worker.sh broken-output printf 'caf\351')",
            folder.path().string()))
        == 0);
    CHECK(is_settled());
    CHECK(number_of(q.describe(), "dead") == 2);
    CHECK_THAT(
        last_error(), Catch::StartsWith("the answer (complete) was refused: invalid_json: "));
  }
  SECTION("in Python") {
    const auto run_work = [&](const std::string& body) {
      return run(
          "python3 -c 'import sys, worker; sys.argv[1:] = [\"broken-output\", \"--count\", \"1\"]\n"
          "def work(task, lost): "
          + body + "\nworker.work = work; worker.main()'");
    };
    for (const std::string body : {"return {1}", "return float(\"nan\")"}) {
      const auto dead = number_of(q.describe(), "dead");
      CHECK(run_work(body) == 0);
      CHECK(is_settled());
      CHECK(number_of(q.describe(), "dead") == dead + 1);
      CHECK_THAT(last_error(), Catch::StartsWith("the result is no JSON: "));
    }
    // JSON, but deeper than the server reads.
    CHECK(
        run_work(
            "exec(\"global deep; deep = 1\\nfor _ in range(300): deep = [deep]\"); return deep")
        == 0);
    CHECK(is_settled());
    CHECK_THAT(last_error(), Catch::StartsWith("the answer (complete) was refused: "));
    CHECK(run_work("raise OSError(\"caf\\udce9\")") == 0);
    CHECK(number_of(q.describe(), "in_flight") == 0);
    CHECK(number_of(q.describe(), "depth") == 1);
  }
  CHECK(q.http().del(q.path("")).status == 204);
}

TEST_CASE("SIGTERM does not wait for long polls, and tells them to come again") {
  server_process own;
  work q{own.where(), "drained"};
  CHECK(q.lease(1).empty());
  auto waiting = std::async(std::launch::async, [&] {
    work poller{own.where(), "drained"};
    return poller.http().post(poller.path("/lease"), R"({"wait_ms":25000})");
  });
  REQUIRE(eventually([&] { return number_of(q.describe(), "workers_waiting") == 1; }));
  const auto asked = std::chrono::steady_clock::now();
  CHECK(own.stop() == 0);
  CHECK(std::chrono::steady_clock::now() - asked < 15s);
  const auto answer = waiting.get();
  CHECK(answer.status == 503);
  CHECK(answer.code() == "draining");
}

TEST_CASE("a token opens the queues that its patterns name, and no others") {
  temp_dir folder;
  const auto secret = (folder.path() / "secret").string();
  std::ofstream{secret} << "a shared secret of at least thirty-two bytes";
  server_process own{
      {.command = "serve", .arguments = {"--set", "auth.hs256_secret_file=" + secret}}};
  const auto issue = [&](const std::vector<std::string>& scopes) {
    std::vector<std::string> words{"token", "issue", "--tenant", "acme", "--secret-file", secret};
    words.insert(words.end(), scopes.begin(), scopes.end());
    const auto done = run_callboard(words);
    REQUIRE(done.status == 0);
    return done.out.substr(0, done.out.find('\n'));
  };
  const auto worker = issue({"--work", "llm.*"});
  work mine{own.where(), "llm.fast", worker};
  mine.push(1);
  const auto task = mine.lease(1).at(0);
  work other{own.where(), "billing", worker};
  CHECK(other.try_push({{"payload", 1}}).code() == "forbidden");
  CHECK(other.http().post(other.path("/lease"), "{}").code() == "forbidden");
  CHECK(other.http().get(other.path("")).code() == "forbidden");
  CHECK(other.http().get(other.path("/dead")).code() == "forbidden");
  CHECK(mine.http().put(mine.path(""), "{}").code() == "forbidden");
  CHECK(mine.http().del(mine.path("")).code() == "forbidden");
  work reader{own.where(), "llm.fast", issue({"--subscribe", ">"})};
  CHECK(reader.end(task, "complete").code() == "forbidden");
  CHECK(reader.http().get("/queues").json().at("queues").as_array().empty());
  CHECK(mine.end(task, "complete").status == 204);
  work boss{own.where(), "llm.fast", issue({"--admin"})};
  CHECK(boss.http().put(boss.path(""), R"({"lease_ms":5000})").status == 200);
  CHECK(boss.http().del(boss.path("")).status == 204);
}
