// The group's records and rows as bytes: the only place in the group cores that knows Protobuf.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "base/shared_bytes.hpp"
#include "runtime/group/group_ledger.hpp"
#include "runtime/group/group_settings.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// What group_created, group_configured and group_deleted say.
struct group_definition {
  topic_ref topic;
  group_name group;
  entity_id topic_entity{};
  /// Delivery begins after this event.
  sequence start_after{};
  group_settings settings;
};

/// A group's row in the catalogue.
struct group_row {
  entity_id entity{};
  entity_id topic_entity{};
  sequence start_after{};
  group_settings settings;
};

// Payloads of records.
[[nodiscard]] std::string encode_group_created(const group_definition& group);
[[nodiscard]] std::string encode_group_configured(const group_definition& group);
[[nodiscard]] std::string encode_group_deleted(const group_definition& group);
[[nodiscard]] std::string encode_group_progress(const group_progress& progress);
[[nodiscard]] std::string
encode_group_snapshot(const group_ledger& ledger, const group_settings& settings);
[[nodiscard]] std::string encode_trimmed(sequence up_to);

// Back again. Errors: corruption.
[[nodiscard]] result<group_progress> decode_group_progress(std::string_view payload);
[[nodiscard]] result<group_ledger> decode_group_snapshot(std::string_view payload);
[[nodiscard]] result<group_row> decode_group_row(std::string_view value);

/// Hash of the subject of a stored event, never 0; 0 if it has none (or is unreadable).
[[nodiscard]] std::uint64_t subject_key(const shared_bytes& stored);

// Keys of the catalogue view.
[[nodiscard]] std::string group_row_key(const topic_ref& topic, const group_name& group);
/// Rows of all groups of a topic begin with it.
[[nodiscard]] std::string group_row_prefix(const topic_ref& topic);
/// The first key after all that begin with `prefix`.
[[nodiscard]] std::string key_after(std::string prefix);

struct group_key {
  topic_ref topic;
  group_name group;
};

/// Nothing for the rows of other things.
[[nodiscard]] std::optional<group_key> parse_group_row_key(std::string_view key);

}  // namespace callboard::runtime
