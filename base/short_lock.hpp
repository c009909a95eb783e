// Waiting for a mutex that is never held for more than a moment.
#pragma once

#include <mutex>

namespace callboard {

/// Tries for about a microsecond before it sleeps: being put to sleep and woken again costs
/// several. For mutexes under which nothing blocks, allocates much or calls out.
[[nodiscard]] inline std::unique_lock<std::mutex> lock_shortly(std::mutex& mutex) {
  constexpr int tries = 64;
  for (int i = 0; i < tries; ++i) {
    std::unique_lock lock{mutex, std::try_to_lock};
    if (lock.owns_lock()) return lock;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  return std::unique_lock{mutex};
}

}  // namespace callboard
