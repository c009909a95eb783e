// How long to wait before the next attempt to reach a server.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace callboard::cli {

/// Full jitter: uniform in (0, bound], where the bound doubles from `first` up to `longest`, so
/// that a thousand clients of a restarted node do not come back at once.
class backoff {
public:
  explicit backoff(
      std::uint64_t seed = std::random_device{}(),
      std::chrono::milliseconds first = std::chrono::milliseconds{100},
      std::chrono::milliseconds longest = std::chrono::milliseconds{5000})
      : random_{seed}, first_{first}, longest_{longest}, bound_{first} {}

  [[nodiscard]] std::chrono::milliseconds next() {
    std::uniform_int_distribution<std::int64_t> pick{1, bound_.count()};
    bound_ = std::min(bound_ * 2, longest_);
    return std::chrono::milliseconds{pick(random_)};
  }

  /// After a success.
  void reset() { bound_ = first_; }

private:
  std::mt19937_64 random_;
  std::chrono::milliseconds first_;
  std::chrono::milliseconds longest_;
  std::chrono::milliseconds bound_;
};

}  // namespace callboard::cli
