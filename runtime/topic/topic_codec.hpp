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
[[nodiscard]] std::optional<topic_row>
decode_catalogue_row(std::string_view key, std::string_view value);
[[nodiscard]] std::string encode_catalogue_value(const topic_row& row);

// -- topic_state view ------------------------------------------------------------------------

/// What trims and events have made of a topic.
struct topic_counters {
  sequence trimmed_up_to{};
  sequence last_seq{};
  /// Bytes of stored events (payloads with prefix) that were not trimmed.
  std::uint64_t bytes = 0;
  /// The oldest dedupe row and its time; 0 = there is none. Rows follow each other without gaps.
  sequence dedupe_first{};
  time_ms dedupe_time{};
  std::uint64_t dedupe_window_s = 0;
  /// Of the newest dedupe row; 0: there is none, or a version wrote it that did not keep this.
  time_ms dedupe_last_time{};
};

[[nodiscard]] std::string entity_key(entity_id entity);
[[nodiscard]] std::string encode_counters(const topic_counters& counters);
[[nodiscard]] topic_counters decode_counters(std::string_view value);

// -- dedupe view -----------------------------------------------------------------------------

[[nodiscard]] std::string dedupe_key(entity_id entity, sequence first);

/// A packed dedupe row: 8 bytes time (milliseconds), then for each event from the key's seq on 16
/// bytes identity and 8 content, as its payload begins; all little-endian.
class dedupe_row {
public:
  static constexpr std::size_t header_size = 8;
  static constexpr std::size_t entry_size = 24;

  /// What a row begins with; entries are appended to it.
  [[nodiscard]] static std::string begin(time_ms time);

  /// Nothing if the bytes are no dedupe row.
  [[nodiscard]] static std::optional<dedupe_row> read(std::string_view key, std::string_view value);

  [[nodiscard]] sequence first() const { return first_; }

  [[nodiscard]] time_ms time() const { return time_; }

  [[nodiscard]] std::uint64_t count() const { return entries_.size() / entry_size; }

  /// The first `entry_size` bytes of the payload of event `first().plus(index)`.
  [[nodiscard]] std::string_view entry(std::uint64_t index) const {
    return entries_.substr(index * entry_size, entry_size);
  }

private:
  sequence first_{};
  time_ms time_{};
  std::string_view entries_;
};

}  // namespace callboard::runtime
