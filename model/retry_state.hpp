// Whether a failed attempt is tried again, when, and where.
#pragma once

#include "model/failure.hpp"
#include "model/settings.hpp"

#include <chrono>
#include <cstdint>
#include <functional>

namespace callboard::model {

/// Uniform 64-bit numbers from a seeded source.
using random_source = std::function<std::uint64_t()>;

enum class next_step : std::uint8_t { wait, next_provider, give_up };

struct retry_decision {
  next_step step = next_step::give_up;
  /// How long, if `wait`.
  std::chrono::milliseconds delay{0};
};

/// What a provider's wish to be left alone for `wish` is met with: some jitter on top, so that
/// those who were refused together do not come back together.
[[nodiscard]] std::chrono::milliseconds
honoured(std::chrono::milliseconds wish, const retry_settings& settings, random_source& random);

/// One call's attempts at one provider.
///
/// - A failure that is retryable or a matter of rate is tried again, after an exponential backoff
///   with full jitter, until `attempts_max`.
/// - A wish of the provider (`retry_after`) is waited for (`honoured`) and takes no attempt.
/// - When attempts are used up, when the wish is beyond what is left of the call's time (or beyond
///   `fallback_wait_max` and there is somebody else), or when the failure will last (quota, key,
///   no such model), the next provider is asked.
/// - What every provider would refuse ends the call.
class retry_state {
public:
  explicit retry_state(retry_settings settings) : settings_{settings} {}

  /// `left`: until the call's deadline. `others`: whether a fallback is left.
  [[nodiscard]] retry_decision
  after(const failure& failed, std::chrono::milliseconds left, bool others, random_source& random);

  /// Attempts that were used up.
  [[nodiscard]] std::uint32_t used() const { return used_; }

private:
  [[nodiscard]] std::chrono::milliseconds
  delay_of(const failure& failed, random_source& random) const;

  retry_settings settings_;
  std::uint32_t used_ = 0;
  std::uint32_t failures_ = 0;
};

}  // namespace callboard::model
