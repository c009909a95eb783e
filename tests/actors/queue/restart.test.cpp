// Task queues over a restart of the node, on the real journal.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/eventually.hpp"

namespace callboard::testing {

namespace {

class queue_restart : public broker_fixture {
public:
  template <class Answer>
  [[nodiscard]] Answer get(actors::control_body body) {
    auto answer = ask(std::move(body));
    if (!answer) FAIL(answer.error().detail);
    REQUIRE(std::holds_alternative<Answer>(*answer));
    return std::get<Answer>(*answer);
  }

  [[nodiscard]] static actors::enqueue_task task(const std::string& payload) {
    actors::enqueue_task ask{which(), {}};
    ask.task.payload = shared_bytes{payload};
    return ask;
  }

  [[nodiscard]] std::vector<actors::leased_task>
  lease(std::uint32_t max, std::uint32_t lease_ms, std::uint32_t wait_ms = 0) {
    actors::lease_tasks ask{which(), {}};
    ask.lease.worker = "w";
    ask.lease.max = max;
    ask.lease.lease_ms = lease_ms;
    ask.lease.wait_ms = wait_ms;
    return get<actors::leased_tasks>(ask).tasks;
  }

  [[nodiscard]] result<actors::control_answer> complete(const actors::leased_task& task) {
    actors::complete_task done{which().tenant, {}};
    done.complete.lease = task.lease;
    return ask(done);
  }

  [[nodiscard]] actors::queue_description describe() {
    return get<actors::queue_description>(actors::get_queue{which()});
  }

  [[nodiscard]] static queue_ref which() {
    return {topic("x").tenant, queue_name::parse("llm").value()};
  }
};

}  // namespace

TEST_CASE_METHOD(
    queue_restart, "a queue is as it was after a restart, leases included", "[actors][queue]") {
  for (int i = 1; i <= 6; ++i)
    (void)get<runtime::enqueued_task>(task("t" + std::to_string(i)));
  const auto held = lease(3, 60'000);
  REQUIRE(held.size() == 3);
  REQUIRE(complete(held[0]));
  restart();
  const auto described = describe();
  CHECK(described.leased == 2);
  CHECK(described.waiting[2] == 3);
  // A token given out before is still good, and one of a completed task is not.
  CHECK(complete(held[1]));
  const auto late = complete(held[0]);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::lease_lost);
  const auto more = lease(10, 60'000);
  REQUIRE(more.size() == 3);
  CHECK(more[0].payload.view() == "t4");
  CHECK(more[0].fencing > held[2].fencing);
}

TEST_CASE_METHOD(
    queue_restart, "a lease that was out when the node ended runs out again", "[actors][queue]") {
  (void)get<runtime::enqueued_task>(task("one"));
  const auto held = lease(1, 1500);
  REQUIRE(held.size() == 1);
  restart();
  // Nobody asks for the queue; its lease ends all the same.
  const auto again = lease(1, 60'000, 20'000);
  REQUIRE(again.size() == 1);
  CHECK(again[0].attempt == 2);
  CHECK(again[0].payload.view() == "one");
  CHECK_FALSE(complete(held[0]));
  CHECK(complete(again[0]));
}

TEST_CASE_METHOD(
    queue_restart, "a backlog that fits no window is worked off in order", "[actors][queue]") {
  constexpr int count = 3000;
  const std::string filling(2048, 'x');
  for (int i = 0; i < count; ++i)
    (void)get<runtime::enqueued_task>(task(std::to_string(i) + " " + filling));
  restart();
  int next = 0;
  while (next < count) {
    const auto tasks = lease(500, 60'000, 1000);
    REQUIRE_FALSE(tasks.empty());
    for (const auto& one : tasks) {
      REQUIRE(std::stoi(std::string{one.payload.view()}) == next++);
      REQUIRE(complete(one));
    }
  }
  CHECK(lease(1, 1000).empty());
}

}  // namespace callboard::testing
