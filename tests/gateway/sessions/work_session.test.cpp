// Task queues over a WebSocket: who holds which leases, and how many more may come.
#include "tests/gateway/sessions/fixture.hpp"

#include <set>

using namespace callboard;
using namespace callboard::gateway;
using namespace std::chrono_literals;
using callboard::testing::one_client;
using Catch::Contains;

namespace {

struct queue_worker : one_client {
  queue_worker() { who.work = {"llm.>"}; }

  void ask(const std::string& frame) {
    send(frame);
    work();
  }

  void start(std::uint64_t credits, const std::string& more = {}) {
    ask(R"({"op":"work","id":1,"queue":"llm.a","credits":)" + std::to_string(credits) + more + '}');
    CHECK(only_frame() == R"({"op":"ok","id":1})");
  }

  const runtime::lease_command& last_lease() {
    for (auto at = controls.rbegin(); at != controls.rend(); ++at) {
      if (const auto* lease = std::get_if<actors::lease_tasks>(&at->body)) return lease->lease;
    }
    FAIL("nothing was leased");
    return std::get<actors::lease_tasks>(controls.front().body).lease;
  }

  [[nodiscard]] std::size_t leases() const { return asked_count<actors::lease_tasks>(); }

  /// The queue gives these leases, of 5 s.
  void give(const std::vector<std::string>& tokens, const std::string& payload = R"({"n":1})") {
    actors::leased_tasks list;
    for (const auto& token : tokens) {
      actors::leased_task task;
      task.lease = token;
      task.task = runtime::task_id{7};
      task.lease_ms = 5000;
      task.payload = shared_bytes{payload};
      list.tasks.push_back(std::move(task));
    }
    reply<actors::lease_tasks>(std::move(list));
  }
};

}  // namespace

TEST_CASE_METHOD(queue_worker, "a worker holds at most its credits", "[ws][work]") {
  begin();
  start(3, R"(,"lease_ms":9000)");
  CHECK(last_lease().max == 3);
  CHECK(last_lease().lease_ms == 9000);
  CHECK(last_lease().worker == "c1");
  give({"l1", "l2"});
  const auto told = frames();
  REQUIRE(told.size() == 2);
  CHECK_THAT(
      told[0], Contains(R"({"op":"task","queue":"llm.a","task":7,"lease":"l1","fencing":0)"));
  CHECK_THAT(told[0], Contains(R"("payload":{"n":1})"));
  CHECK(last_lease().max == 1);
  give({"l3"});
  CHECK(frames().size() == 1);
  CHECK(leases() == 2);

  SECTION("what is completed brings one more") {
    ask(R"({"op":"complete","id":2,"lease":"l2","result":{"ok":true}})");
    CHECK(leases() == 3);
    CHECK(last_lease().max == 1);
    reply<actors::complete_task>(actors::done{});
    CHECK(only_frame() == R"({"op":"ok","id":2})");
    ask(R"({"op":"complete","id":3,"lease":"l2"})");
    CHECK(leases() == 3);
  }
  SECTION("a result that nobody could compute with is refused, and the lease stays") {
    ask(R"({"op":"complete","id":2,"lease":"l2","result":[1e400]})");
    CHECK_THAT(only_frame(), Contains("invalid_json") && Contains("no double holds"));
    CHECK(leases() == 2);
  }
  SECTION("what failed too") {
    ask(R"({"op":"fail","id":2,"lease":"l1","error":"boom","retryable":false})");
    CHECK(leases() == 3);
    reply<actors::fail_task>(runtime::task_failed{true, {}});
    CHECK(only_frame() == R"({"op":"ok","id":2,"dead":true,"retry_at":null})");
  }
  SECTION("a lease that ran out frees its credit, unless it was extended") {
    tick_after(4s);
    ask(R"({"op":"extend","id":2,"lease":"l1"})");
    reply<actors::extend_lease>(runtime::lease_extended{5000});
    CHECK(only_frame() == R"({"op":"ok","id":2,"lease_ms":5000})");
    tick_after(2s);
    CHECK(leases() == 3);
    CHECK(last_lease().max == 2);
  }
  SECTION("who stops gets no more, and what comes all the same is given back") {
    ask(R"({"op":"complete","id":2,"lease":"l1"})");
    start(0);
    give({"late"});
    CHECK(frames().empty());
    const auto& back = last_asked<actors::fail_task>().fail;
    CHECK(back.lease == "late");
    CHECK(back.retry_after_ms == 0);
  }
}

