// How many events a second one connection may publish.
#pragma once

#include "base/ids.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace callboard::gateway {

/// A token bucket that holds one second's worth. I/O thread only.
class rate_limit {
public:
  /// 0: unlimited.
  explicit rate_limit(std::uint32_t per_second)
      : per_second_{per_second}, left_{static_cast<double>(per_second)} {}

  /// Takes `count`, or says in how many milliseconds there will be enough. More than one second's
  /// worth at once is let through when the bucket is full, and then owed.
  [[nodiscard]] std::optional<std::uint32_t> take(std::size_t count, boot_time now) {
    if (per_second_ == 0) return std::nullopt;
    const double full = per_second_;
    const std::chrono::duration<double> passed{now - last_};
    left_ = std::min(full, left_ + passed.count() * full);
    last_ = now;
    const double needed = std::min(static_cast<double>(count), full);
    if (left_ < needed) {
      return static_cast<std::uint32_t>((needed - left_) / full * 1000.0) + 1;
    }
    left_ -= static_cast<double>(count);
    return std::nullopt;
  }

private:
  std::uint32_t per_second_;
  double left_;
  boot_time last_{0};
};

}  // namespace callboard::gateway
