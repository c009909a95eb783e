// JSON as text: checked once by Boost.JSON, then cut into raw spans, so that clients get back their
// own spelling of numbers and order of keys. No DOM.
#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::gateway {

/// Levels of arrays and objects that a client's JSON may have.
inline constexpr std::size_t json_depth_max = 64;

/// Checks that `text` is exactly one JSON value (RFC 8259, strict: valid UTF-8, no lone surrogates,
/// no trailing commas or comments). Errors: invalid_json with the byte offset.
[[nodiscard]] result<void> check_json(std::string_view text);

/// What to say of text that is no JSON value: "`what` is not valid JSON at byte …".
[[nodiscard]] error not_json(std::string_view what, std::string_view text);

/// True if `text` is UTF-8 without overlong forms and surrogates.
[[nodiscard]] bool is_utf8(std::string_view text);

/// Decodes the code point at `text[at]` and moves `at` behind it; nothing if it is not UTF-8.
[[nodiscard]] std::optional<char32_t> next_code_point(std::string_view text, std::size_t& at);

/// Appends one code point as UTF-8.
void append_utf8(std::string& out, char32_t point);

/// What follows takes text that `check_json` accepted.

/// `text` without whitespace around it.
[[nodiscard]] std::string_view trim_json(std::string_view text);

/// The raw value that begins at `text[at]`, which is not whitespace; moves `at` behind it.
[[nodiscard]] std::string_view take_json_value(std::string_view text, std::size_t& at);

/// Appends `text` without insignificant whitespace.
void append_minified(std::string& out, std::string_view text);

/// The content of a raw JSON string, given with its quotes.
[[nodiscard]] std::string unescape_json(std::string_view quoted);

/// Walks the members of a raw object, or the elements of a raw array.
class json_walker {
public:
  /// Precondition: `text` is trimmed and begins with '{' or '['.
  explicit json_walker(std::string_view text) : text_{text}, at_{1} {}

  /// Moves to the next member or element; false at the end.
  [[nodiscard]] bool next();

  /// The raw key with its quotes; objects only.
  [[nodiscard]] std::string_view key() const { return key_; }

  [[nodiscard]] std::string_view value() const { return value_; }

private:
  void skip_space();

  std::string_view text_;
  std::size_t at_;
  std::string_view key_;
  std::string_view value_;
};

}  // namespace callboard::gateway
