// Waiting for a condition instead of for time.
#pragma once

#include <chrono>
#include <thread>

namespace callboard::testing {

/// Asks until `condition` is true or `limit` has passed; says which.
template <class Condition>
[[nodiscard]] bool
eventually(Condition condition, std::chrono::milliseconds limit = std::chrono::seconds{10}) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return true;
}

}  // namespace callboard::testing
