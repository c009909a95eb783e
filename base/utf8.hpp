// Text as UTF-8: what is none must not get into JSON, where it would make the whole unreadable.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace callboard {

/// Decodes the code point at `text[at]` and moves `at` behind it; nothing if it is not UTF-8.
[[nodiscard]] std::optional<char32_t> next_code_point(std::string_view text, std::size_t& at);

/// True if `text` is UTF-8 without overlong forms and surrogates.
[[nodiscard]] bool is_utf8(std::string_view text);

/// Appends one code point as UTF-8.
void append_utf8(std::string& out, char32_t point);

/// `text` with U+FFFD for each byte that is not UTF-8.
[[nodiscard]] std::string as_utf8(std::string text);

/// The first `size_max` bytes of `text`, or fewer, so that no character is cut in two.
[[nodiscard]] std::string_view front_of(std::string_view text, std::size_t size_max);

}  // namespace callboard
