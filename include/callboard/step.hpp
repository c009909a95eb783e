// What runs as a step, and how it tells its end: at once, or later from any thread.
#pragma once

#include "callboard/failure.hpp"
#include "callboard/json.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

namespace callboard {

/// What a step is told about itself. The key is the same for every attempt, also after a crash:
/// hand it to services that honour idempotency keys.
struct step_attempt {
  /// Of all attempts, with those that were put off (`failure::retry_after_ms` of class `rate`), so
  /// it may be above the policy's `attempts_max`.
  std::uint32_t number = 1;
  std::string idempotency_key;
  /// Asks to stop when nobody wants any more what the attempt would bring: the run was cancelled or
  /// has ended, it goes on without the step, or the node stops. Whatever the step ends with then is
  /// dropped, and behind a stop of the node it runs again. Callbacks run on a thread of workflow
  /// code, beside the step.
  std::stop_token stop{};
};

namespace detail {

/// Where one attempt's end goes, once. Thread-safe.
class step_end {
public:
  using receiver = std::function<void(outcome<json>)>;

  explicit step_end(receiver to) : to_{std::move(to)} {}

  step_end(const step_end&) = delete;
  step_end& operator=(const step_end&) = delete;

  ~step_end() {
    tell(std::unexpected{failure{
        failure_class::bug, "step_abandoned", "the step let go of its promise without an answer"}});
  }

  /// Whatever comes after the first is dropped.
  void tell(outcome<json> ended) {
    if (!is_told_.exchange(true)) to_(std::move(ended));
  }

private:
  receiver to_;
  std::atomic<bool> is_told_ = false;
};

/// Begins one attempt on a worker thread, away from the run's frame: owns all it needs.
struct step_body {
  std::function<void(const step_attempt&, std::shared_ptr<step_end>)> begin;
  /// Its end may come after `begin` has returned.
  bool is_async = false;
};

}  // namespace detail

/// Given to the body of `context::async_step`: exactly one of the two is called, once, now or later
/// and from any thread. Copies are the same promise. If all are gone without an answer, the step
/// fails as a bug (`step_abandoned`).
template <class T>
class step_promise {
public:
  explicit step_promise(std::shared_ptr<detail::step_end> end) : end_{std::move(end)} {}

  template <class Value = T>
  void complete(Value&& value) const {
    end_->tell(to_json(T(std::forward<Value>(value))));
  }

  /// Retried or final, as the step's policy says.
  void fail(failure why) const { end_->tell(std::unexpected{std::move(why)}); }

private:
  std::shared_ptr<detail::step_end> end_;
};

}  // namespace callboard
