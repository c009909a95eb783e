// Looks into JSON text without changing it, so that numbers and key order reach the user as the
// server sent them.
#pragma once

#include "base/error.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::client {

/// Members of an object: name without quotes (as written) and the text of the value.
using json_member_list = std::vector<std::pair<std::string_view, std::string_view>>;

/// The members of the JSON object in `text`, in order; views into `text`. Nothing if `text` is not
/// an object. Checks only as much as it needs to find the borders of values; nesting up to 512.
[[nodiscard]] std::optional<json_member_list> json_members(std::string_view text);

/// The same for an array's elements.
[[nodiscard]] std::optional<std::vector<std::string_view>> json_elements(std::string_view text);

/// Text of the member's value; empty if there is none.
[[nodiscard]] std::string_view find_member(const json_member_list& members, std::string_view name);

/// The content of a JSON string with its escapes undone; empty if `value` is not a string.
[[nodiscard]] std::string json_text(std::string_view value);

/// `text` as a JSON string with quotes.
[[nodiscard]] std::string json_quoted(std::string_view text);

/// True if `text` is one complete JSON value (checked strictly), be it deeper than nodes take.
[[nodiscard]] bool is_json(std::string_view text);

}  // namespace callboard::client