TEST_CASE_METHOD(
    queue_worker, "who does not read gets no more than its output holds", "[ws][work]") {
  settings.limits.output_bytes_max = 2000;
  begin();
  start(10);
  CHECK(last_lease().bytes_max > 0);
  CHECK(last_lease().bytes_max <= 2000);
  socket.blocked = true;
  give({"l1", "l2", "l3", "l4"}, '"' + std::string(1500, 'x') + '"');
  // Two are more than there is room for; the others are nobody's.
  std::set<std::string> back;
  for (const auto& one : controls) {
    const auto* declined = std::get_if<actors::fail_task>(&one.body);
    if (declined == nullptr) continue;
    CHECK(declined->fail.retry_after_ms == 0);
    back.insert(declined->fail.lease);
  }
  CHECK(back == std::set<std::string>{"l3", "l4"});
  tick_after(1s);
  CHECK(leases() == 1);
  socket.blocked = false;
  stream->release();
  run();
  CHECK(frames().size() == 2);
  // At once, not with the next tick.
  CHECK(leases() == 2);
  CHECK(last_lease().max == 8);
}

TEST_CASE_METHOD(queue_worker, "what a connection holds is released when it ends", "[ws][work]") {
  begin();
  start(2);
  const auto seen = last_lease().poll;
  give({"l1"});
  const auto under_way = last_lease().poll;
  CHECK(under_way != seen);
  socket.peer_gone = true;
  work();
  CHECK(ended);
  const auto& leave = last_asked<actors::leave_queue>();
  CHECK(leave.leases == actors::left_leases::released);
  // What comes for the second question nobody sees.
  CHECK(leave.unseen == std::vector{under_way});
  CHECK(leave.worker == "c1");
  CHECK(leave.queue.queue.str() == "llm.a");
}

TEST_CASE_METHOD(queue_worker, "a worker is called by its name and its connection", "[ws][work]") {
  begin();
  start(1, R"(,"worker":"gpu-3")");
  CHECK(last_lease().worker == "gpu-3~c1");
  // What it has under that name stays so.
  start(2, R"(,"worker":"gpu-4")");
  give({"l1"});
  CHECK(last_lease().worker == "gpu-3~c1");
  ask(R"({"op":"work","id":2,"queue":"llm.b","credits":1,"worker":"\u0007"})");
  CHECK_THAT(frames().back(), Contains("bad_request") || Contains("invalid_name"));
  socket.peer_gone = true;
  work();
  CHECK(last_asked<actors::leave_queue>().worker == "gpu-3~c1");
}

TEST_CASE_METHOD(queue_worker, "a node that goes takes no task from a worker", "[ws][work]") {
  begin();
  start(2);
  give({"l1"});
  ask(R"({"op":"work","id":2,"queue":"llm.idle","credits":1})");
  frames();
  SECTION("it says so first") {
    current->on_drain(0ms);
    run();
    CHECK(close_code_of(frames().back()) == 1001);
    SECTION("and ends by itself") {
      tick_after(3s);
    }
    SECTION("and the worker closes") {
      send(std::string{"\x03\xE9", 2}, 0x88);
      work();
    }
  }
  SECTION("it ends without a word") {
    current->on_stop();
    run();
  }
  CHECK(ended);
  // Nobody waits any more, and what is in hand stays there.
  std::map<std::string, bool> kept;
  for (const auto& one : controls) {
    const auto* leave = std::get_if<actors::leave_queue>(&one.body);
    if (leave == nullptr) continue;
    kept[leave->queue.queue.str()] = leave->leases == actors::left_leases::kept;
  }
  CHECK(kept == std::map<std::string, bool>{{"llm.a", true}, {"llm.idle", false}});
}

TEST_CASE_METHOD(
    queue_worker, "a task that comes to a node that goes is given back", "[ws][work]") {
  begin();
  start(2);
  current->on_drain(0ms);
  run();
  give({"late"});
  const auto& back = last_asked<actors::fail_task>().fail;
  CHECK(back.lease == "late");
  CHECK(back.retry_after_ms == 0);
}

TEST_CASE_METHOD(queue_worker, "leases that ran out are not kept for anybody", "[ws][work]") {
  begin();
  start(2);
  give({"l1"});
  time.advance(6s);
  current->on_stop();
  run();
  CHECK(last_asked<actors::leave_queue>().queue.queue.str() == "llm.a");
}

