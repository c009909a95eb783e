// Topic records and view rows in Protobuf, the only file of this folder that knows it.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "base/shared_bytes.hpp"
#include "runtime/topic/topic_settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// Payload of topic_created and topic_configured, and the catalogue row that comes from them.
struct topic_row {
  topic_ref name;
  topic_settings settings;
  entity_id entity{};
};

[[nodiscard]] shared_bytes encode_topic_created(const topic_ref& name, const topic_settings& with);
[[nodiscard]] shared_bytes
encode_topic_configured(const topic_ref& name, const topic_settings& with);
[[nodiscard]] shared_bytes encode_topic_deleted(const topic_ref& name, sequence last_seq);
[[nodiscard]] shared_bytes encode_trimmed(sequence up_to, std::uint64_t bytes);

/// Errors: corruption. Both kinds of record have the same fields.
[[nodiscard]] result<topic_row> decode_topic_record(std::string_view payload, entity_id entity);
[[nodiscard]] result<topic_ref> decode_topic_deleted(std::string_view payload);

struct trimmed_range {
  sequence up_to{};
  std::uint64_t bytes = 0;
};

[[nodiscard]] result<trimmed_range> decode_trimmed(std::string_view payload);

// -- catalogue view --------------------------------------------------------------------------

/// Key of a topic's row: tenant, 0, 't', topic.
[[nodiscard]] std::string catalogue_key(const topic_ref& name);

/// Range of all topics of a tenant whose names come after `after` (empty = from the first).
struct key_range {
  std::string first;
  std::string last;
};

[[nodiscard]] key_range catalogue_range(const tenant_name& tenant, std::string_view after);

/// Rows of every tenant's topics look like this: the name from the key, the rest from the value.
/// Nothing for keys of other kinds (groups).
[[nodiscard]] std::optional<topic_row> decode_catalogue_row(
    std::string_view key, std::string_view value);
[[nodiscard]] std::string encode_catalogue_value(const topic_row& row);

// -- topic_state view ------------------------------------------------------------------------

/// What trims and events have made of a topic.
struct topic_counters {
  sequence trimmed_up_to{};
  sequence last_seq{};
  /// Bytes of stored events (payloads with prefix) that were not trimmed.
  std::uint64_t bytes = 0;
};

[[nodiscard]] std::string entity_key(entity_id entity);
[[nodiscard]] std::string encode_counters(const topic_counters& counters);
[[nodiscard]] topic_counters decode_counters(std::string_view value);

// -- dedupe view -----------------------------------------------------------------------------

/// One event in a packed dedupe row: 16 bytes identity, 8 content, 8 seq, 8 time (milliseconds),
/// all little-endian.
inline constexpr std::size_t dedupe_entry_size = 40;

[[nodiscard]] std::string dedupe_key(entity_id entity, sequence first);

} // namespace callboard::runtime
