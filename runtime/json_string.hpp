// JSON strings for the few places where a core writes JSON itself.
#pragma once

#include <string>
#include <string_view>

namespace callboard::runtime {

/// Appends `text` (UTF-8) as a JSON string with its quotes.
inline void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += digits[byte >> 4U];
      out += digits[byte & 15U];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace callboard::runtime
