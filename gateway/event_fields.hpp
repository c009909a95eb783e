// An event as views: the common middle of all wire formats, and its one canonical encoding.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace callboard::gateway {

struct extension_fields {
  std::string_view name;
  std::variant<std::string_view, std::int32_t, bool> value;
};

enum class data_form : std::uint8_t { none, json, text, binary };

/// Views into whatever the event came from; an empty view is an absent attribute.
struct event_fields {
  std::string_view id;
  std::string_view source;
  std::string_view type;
  std::string_view subject;
  std::string_view time;
  std::string_view datacontenttype;
  std::string_view dataschema;
  std::vector<extension_fields> extensions;
  data_form form = data_form::none;
  std::string_view data;

  /// Empty again, with the memory of `extensions` kept.
  void clear();
};

/// Checks all rules of CloudEvents 1.0 for attributes, and sorts the extensions. Does not look into
/// `data`. Errors: invalid_event with the attribute and the rule.
[[nodiscard]] result<void> check_event(event_fields& event);

/// Size of what `append_event_proto` appends.
[[nodiscard]] std::size_t event_proto_size(const event_fields& event);

/// Appends a callboard.v1.Event in the one canonical form: fields in order of number, extensions in
/// order of name, so that equal events have equal bytes.
void append_event_proto(std::string& out, const event_fields& event);

/// Reads a callboard.v1.Event without copying; unknown fields are passed over. False if the bytes
/// are not one.
[[nodiscard]] bool read_event_proto(std::string_view proto, event_fields& event);

/// `a-z` and `0-9`, at least one and at most 64.
[[nodiscard]] bool is_attribute_name(std::string_view name);

/// Client text for a message: short, printable ASCII only.
[[nodiscard]] std::string shown(std::string_view text);

/// `application/json`, `text/json` and everything with the suffix `+json`; parameters are ignored.
[[nodiscard]] bool is_json_media_type(std::string_view media_type);

/// `text/...`, `application/xml` and everything with the suffix `+xml`.
[[nodiscard]] bool is_text_media_type(std::string_view media_type);

/// Type and subtype in lower case, without parameters.
[[nodiscard]] std::string media_type_of(std::string_view content_type);

}  // namespace callboard::gateway
