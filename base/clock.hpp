// All time comes from here, so that tests run on a clock they move by hand.
#pragma once

#include "base/ids.hpp"

#include <atomic>
#include <string>

namespace callboard {

/// Source of time. Implementations are safe to call from any thread and do not block.
class clock {
public:
  virtual ~clock() = default;

  /// Wall-clock time; may jump either way when the machine's clock is set.
  [[nodiscard]] virtual time_ms wall() const = 0;

  /// Time since boot with suspend counted (CLOCK_BOOTTIME); never goes back.
  [[nodiscard]] virtual boot_time boot() const = 0;

  /// Names the boot that `boot` counts from; empty if the machine does not tell.
  [[nodiscard]] virtual std::string boot_id() const = 0;
};

/// The machine's clocks.
class system_clock final : public clock {
public:
  [[nodiscard]] time_ms wall() const override;
  [[nodiscard]] boot_time boot() const override;
  [[nodiscard]] std::string boot_id() const override;
};

/// A clock for tests: stands still until moved.
class manual_clock final : public clock {
public:
  [[nodiscard]] time_ms wall() const override {
    return time_ms{std::chrono::milliseconds{wall_ms_.load()}};
  }

  [[nodiscard]] boot_time boot() const override { return boot_time{boot_ns_.load()}; }

  [[nodiscard]] std::string boot_id() const override {
    return "boot-" + std::to_string(boots_.load());
  }

  /// Moves both clocks forward, as time does.
  void advance(std::chrono::milliseconds by) {
    wall_ms_ += by.count();
    boot_ns_ += std::chrono::nanoseconds{by}.count();
  }

  /// Steps only the wall clock, as NTP or an operator does; may be negative.
  void step_wall(std::chrono::milliseconds by) { wall_ms_ += by.count(); }

  /// As if the machine had been started again: the boot-time clock begins anew.
  void reboot() {
    ++boots_;
    boot_ns_ = std::chrono::nanoseconds{std::chrono::seconds{10}}.count();
  }

private:
  std::atomic<std::int64_t> wall_ms_{1'700'000'000'000};
  std::atomic<std::int64_t> boot_ns_{1'000'000'000'000};
  std::atomic<int> boots_{1};
};

} // namespace callboard
