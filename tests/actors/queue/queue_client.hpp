// A producer and worker of task queues on a broker of the test.
#pragma once

#include "tests/actors/topic/virtual_broker.hpp"

#include <string>
#include <vector>

namespace callboard::testing {

using namespace std::chrono_literals;

class queue_client : public virtual_broker {
public:
  using virtual_broker::virtual_broker;

  [[nodiscard]] static queue_ref queue(const std::string& name) {
    return {tenant_name::parse("acme").value(), queue_name::parse(name).value()};
  }

  [[nodiscard]] static actors::enqueue_task
  task(const std::string& name, const std::string& payload) {
    actors::enqueue_task ask{queue(name), {}};
    ask.task.payload = shared_bytes{payload};
    return ask;
  }

  [[nodiscard]] static actors::lease_tasks take(
      const std::string& name,
      std::uint32_t max = 1,
      std::uint32_t wait_ms = 0,
      const std::string& worker = "w") {
    actors::lease_tasks ask{queue(name), {}};
    ask.lease.worker = worker;
    ask.lease.max = max;
    ask.lease.wait_ms = wait_ms;
    return ask;
  }

  [[nodiscard]] static actors::complete_task
  done_with(const actors::leased_task& task, const std::string& tenant = "acme") {
    actors::complete_task ask{tenant_name::parse(tenant).value(), {}};
    ask.complete.lease = task.lease;
    return ask;
  }

  [[nodiscard]] static actors::fail_task
  failed(const actors::leased_task& task, bool is_retryable = true) {
    actors::fail_task ask{queue("q").tenant, {}};
    ask.fail.lease = task.lease;
    ask.fail.error = "no luck";
    ask.fail.is_retryable = is_retryable;
    return ask;
  }

  template <class Answer>
  [[nodiscard]] Answer get(actors::control_body body) {
    return of<Answer>(ask(std::move(body)));
  }

  /// Lets everything happen until the answer is there. Reads and appends may need time.
  template <class Answer>
  [[nodiscard]] Answer of(std::uint64_t id) {
    settle();
    for (int i = 0; i < 100 && !got.answered.contains(id); ++i)
      advance(50ms);
    REQUIRE(got.answered.contains(id));
    const auto& answer = got.answered.at(id);
    if (!answer) FAIL(answer.error().detail);
    REQUIRE(std::holds_alternative<Answer>(*answer));
    return std::get<Answer>(*answer);
  }

  [[nodiscard]] errc refusal(actors::control_body body) {
    const auto id = ask(std::move(body));
    settle();
    for (int i = 0; i < 100 && !got.answered.contains(id); ++i)
      advance(50ms);
    REQUIRE(got.answered.contains(id));
    REQUIRE_FALSE(got.answered.at(id));
    return got.answered.at(id).error().code;
  }

  std::uint64_t push(const std::string& name, const std::string& payload) {
    return get<runtime::enqueued_task>(task(name, payload)).task.raw();
  }

  [[nodiscard]] std::vector<actors::leased_task> lease(const std::string& name, std::uint32_t max) {
    return get<actors::leased_tasks>(take(name, max)).tasks;
  }

  [[nodiscard]] actors::queue_description describe(const std::string& name) {
    return get<actors::queue_description>(actors::get_queue{queue(name)});
  }

  [[nodiscard]] static std::vector<std::string>
  payloads(const std::vector<actors::leased_task>& tasks) {
    std::vector<std::string> all;
    for (const auto& one : tasks)
      all.emplace_back(one.payload.view());
    return all;
  }

  [[nodiscard]] static std::uint64_t depth(const actors::queue_description& queue) {
    std::uint64_t sum = 0;
    for (const auto count : queue.waiting)
      sum += count;
    return sum;
  }
};

}  // namespace callboard::testing
