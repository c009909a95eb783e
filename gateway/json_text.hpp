// JSON as text: checked once by Boost.JSON, then cut into raw spans, so that clients get back their
// own spelling of numbers and order of keys. No DOM.
#pragma once

#include "base/error.hpp"
#include "base/utf8.hpp"

#include <boost/json/value.hpp>

#include <callboard/json_text.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::gateway {

/// Checks that `text` is exactly one JSON value (RFC 8259, strict: valid UTF-8, no lone surrogates,
/// no trailing commas or comments) of at most `json_depth_max` levels. For what is only handed
/// through: a number may be one that no double holds. Errors: invalid_json with the byte offset.
[[nodiscard]] result<void> check_json(std::string_view text);

/// The same for what code computes with: also refuses numbers that no double holds.
[[nodiscard]] result<void> check_value(std::string_view text);

/// The value of `text`, which `check_value` would accept. `what`: begins the words of an error.
/// Errors: invalid_json.
[[nodiscard]] result<boost::json::value> parse_value(std::string_view what, std::string_view text);

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
