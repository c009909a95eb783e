// The second act: a thousand sessions at once, over four tenants.
#pragma once

#include "examples/demo/claims.hpp"
#include "examples/demo/stage.hpp"
#include "examples/demo/tickets.hpp"

namespace callboard::demo {

struct spike_options {
  std::uint64_t sessions = 1000;
  /// Customers of each tenant, each with a desk of its own.
  std::uint64_t customers = 50;
};

/// Starts them, waits until all wait for a person at the same time, approves them, and counts.
/// Precondition: the stage is open and all tenants are followed. Errors: as `play_story`.
[[nodiscard]] result<void>
play_spike(const stage& on, const tickets& seen, const spike_options& options, claims& checked);

}  // namespace callboard::demo
