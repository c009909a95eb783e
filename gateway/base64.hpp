// Base64 (RFC 4648): the standard alphabet for CloudEvents data, the URL alphabet for tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace callboard::gateway {

/// Standard alphabet with padding; decoding is strict (length, padding, no line breaks, no stray
/// bits after the end).
void append_base64(std::string& out, std::string_view bytes);
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

/// URL alphabet without padding.
[[nodiscard]] std::string encode_base64url(std::string_view bytes);
[[nodiscard]] std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace callboard::gateway
