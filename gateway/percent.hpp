// Percent escapes (RFC 3986 section 2.1), shared by URLs and by CloudEvents headers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace callboard::gateway {

/// Decodes `%XX` once, and `+` as a space if `plus_is_space` (query parameters). Nothing if an
/// escape is incomplete or not hexadecimal. The result may be any bytes.
[[nodiscard]] std::optional<std::string>
percent_decode(std::string_view text, bool plus_is_space = false);

}  // namespace callboard::gateway
