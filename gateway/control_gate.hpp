// The node's bound on requests to the broker that are not publishes and have not been answered.
// Publishes have bounds of their own: bytes on the node, events per shard.
#pragma once

#include <atomic>
#include <cstdint>

namespace callboard::gateway {

/// Never admits beyond its bound; what ends or gives back work passes and is counted. Outlives the
/// connections. Any thread.
class control_gate {
public:
  explicit control_gate(std::uint64_t requests_max) : requests_max_{requests_max} {}

  /// False: too many are unanswered, and this one may not be sent.
  [[nodiscard]] bool admit() {
    if (in_flight_.fetch_add(1, std::memory_order_relaxed) < requests_max_) return true;
    release(1);
    return false;
  }

  void pass() { in_flight_.fetch_add(1, std::memory_order_relaxed); }

  void release(std::uint64_t count) { in_flight_.fetch_sub(count, std::memory_order_relaxed); }

  [[nodiscard]] std::uint64_t in_flight() const {
    return in_flight_.load(std::memory_order_relaxed);
  }

private:
  std::atomic<std::uint64_t> in_flight_{0};
  const std::uint64_t requests_max_;
};

}  // namespace callboard::gateway
