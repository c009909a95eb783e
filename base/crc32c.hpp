// CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of every record and mark on disk.
#pragma once

#include <cstdint>
#include <string_view>

namespace callboard {

/// Checksum of `bytes`, continued from `seed`, the checksum of what went before (0 = nothing).
/// Uses the processor's instruction where there is one.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes, std::uint32_t seed = 0);

} // namespace callboard
