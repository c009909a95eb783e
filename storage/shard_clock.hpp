// Shard time (docs/formats.md "Shard time"): is drawn towards the wall
// clock gently and never goes back, whatever is done to the machine's clock.
#pragma once

#include "base/clock.hpp"
#include "base/ids.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>

namespace callboard::storage {

/// Any thread.
class shard_clock {
public:
  /// A second of boot time is stretched or squeezed by at most this part of it.
  static constexpr std::int64_t slew_divisor = 1000;

  shard_clock() = default;

  void start(const clock& source, time_ms at) {
    const std::lock_guard guard{mutex_};
    boot_ = source.boot();
    now_ = std::chrono::nanoseconds{at.time_since_epoch()};
  }

  [[nodiscard]] time_ms now(const clock& source) const {
    const std::lock_guard guard{mutex_};
    const auto boot = source.boot();
    if (boot > boot_) {
      const auto elapsed = boot - boot_;
      boot_ = boot;
      now_ += elapsed;
      const std::chrono::nanoseconds wall{source.wall().time_since_epoch()};
      const auto most = elapsed / slew_divisor;
      now_ += std::clamp(wall - now_, -most, most);
    }
    return time_ms{std::chrono::duration_cast<std::chrono::milliseconds>(now_)};
  }

private:
  mutable std::mutex mutex_;
  mutable boot_time boot_{};
  mutable std::chrono::nanoseconds now_{};
};

}  // namespace callboard::storage
