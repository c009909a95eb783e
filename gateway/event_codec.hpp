// Events between the wire and the journal: CloudEvents 1.0 (structured, batch, binary), plain JSON,
// and callboard.v1.Event. Pure functions; fuzzed.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/shared_bytes.hpp"
#include "runtime/topic/event_batch.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::v1 {
class Event;
}  // namespace callboard::v1

namespace callboard::gateway {

/// An event ready to be published, and its id for the answer.
struct decoded_event {
  runtime::encoded_event event;
  std::string id;
};

/// What an event takes where the client leaves it out.
struct event_defaults {
  std::string type = "callboard.event";
  std::string source = "/callboard";
  /// Empty: a new UUIDv7.
  std::string id = {};
  std::uint32_t event_bytes_max = 1 << 20;
  /// Goes into an id that is made; nothing: the machine's clock.
  std::optional<time_ms> now = std::nullopt;
};

/// Checks one event against CloudEvents 1.0 and encodes it for the journal. Does not add defaults.
/// Errors: invalid_event (names the attribute and the rule), too_large.
[[nodiscard]] result<decoded_event>
encode_event(const v1::Event& event, std::uint32_t event_bytes_max);

/// A CloudEvents JSON object. `data` keeps the client's own text (number spelling, key order),
/// without insignificant whitespace. `lenient`: id, source, type and specversion may be missing
/// and take their defaults (the WebSocket publish operation).
[[nodiscard]] result<decoded_event>
decode_structured(std::string_view json, const event_defaults& defaults, bool lenient = false);

/// A CloudEvents JSON batch: an array of 1..=events_max events, encoded into one buffer.
[[nodiscard]] result<std::vector<decoded_event>>
decode_batch(std::string_view json, const event_defaults& defaults, std::uint32_t events_max);

/// CloudEvents binary mode: `headers` are (lower-case name, value), `content_type` may be empty.
[[nodiscard]] result<decoded_event> decode_binary(
    const std::vector<std::pair<std::string, std::string>>& headers,
    std::string_view content_type,
    std::string_view body,
    const event_defaults& defaults);

/// Any JSON value becomes `data` of an event with the given defaults.
[[nodiscard]] result<decoded_event>
decode_plain(std::string_view json, const event_defaults& defaults);

/// Appends a stored event as a CloudEvents JSON object. `time` stands in if the event has none.
/// `topic`, if it is not empty, is said in the extension attribute `callboardtopic`, in place of
/// one that the event brought. Contains no raw CR or LF, so it fits into one SSE data line.
void append_event_json(
    std::string& out, const shared_bytes& stored, time_ms time, std::string_view topic = {});

/// Appends a time as a JSON string: RFC 3339 in UTC, to the millisecond.
void append_json_time(std::string& out, time_ms time);

/// The `type` of a stored event, for the SSE `event:` field, and its `subject`.
[[nodiscard]] std::string event_type(const shared_bytes& stored);

}  // namespace callboard::gateway
