// Expected failures as values: one list of stable codes for storage, actors, HTTP and WebSocket.
// A code's number and name never change (tests/base/golden lists them); new codes are appended.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace callboard {

enum class errc : std::uint8_t {
  /// The request is not understood; the detail names the place.
  bad_request = 1,
  /// A tenant, topic, group or pattern breaks the grammar of names.
  invalid_name = 2,
  /// The bytes are not the JSON they claim to be.
  invalid_json = 3,
  /// The event breaks CloudEvents 1.0.
  invalid_event = 4,
  /// A setting has a value out of its bounds.
  invalid_setting = 5,
  /// Body or frame in a format that is not spoken here.
  unsupported_media_type = 6,
  /// A body, header, frame, batch or event is above its limit.
  too_large = 7,
  /// No token, or one that does not verify or has expired.
  unauthorized = 8,
  /// The token verifies but does not allow this.
  forbidden = 9,
  not_found = 10,
  topic_not_found = 11,
  group_not_found = 12,
  method_not_allowed = 13,
  /// `expected_seq` differs from the topic's last seq.
  sequence_conflict = 14,
  /// The same event id was published before with other content.
  id_conflict = 15,
  /// It exists with other settings that cannot be changed.
  exists = 16,
  /// The cursor names history that is gone; the detail names the first available seq.
  cursor_expired = 17,
  /// A bound on work in flight is reached; retry after the hint.
  overloaded = 18,
  /// The caller's own rate limit is used up; retry after the hint.
  rate_limited = 19,
  too_many_connections = 20,
  too_many_subscriptions = 21,
  /// Below a disk watermark; free space or trim, then retry.
  storage_full = 22,
  /// The write or its fsync failed: it may or may not be on disk. Retry with the same id.
  outcome_unknown = 23,
  not_enough_replicas = 24,
  stale_term = 25,
  /// The shard's journal is damaged and not served.
  quarantined = 26,
  /// The node is shutting down; reconnect elsewhere or later.
  draining = 27,
  /// No answer in time; the outcome of a change is unknown.
  timeout = 28,
  /// The lease or delivery hold has passed to somebody else.
  lease_lost = 29,
  /// Bytes on disk differ from what was written.
  corruption = 30,
  io_error = 31,
  /// A consumer group holds back retention, and the topic reached max_bytes.
  held_by_group = 32,
  /// The data directory is in use by another process.
  locked = 33,
  /// The data directory was made with other fixed settings or by a newer version.
  incompatible = 34,
  unreachable = 35,
  internal = 36,
  /// The topic is of a kind that cannot do this (for instance replay of an ephemeral topic).
  wrong_kind = 37,
  cancelled = 38,
  /// A workflow of this id was started with another type or input.
  workflow_exists = 39,
  workflow_not_found = 40,
  /// No agent class of this type here, or nobody has ever called this agent.
  agent_not_found = 41,
  /// The agent took the message, and its handler failed; the detail says how.
  agent_failed = 42,
  queue_not_found = 43,
  /// The queue has no such task, or it has ended.
  task_not_found = 44,
  binding_not_found = 45,
  /// One workflow or agent has been given as much as it may leave unread; others are not concerned.
  /// Retry after the hint.
  inbox_full = 46,
};

/// The stable name of a code as clients see it, for example "id_conflict".
[[nodiscard]] std::string_view name_of(errc code);

/// The code with this stable name; nothing for an unknown one.
[[nodiscard]] std::optional<errc> errc_named(std::string_view name);

/// True if the same request may succeed later without being changed.
[[nodiscard]] bool is_retryable(errc code);

/// A failure: its code, and a sentence that says what happened and what to do.
struct error {
  errc code = errc::internal;
  std::string detail;
  /// When to try again; 0 = no hint.
  std::uint32_t retry_after_ms = 0;

  friend bool operator==(const error&, const error&) = default;
};

template <class T>
using result = std::expected<T, error>;

/// Shorthand for `return fail(errc::not_found, "...")`.
[[nodiscard]] inline std::unexpected<error>
fail(errc code, std::string detail, std::uint32_t retry_after_ms = 0) {
  return std::unexpected{error{code, std::move(detail), retry_after_ms}};
}

} // namespace callboard