TEST_CASE_METHOD(queue_worker, "what comes when its time is over is given back", "[ws][work]") {
  begin();
  start(1);
  const auto late = controls.back().correlation;
  tick_after(51s);
  frames();
  // Nobody waits for the first one any more, and what else the worker has stays its own.
  const auto* left = std::get_if<actors::leave_queue>(&controls.at(controls.size() - 2).body);
  REQUIRE(left != nullptr);
  CHECK(left->worker == "c1");
  CHECK(left->leases == actors::left_leases::kept);
  CHECK(left->unseen == std::vector{late.raw()});
  CHECK(leases() == 2);
  actors::leased_tasks list;
  list.tasks.emplace_back().lease = "late";
  actors::control_reply told{late, actors::control_answer{list}};
  current->on_control_reply(told);
  run();
  CHECK(frames().empty());
  CHECK(last_asked<actors::fail_task>().fail.lease == "late");
  CHECK(last_asked<actors::fail_task>().fail.retry_after_ms == 0);
  give({"l1"});
  CHECK(frames().size() == 1);
}

TEST_CASE_METHOD(queue_worker, "a worker survives a busy broker, not a lost queue", "[ws][work]") {
  begin();
  start(1);
  reply<actors::lease_tasks>(fail(errc::overloaded, "later"));
  CHECK(frames().empty());
  tick_after(1s);
  CHECK(leases() == 2);
  give({});
  CHECK(leases() == 3);
  reply<actors::lease_tasks>(fail(errc::queue_not_found, "the queue was deleted"));
  CHECK_THAT(
      only_frame(), Contains(R"("code":"queue_not_found","detail":"queue llm.a: the queue)"));
  tick_after(1s);
  CHECK(leases() == 3);
}

TEST_CASE_METHOD(queue_worker, "a queue that is full is asked when it says so", "[ws][work]") {
  begin();
  start(1);
  reply<actors::lease_tasks>(fail(errc::overloaded, "1000 requests are waiting", 1000));
  tick_after(900ms);
  CHECK(leases() == 1);
  tick_after(100ms);
  CHECK(leases() == 2);
}

TEST_CASE_METHOD(
    queue_worker, "what a worker holds is released, also after its work was ended", "[ws][work]") {
  begin();
  start(2);
  give({"l1"});
  frames();
  reply<actors::lease_tasks>(fail(errc::corruption, "a record is missing"));
  CHECK_THAT(only_frame(), Contains(R"("code":"corruption")"));
  SECTION("when it goes") {
    tick_after(1s);
    CHECK(leases() == 2);
    socket.peer_gone = true;
    work();
    CHECK(last_asked<actors::leave_queue>().worker == "c1");
  }
  SECTION("and it may try again") {
    start(2);
    CHECK(leases() == 3);
    CHECK(last_lease().max == 1);
  }
}

TEST_CASE_METHOD(queue_worker, "work is checked first", "[ws][work]") {
  begin();
  const std::vector<std::pair<std::string, std::string>> samples{
      {R"({"op":"work","id":1,"queue":"other","credits":1})", "forbidden"},
      {R"({"op":"work","id":1,"queue":"a/b","credits":1})", "invalid_name"},
      {R"({"op":"work","id":1,"queue":"llm.a"})", "bad_request"},
      {R"({"op":"work","id":1,"queue":"llm.a","credits":1,"lease_ms":0})", "bad_request"},
      {R"({"op":"complete","id":1})", "bad_request"},
      {R"({"op":"complete","id":1,"lease":"l","result":{]})", "invalid_json"},
      {R"({"op":"fail","id":1,"lease":"l","retryable":"no"})", "bad_request"},
  };
  for (const auto& [frame, code] : samples) {
    INFO(frame);
    ask(frame);
    CHECK_THAT(only_frame(), Contains("\"code\":\"" + code + '"'));
  }
  CHECK(controls.empty());
}

TEST_CASE_METHOD(one_client, "without the scope there is no work", "[ws][work]") {
  begin();
  for (const auto* frame :
       {R"({"op":"work","id":1,"queue":"q","credits":1})",
        R"({"op":"complete","id":1,"lease":"l"})",
        R"({"op":"extend","id":1,"lease":"l"})"}) {
    send(frame);
    work();
    CHECK_THAT(only_frame(), Contains(R"("code":"forbidden")"));
  }
  CHECK(controls.empty());
}
