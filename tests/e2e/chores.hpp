// What the workflow of tests/e2e/every_command needs beside its node: a worker of the queue
// `chores` and a provider of models.
#pragma once

#include "tests/e2e/broker.hpp"
#include "tests/support/chat_provider.hpp"
#include "tests/support/unmarked.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::testing {

/// Command line of a node that asks `provider`.
inline std::vector<std::string> asking(const chat_provider& provider) {
  return {
      "--set",
      "models.order=main",
      "--set",
      "models.main.default_model=test-model",
      "--set",
      "models.main.backoff_min_ms=10",
      "--set",
      "models.main.backoff_max_ms=50",
      "--set",
      "models.main.use_proxy=false",
      "--set",
      "models.main.base_url=" + provider.base_url()};
}

/// What a worker has done.
struct chores_done {
  /// How often each task came, by its id.
  std::map<std::uint64_t, int> given;
  /// Those whose end the node has answered for.
  std::set<std::uint64_t> ended;
  /// Tasks of `ended` that came again.
  int given_again = 0;
};

/// Doubles the payloads of the tasks that come within `wait_ms`; adds them to `chores`.
inline void do_chores(broker& node, chores_done& chores, int wait_ms = 0) {
  const auto ask = R"({"max":10,"lease_ms":30000,"wait_ms":)" + std::to_string(wait_ms) + "}";
  const auto leased = node.post("/queues/chores/lease", ask);
  if (leased.status != 200) return;
  for (const auto& task : leased.json().at("tasks").as_array()) {
    const auto id = number_of(task, "task");
    ++chores.given[id];
    if (chores.ended.contains(id)) ++chores.given_again;
    const auto result = json::serialize(json::object{{"result", 2 * number_of(task, "payload")}});
    // A lease that is lost meanwhile is leased again.
    const auto ended = node.post("/leases/" + text_of(task, "lease") + "/complete", result);
    if (ended.status == 200) chores.ended.insert(id);
  }
}

/// The whole id of the child of type `piece` that a test knows but for its mark; else empty.
inline std::string child_named(broker& node, std::string_view unmarked_id) {
  for (const auto& one : node.get("/workflows?type=piece").json().at("workflows").as_array()) {
    auto id = text_of(one, "id");
    if (unmarked(id) == unmarked_id) return id;
  }
  return {};
}

}  // namespace callboard::testing
