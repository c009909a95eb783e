// How long something may take, in any unit of std::chrono: `24h`, `std::chrono::hours::max()`.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>

namespace callboard {

/// Milliseconds. `max()` of a coarser unit is more of them than can be counted: it is then the most
/// that can be, where the conversion of std::chrono overflows and a wait "for ever" is none.
class time_span {
public:
  template <class Rep, class Period>
    requires std::convertible_to<std::chrono::duration<Rep, Period>, std::chrono::milliseconds>
  // NOLINTNEXTLINE(google-explicit-constructor): it stands where a duration is written.
  constexpr time_span(std::chrono::duration<Rep, Period> of) : ms_{in_ms(of)} {}

  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr operator std::chrono::milliseconds() const { return ms_; }

  [[nodiscard]] constexpr std::int64_t count() const { return ms_.count(); }

private:
  template <class Rep, class Period>
  static constexpr std::chrono::milliseconds in_ms(std::chrono::duration<Rep, Period> of) {
    using unit = std::chrono::duration<std::int64_t, Period>;
    constexpr auto most = std::chrono::duration_cast<unit>(std::chrono::milliseconds::max());
    const unit whole{static_cast<std::int64_t>(of.count())};
    if (whole > most) return std::chrono::milliseconds::max();
    if (whole < -most) return std::chrono::milliseconds::min();
    return whole;
  }

  std::chrono::milliseconds ms_;
};

}  // namespace callboard
