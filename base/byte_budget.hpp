// The node-wide bound on payload bytes in flight: charged once where they enter, given back at
// commit or refusal.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

namespace callboard {

class byte_budget;

/// Bytes taken from a budget; gives them back when destroyed. Movable, any thread.
class byte_charge {
public:
  byte_charge() = default;

  byte_charge(byte_charge&& other) noexcept
    : budget_{std::exchange(other.budget_, nullptr)}, size_{std::exchange(other.size_, 0)} {}

  byte_charge& operator=(byte_charge&& other) noexcept {
    if (this != &other) {
      release();
      budget_ = std::exchange(other.budget_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }

  ~byte_charge() { release(); }

  byte_charge(const byte_charge&) = delete;
  byte_charge& operator=(const byte_charge&) = delete;

  [[nodiscard]] std::uint64_t size() const { return size_; }

  inline void release();

private:
  friend byte_budget;

  byte_charge(byte_budget* budget, std::uint64_t size) : budget_{budget}, size_{size} {}

  byte_budget* budget_ = nullptr;
  std::uint64_t size_ = 0;
};

/// A bound on the sum of charges. Never over-admits. Must outlive its charges.
class byte_budget {
public:
  explicit byte_budget(std::uint64_t size_max) : size_max_{size_max} {}

  /// Takes `size` bytes, or nothing when that would pass the bound.
  [[nodiscard]] std::optional<byte_charge> charge(std::uint64_t size) {
    if (used_.fetch_add(size, std::memory_order_relaxed) + size > size_max_) {
      used_.fetch_sub(size, std::memory_order_relaxed);
      return std::nullopt;
    }
    return byte_charge{this, size};
  }

  [[nodiscard]] std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }

  [[nodiscard]] std::uint64_t size_max() const { return size_max_; }

private:
  friend byte_charge;

  std::atomic<std::uint64_t> used_{0};
  const std::uint64_t size_max_;
};

inline void byte_charge::release() {
  if (budget_ != nullptr) budget_->used_.fetch_sub(size_, std::memory_order_relaxed);
  budget_ = nullptr;
  size_ = 0;
}

} // namespace callboard
