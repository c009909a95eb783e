// A call between its admission and its end.
#pragma once

#include "base/ids.hpp"
#include "model/adaptive_limit.hpp"
#include "model/chat_body.hpp"
#include "model/chat_client.hpp"
#include "model/retry_state.hpp"
#include "model/transfer.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::model {

class provider;

enum class call_phase : std::uint8_t {
  /// Waits for its turn at a provider.
  ready = 1,
  /// Waits until its next attempt is due.
  backing_off = 2,
  in_flight = 3,
  /// An attempt has ended, and what comes next is not decided.
  between = 4,
  /// Waits until the provider wants to be asked.
  held = 5,
};

/// Owned by the dispatcher; touched by the client's thread only.
struct call {
  call(call_id with, chat_callbacks told, shared_body what, retry_settings retry)
      : id{with}, callbacks{std::move(told)}, body{std::move(what)}, retries{retry} {}

  call_id id;
  chat_callbacks callbacks;
  shared_body body;
  std::string tenant;
  /// What it began with; a fallback without a default model is asked for it, too.
  std::string model;
  std::string idempotency_key;
  boot_time began{};
  boot_time deadline{};
  /// Of `chat_request`.
  std::optional<std::chrono::milliseconds> wait_max;

  /// Whom to ask: the first, then its fallbacks; `at` counts on.
  std::vector<provider*> chain;
  std::size_t at = 0;
  retry_state retries;

  call_phase phase = call_phase::between;
  /// When it became ready, when its attempt began, or until when it rests.
  boot_time since{};
  std::uint32_t attempt = 0;
  std::uint64_t delta_index = 0;
  std::unique_ptr<transfer> running;
  adaptive_limit::generation began_after = 0;
  std::optional<failure> last_failure;
  /// The most hopeful of those for which providers were left.
  std::optional<failure> hopeful;
  /// Its entry among the timers.
  boot_time armed{};

  /// Bytes that it is charged with while it waits.
  [[nodiscard]] std::uint64_t size() const { return body.members.size(); }

  [[nodiscard]] bool rests() const {
    return phase == call_phase::backing_off || phase == call_phase::held;
  }

  [[nodiscard]] provider& where() const { return *chain[at]; }
};

}  // namespace callboard::model
