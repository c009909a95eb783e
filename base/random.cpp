#include "base/random.hpp"

#include <random>

namespace callboard {

std::uint64_t random_64() {
  std::random_device source;
  return (std::uint64_t{source()} << 32U) | source();
}

}  // namespace callboard
