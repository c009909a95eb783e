// A client's JSON frame, cut into its top-level members without a DOM: the event inside a publish
// is parsed once, by the event codec, from its raw text.
#pragma once

#include "base/error.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::gateway {

struct json_member {
  /// Without quotes; keys with escapes are kept as written and match nothing.
  std::string_view key;
  /// Raw text of the value, not checked beyond its extent.
  std::string_view value;
};

/// Walks the members of a JSON object of at most `depth` levels. Every byte outside of values is
/// checked; values are only measured.
class frame_members {
public:
  explicit frame_members(std::string_view text) : text_{text} {}

  /// The next member; nothing at the end, or when `failure` says what is wrong.
  [[nodiscard]] std::optional<json_member> next();

  [[nodiscard]] const std::optional<error>& failure() const { return failure_; }

private:
  void skip_space();
  [[nodiscard]] bool take(char expected);
  std::optional<std::string_view> take_string();
  std::optional<std::string_view> take_value();
  std::nullopt_t fail(std::string_view what);

  std::string_view text_;
  std::size_t at_ = 0;
  bool begun_ = false;
  bool ended_ = false;
  std::optional<error> failure_;
};

/// Typed views of raw values; each names `key` in its error (bad_request).
[[nodiscard]] result<std::string> json_string(std::string_view raw, std::string_view key);
[[nodiscard]] result<std::uint64_t> json_unsigned(std::string_view raw, std::string_view key);
[[nodiscard]] result<bool> json_boolean(std::string_view raw, std::string_view key);

}  // namespace callboard::gateway
