#include "base/uuid.hpp"

#include <fmt/format.h>

#include <random>

namespace callboard {

std::string make_uuid(time_ms now) {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device()};
    return std::mt19937_64{seed};
  }();
  const auto ms = static_cast<std::uint64_t>(now.time_since_epoch().count()) & 0xFFFF'FFFF'FFFF;
  const auto a = random();
  const auto b = random();
  const auto low = 0x8000'0000'0000'0000 | (b & 0x3FFF'FFFF'FFFF'FFFF);
  return fmt::format(
      "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
      ms >> 16,
      ms & 0xFFFF,
      a & 0xFFF,
      low >> 48,
      low & 0xFFFF'FFFF'FFFF);
}

} // namespace callboard
