// How things go wrong in workflow code: failures are values, cancelling and bugs are thrown.
#pragma once

#include <cstdint>
#include <exception>
#include <expected>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace callboard {

/// What may help: retrying (retryable), retrying later (rate), more money (quota), other input
/// (permanent), other code (bug). A policy retries `retryable` and `rate` unless its `again` says
/// otherwise.
enum class failure_class : std::uint8_t { retryable, rate, quota, permanent, bug };

[[nodiscard]] std::string_view name_of(failure_class kind);
[[nodiscard]] std::optional<failure_class> failure_class_named(std::string_view name);

/// Why a command, a step or a run failed. `code` is stable and short, `message` is for people.
struct failure {
  failure_class kind = failure_class::retryable;
  std::string code = "failed";
  std::string message;
  /// Not before so long from now; 0 = the retry policy decides. Of the class `rate` it takes no
  /// attempt (see `retry_policy`).
  std::uint32_t retry_after_ms = 0;
  /// More for programs: a JSON object as text; empty if there is nothing.
  std::string details = {};

  friend bool operator==(const failure&, const failure&) = default;
};

/// What a command gives: its result, or why it failed for good.
template <class T>
using outcome = std::expected<T, failure>;

/// Shorthand for `return give_up("out_of_stock", "...")`: a failure that no retry cures.
[[nodiscard]] inline std::unexpected<failure> give_up(std::string code, std::string message) {
  return std::unexpected{failure{failure_class::permanent, std::move(code), std::move(message)}};
}

/// Thrown at every await of a run that is being cancelled, outside `context::shielded`. Not a
/// std::exception, so that no handler meant for errors swallows it.
struct cancelled {
  /// What a saga could not undo: the run ends as cancelled all the same, and its end tells of it.
  std::optional<failure> why = std::nullopt;
};

/// Thrown by `required()`: ends the run (or the saga) with this failure unless it is caught.
class run_failed final : public std::exception {
public:
  explicit run_failed(failure why) : why_{std::move(why)} {}

  [[nodiscard]] const failure& why() const { return why_; }

  [[nodiscard]] const char* what() const noexcept override { return why_.message.c_str(); }

private:
  failure why_;
};

/// Some of the classes.
class failure_classes {
public:
  constexpr failure_classes(std::initializer_list<failure_class> classes) {
    for (const auto one : classes)
      bits_ |= bit_of(one);
  }

  [[nodiscard]] constexpr bool contains(failure_class one) const {
    return (bits_ & bit_of(one)) != 0;
  }

private:
  static constexpr std::uint32_t bit_of(failure_class one) {
    return 1U << static_cast<std::uint32_t>(one);
  }

  std::uint32_t bits_ = 0;
};

/// How often and when what failed is done again. Delays double from `first_delay_ms` up to
/// `delay_max_ms`, each shortened at random by up to half, and are no shorter than the failure's
/// own `retry_after_ms`. A failure of the class `rate` that names one does not count as an attempt,
/// up to `workflows.deferrals_max` of them and a week each; with `attempts_max` 1 it is final.
struct retry_policy {
  std::uint32_t attempts_max = 10;
  std::uint32_t first_delay_ms = 200;
  std::uint32_t delay_max_ms = 30'000;
  /// Failures of other classes are final at once.
  failure_classes again{failure_class::retryable, failure_class::rate};

  [[nodiscard]] static retry_policy once() { return {.attempts_max = 1}; }
};

}  // namespace callboard
