// JSON as text that is kept or handed on: how deep it may be, and the one parser that reads it.
#pragma once

#include "callboard/json.hpp"

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace callboard {

/// Levels of arrays and objects in what clients send: a body, a payload, a result.
inline constexpr std::size_t json_depth_max = 64;

/// Levels in what code gives or hands on: what came in, and what the code puts around it. What has
/// more fails as `not_json`.
inline constexpr std::size_t code_depth_max = 2 * json_depth_max;

/// Levels that are read: what was recorded, with the members that records, pages and answers put
/// around it.
inline constexpr std::size_t record_depth_max = code_depth_max + 16;

/// The value of `text`; each number that is no integer is the nearest double. Or why it has none,
/// in words that go on after a noun: "is not valid JSON: …", "is nested deeper than … levels".
[[nodiscard]] std::expected<json, std::string>
read_json(std::string_view text, std::size_t depth_max = record_depth_max);

/// The same for what is to be recorded or handed on: also refuses numbers that no double holds,
/// which nobody could write as JSON again.
[[nodiscard]] std::expected<json, std::string>
accept_json(std::string_view text, std::size_t depth_max = code_depth_max);

/// What is recorded for a text that may be no JSON: its value, or else the text as a string.
/// Nothing is null.
[[nodiscard]] json json_or_text(std::string_view text);

/// Why `value` cannot be recorded, in words as above: its depth, text that is not UTF-8, numbers
/// that are infinite or NaN. Nothing if it can. `levels_around`: of `value`, that do not count.
[[nodiscard]] std::optional<std::string>
flaw_of(const json& value, std::size_t depth_max = code_depth_max, std::size_t levels_around = 0);

}  // namespace callboard
