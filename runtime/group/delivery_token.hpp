// The name of one delivery, as its consumer hands it back in acks and nacks.
#pragma once

#include "base/ids.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// Fences: a token is good only while exactly this attempt is held. `nonce` is the group's
/// activation, so that an attempt that a crash forgot is not taken for its repetition.
struct delivery_token {
  sequence seq{};
  std::uint32_t attempt = 0;
  std::uint32_t nonce = 0;

  friend bool operator==(const delivery_token&, const delivery_token&) = default;
};

/// Three hexadecimal numbers with dots: URL-safe, at most 34 bytes.
[[nodiscard]] std::string format_token(const delivery_token& token);

/// Nothing for anything that `format_token` did not write.
[[nodiscard]] std::optional<delivery_token> parse_token(std::string_view text);

}  // namespace callboard::runtime
