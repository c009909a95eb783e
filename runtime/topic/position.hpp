// Where a reader begins in a topic.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "runtime/topic/event_batch.hpp"

#include <string_view>
#include <variant>

namespace callboard::runtime {

/// The next event to be published.
struct from_now {};

/// The oldest event still kept.
struct from_first {};

/// Inclusive: the first event with a seq >= this.
struct from_seq {
  sequence seq{};
};

/// Exclusive: the first event after the one this cursor names, of this epoch only.
struct after_cursor {
  runtime::cursor cursor;
};

/// The first event recorded at or after this time.
struct from_time {
  time_ms time{};
};

using position = std::variant<from_now, from_first, from_seq, after_cursor, from_time>;

/// Parses "now", "first", a seq, a cursor "<epoch>:<seq>", or "time:<RFC 3339>". A cursor may have
/// "/<step>.<attempt>.<index>" behind it, as the frames of model streams do: what was stored before
/// such a frame counts, the text of the stream comes again as a whole.
/// Errors: bad_request with what was expected.
[[nodiscard]] result<position> parse_position(std::string_view text);

}  // namespace callboard::runtime
