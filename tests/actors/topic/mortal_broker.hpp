// A broker with workflows that is killed at each position of its journal in turn: the journal
// commits one group after the other, and after a given number of them the node dies and starts
// again.
#pragma once

#include "actors/queue_reads.hpp"
#include "actors/run_reads.hpp"

#include "tests/actors/topic/virtual_broker.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

inline bool says(const std::string& text, std::string_view what) {
  INFO(text);
  return text.find(what) != std::string::npos;
}

/// A node that dies after so many commits of its journal, and starts again.
struct mortal_broker {
  explicit mortal_broker(std::size_t life = SIZE_MAX, model::chat_calls* models = nullptr)
      : left{life}, broker{{}, &code, nullptr, models} {}

  void die() {
    left = SIZE_MAX;
    was_killed = true;
    if (on_death) on_death();
    broker.crash();
  }

  /// Everything, until the node dies; true once it has died or nothing is left to do.
  bool live() {
    while (true) {
      broker.run();
      if (broker.journal.queued() == 0) return false;
      if (left == 0) {
        die();
        continue;
      }
      --left;
      broker.journal.commit(1);
    }
  }

  /// Asks until it is answered otherwise than that the node cannot now.
  result<control_answer> ask(const control_body& body) {
    for (int tries = 0; tries < 100; ++tries) {
      const auto id = broker.ask(body);
      live();
      const auto answer = broker.got.answered.find(id);
      const bool is_final = answer != broker.got.answered.end()
                            && (answer->second || !is_retryable(answer->second.error().code));
      if (is_final) return answer->second;
      pass(200ms);
    }
    FAIL("no answer");
    return fail(errc::internal, "not reached");
  }

  template <class Answer>
  Answer get(const control_body& body) {
    auto answer = ask(body);
    if (!answer) FAIL(answer.error().detail);
    return std::get<Answer>(*std::move(answer));
  }

  /// Lets time pass.
  void pass(std::chrono::milliseconds by) {
    for (std::chrono::milliseconds done{0}; done < by; done += 50ms) {
      live();
      broker.tick(50ms);
    }
    live();
  }

  bool comes(const std::function<bool()>& so) {
    for (int i = 0; i < 100; ++i) {
      if (so()) return true;
      pass(200ms);
    }
    return false;
  }

  void begin(const std::string& id, const std::string& of, const std::string& input = "null") {
    (void)get<workflow_answer>(start_workflow{channel(id), of, input, {}, {}});
  }

  void signal(const std::string& id, const std::string& name) {
    (void)ask(signal_workflow{channel(id), name, "7", name});
  }

  std::string shown(const std::string& id) {
    auto answer = ask(get_workflow{channel(id)});
    return answer ? std::get<workflow_answer>(*answer).body : std::string{answer.error().detail};
  }

  std::string explained(const std::string& id) {
    return get<workflow_answer>(explain_workflow{channel(id)}).body;
  }

  std::uint64_t open_tasks() {
    const auto answer = ask(get_queue{queue()});
    if (!answer) return 0;
    const auto described = std::get<queue_description>(*answer);
    std::uint64_t sum = described.leased;
    for (const auto count : described.waiting)
      sum += count;
    return sum;
  }

  /// As it is on disk, if it is; nobody is woken by it.
  runtime::workflow_row row(const std::string& id) {
    auto reader = broker.journal.read(broker.shard_of("workflow." + id));
    return read_workflow_row(**reader, channel(id)).value().value_or(runtime::workflow_row{});
  }

  static topic_ref channel(const std::string& id) {
    return virtual_broker::topic("workflow." + id);
  }

  static queue_ref queue() { return {channel("x").tenant, queue_name::parse("llm").value()}; }

  void complete_task() {
    lease_tasks ask_one{queue(), {}};
    ask_one.lease.worker = "w";
    ask_one.lease.lease_ms = 60'000;
    const auto leased = get<leased_tasks>(ask_one).tasks;
    REQUIRE(leased.size() == 1);
    complete_task_as(leased[0].lease);
  }

  void complete_task_as(const std::string& lease) {
    actors::complete_task done{queue().tenant, {}};
    done.complete.lease = lease;
    done.complete.result = "5";
    (void)get<actors::done>(done);
  }

  /// Before the node starts again.
  std::function<void()> on_death;
  /// Commits until the node is killed.
  std::size_t left;
  bool was_killed = false;
  runtime::workflow_registry code;
  virtual_broker broker;
};

}  // namespace callboard::testing
