// Bits of the operating system's random source, for names that must never meet; decisions take
// theirs from a seed that is handed in, so that they can be replayed.
#pragma once

#include <cstdint>

namespace callboard {

/// Unpredictable. Any thread.
[[nodiscard]] std::uint64_t random_64();

}  // namespace callboard
