// JSON of providers whose texts may hold one half of a UTF-16 pair. A token of a model may be half
// a character, and some providers escape each by itself: "\\ud83d" in one piece of an answer and
// "\\ude00" in the next. By the letter of JSON's encoding neither is text, but together they are.
#pragma once

#include <boost/json/value.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace callboard::model {

/// As `boost::json::parse`, but half a pair comes as the three bytes that UTF-8 would have for it.
/// Who takes texts from the value makes them whole by a `pair_joiner`, or mends them by `as_utf8`.
[[nodiscard]] boost::json::value parse_json(
    std::string_view text,
    boost::json::error_code& failed,
    boost::json::storage_ptr memory,
    std::size_t depth_max);

/// Puts the pieces of a text together: half a pair at the end of one waits for the next.
class pair_joiner {
public:
  /// What the piece adds; never more bytes than all pieces had. A half that stays alone is U+FFFD.
  [[nodiscard]] std::string add(std::string_view piece);

  /// At the end of the text: what has waited in vain.
  [[nodiscard]] std::string end();

private:
  /// The first half that waits; 0 = none.
  char32_t waiting_ = 0;
};

}  // namespace callboard::model
