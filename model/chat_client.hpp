// Asks models: OpenAI-compatible chat completions over libcurl, on one thread of its own.
//
// A call is admitted or refused at once. It then waits for its turn at a provider (adaptive_limit),
// is sent, and is told of by callbacks; failures are tried again or left to a fallback by
// retry_state. Nothing here survives a restart: who needs that asks again under the same
// idempotency key.
#pragma once

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/metrics.hpp"
#include "base/strong_id.hpp"
#include "model/chat.hpp"
#include "model/failure.hpp"
#include "model/settings.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::model {

using call_id = counter_id<struct call_id_tag>;

/// Called on the client's thread, in this order: for each attempt `on_attempt`, then its deltas;
/// `on_done` once, as the last. They must not block or throw; they may start and cancel calls.
/// Those that are empty are not called, except that `on_done` must be there.
struct chat_callbacks {
  /// Attempt 1, 2, 3...; what came of an earlier one is void.
  std::move_only_function<void(std::uint32_t attempt)> on_attempt;
  /// `index` counts 0, 1, 2... in each attempt. `text` is valid during the call only.
  std::move_only_function<void(std::uint32_t attempt, std::uint64_t index, std::string_view text)>
      on_delta;
  std::move_only_function<void(chat_outcome outcome)> on_done;
  /// The attempt has failed, or the provider wants no request (0: nobody was asked so far), and the
  /// next one, perhaps elsewhere, comes at `next` or after it.
  std::move_only_function<void(std::uint32_t attempt, const failure& why, boot_time next)>
      on_pause = nullptr;
};

/// What a client stands on; all of it outlives the client.
struct client_parts {
  const clock& time;
  /// The clock also outlives the last `expose`.
  metrics& counters;
  /// For jitter; called on the client's thread only.
  std::function<std::uint64_t()> random;
};

struct provider_stats {
  std::string provider;
  /// Calls that wait for their turn, and for how long the first of them has.
  std::uint32_t queue_depth = 0;
  std::chrono::milliseconds oldest_age{0};
  /// Calls between two attempts, or for which the provider named a time.
  std::uint32_t backing_off = 0;
  std::uint32_t in_flight = 0;
  /// For one model; the lowest of all.
  std::uint32_t concurrency_limit = 0;
  /// For how long some tenant sends it no request for some model because it said so.
  std::chrono::milliseconds held{0};
};

/// What starts and ends calls: a `chat_client`, or what stands for one in tests. Any thread.
class chat_calls {
public:
  virtual ~chat_calls() = default;

  /// Errors, and then no callback is called: bad_request, not_found (no such provider, or no
  /// model: neither named nor a default of the provider), too_large, overloaded (the provider's
  /// queue is full; retry after the hint), draining (stopped).
  [[nodiscard]] virtual result<call_id>
  start(const chat_request& request, chat_callbacks callbacks) = 0;

  /// Whether somebody can be asked for what names these, each perhaps empty, as a request does.
  /// Errors: not_found, as from `start`.
  [[nodiscard]] virtual result<void>
  find(const std::string& provider, const std::string& model) const = 0;

  /// Ends the call with errc::cancelled and closes its transfer; does nothing if it has ended.
  virtual void cancel(call_id id) = 0;
};

/// Any thread may call; the destructor stops.
class chat_client final : public chat_calls {
public:
  /// Reads the keys from the environment and starts the thread.
  /// Errors: invalid_setting, also if the environment lacks a key; internal.
  [[nodiscard]] static result<std::unique_ptr<chat_client>>
  open(const client_settings& settings, client_parts parts);

  ~chat_client() override;

  chat_client(const chat_client&) = delete;
  chat_client& operator=(const chat_client&) = delete;

  [[nodiscard]] result<call_id>
  start(const chat_request& request, chat_callbacks callbacks) override;
  [[nodiscard]] result<void>
  find(const std::string& provider, const std::string& model) const override;
  void cancel(call_id id) override;

  /// Cancels all calls and ends the thread; takes no longer than the callbacks. Not from a
  /// callback. Idempotent.
  void stop();

  /// The same, but only for so long. False: the thread has not ended; nothing that it and the
  /// callbacks may use can go.
  [[nodiscard]] bool stop_within(std::chrono::milliseconds patience);

  /// In the order of the settings.
  [[nodiscard]] std::vector<provider_stats> stats() const;

private:
  class core;

  explicit chat_client(std::unique_ptr<core> owned);

  std::unique_ptr<core> core_;
};

}  // namespace callboard::model
