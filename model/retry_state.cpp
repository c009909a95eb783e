#include "model/retry_state.hpp"

#include <algorithm>

namespace callboard::model {

namespace {

using std::chrono::milliseconds;

/// Uniform in 0..=most.
milliseconds up_to(milliseconds most, random_source& random) {
  if (most.count() <= 0) return milliseconds{0};
  const auto count = static_cast<std::uint64_t>(most.count()) + 1;
  return milliseconds{static_cast<std::int64_t>(random() % count)};
}

}  // namespace

milliseconds honoured(milliseconds wish, const retry_settings& settings, random_source& random) {
  constexpr milliseconds spread_max{5000};
  const auto spread = std::clamp(wish / 8, std::min(settings.backoff_base, spread_max), spread_max);
  return wish + up_to(spread, random);
}

milliseconds retry_state::delay_of(const failure& failed, random_source& random) const {
  constexpr std::uint32_t doublings_max = 20;
  const auto doublings = std::min(failures_ - 1, doublings_max);
  const auto most =
      std::min(settings_.backoff_max, settings_.backoff_base * (std::int64_t{1} << doublings));
  const auto own = up_to(most, random);
  if (!failed.retry_after) return own;
  return std::max(own, honoured(*failed.retry_after, settings_, random));
}

retry_decision
retry_state::after(const failure& failed, milliseconds left, bool others, random_source& random) {
  const retry_decision elsewhere{.step = others ? next_step::next_provider : next_step::give_up};
  ++failures_;
  switch (failed.kind) {
  case failure_kind::cancelled:
    return {};
  case failure_kind::permanent:
    return failed.scope == failure_scope::request ? retry_decision{} : elsewhere;
  case failure_kind::quota:
    return elsewhere;
  case failure_kind::retryable:
  case failure_kind::rate:
    break;
  }
  if (!failed.retry_after && ++used_ >= settings_.attempts_max) return elsewhere;
  const auto delay = delay_of(failed, random);
  if (delay >= left) return elsewhere;
  if (others && failed.retry_after.value_or(milliseconds{0}) > settings_.fallback_wait_max) {
    return elsewhere;
  }
  return {.step = next_step::wait, .delay = delay};
}

}  // namespace callboard::model
