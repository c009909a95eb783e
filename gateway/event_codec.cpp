#include "gateway/event_codec.hpp"

#include "base/clock.hpp"
#include "base/uuid.hpp"
#include "gateway/base64.hpp"
#include "gateway/event_fields.hpp"
#include "gateway/json_text.hpp"
#include "gateway/percent.hpp"
#include "proto/event.pb.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <forward_list>

namespace callboard::gateway {

namespace {

/// Owns the few strings of an event that cannot be views into the client's bytes.
using string_store = std::forward_list<std::string>;

std::string_view keep(string_store& store, std::string text) {
  return store.emplace_front(std::move(text));
}

std::unexpected<error> broken(std::string_view attribute, std::string_view rule) {
  return fail(errc::invalid_event, fmt::format("event attribute '{}' {}", shown(attribute), rule));
}

/// The content of a raw JSON string, without a copy when nothing is escaped.
std::string_view string_of(std::string_view quoted, string_store& store) {
  const auto inner = quoted.substr(1, quoted.size() - 2);
  if (inner.find('\\') == std::string_view::npos) return inner;
  return keep(store, unescape_json(quoted));
}

/// The value without insignificant whitespace, without a copy when there is none.
std::string_view minified(std::string_view value, string_store& store) {
  if (value.find_first_of(" \t\r\n") == std::string_view::npos) return value;
  std::string text;
  text.reserve(value.size());
  append_minified(text, value);
  return keep(store, std::move(text));
}

/// What a structured event said of its data, put together once all members are known.
struct structured_data {
  std::optional<std::string_view> json;
  std::optional<std::string_view> base64;
};

result<void> read_extension(
    event_fields& event, std::string_view name, std::string_view value, string_store& store) {
  const char kind = value.front();
  if (kind == '"') {
    event.extensions.push_back({name, string_of(value, store)});
  } else if (kind == 't' || kind == 'f') {
    event.extensions.push_back({name, kind == 't'});
  } else if (kind == '{' || kind == '[') {
    return broken(name, "must be a string, a boolean or an integer");
  } else {
    std::int32_t number = 0;
    const auto end = value.data() + value.size();
    const auto [stopped, failed] = std::from_chars(value.data(), end, number);
    if (failed != std::errc{} || stopped != end) {
      return broken(name, "must be an integer of 32 bits, or else a string");
    }
    event.extensions.push_back({name, number});
  }
  return {};
}

/// The member of `event` that a known attribute fills; null for extensions.
std::string_view* attribute_of(event_fields& event, std::string_view name) {
  if (name == "id") return &event.id;
  if (name == "source") return &event.source;
  if (name == "type") return &event.type;
  if (name == "subject") return &event.subject;
  if (name == "time") return &event.time;
  if (name == "datacontenttype") return &event.datacontenttype;
  if (name == "dataschema") return &event.dataschema;
  return nullptr;
}

/// One member of a structured event other than data.
result<void> read_attribute(
    event_fields& event,
    std::string_view& specversion,
    std::string_view name,
    std::string_view value,
    string_store& store) {
  // The JSON format says that null is the same as unset.
  if (value == "null") return {};
  auto* target = name == "specversion" ? &specversion : attribute_of(event, name);
  if (target == nullptr) return read_extension(event, name, value, store);
  if (value.front() != '"') return broken(name, "must be a string");
  if (target->data() != nullptr) return broken(name, "is there twice");
  *target = string_of(value, store);
  if (target->empty()) return broken(name, "must not be empty");
  return {};
}

result<void>
set_structured_data(event_fields& event, const structured_data& data, string_store& store) {
  if (data.base64) {
    if (data.json) return broken("data_base64", "cannot stand beside data");
    if (!data.base64->starts_with('"')) return broken("data_base64", "must be a string");
    auto bytes = decode_base64(string_of(*data.base64, store));
    if (!bytes) return broken("data_base64", "must be Base64 with padding");
    event.form = data_form::binary;
    event.data = keep(store, std::move(*bytes));
    return {};
  }
  if (!data.json) return {};
  const bool is_json = event.datacontenttype.empty() || is_json_media_type(event.datacontenttype);
  if (!is_json && data.json->starts_with('"')) {
    event.form = data_form::text;
    event.data = string_of(*data.json, store);
  } else {
    event.form = data_form::json;
    event.data = minified(*data.json, store);
  }
  return {};
}

void apply_defaults(
    event_fields& event,
    std::string_view& specversion,
    const event_defaults& defaults,
    string_store& store) {
  if (specversion.empty()) specversion = "1.0";
  if (event.source.empty()) event.source = defaults.source;
  if (event.type.empty()) event.type = defaults.type;
  if (!event.id.empty()) return;
  if (!defaults.id.empty()) {
    event.id = defaults.id;
  } else {
    event.id = keep(store, make_uuid(defaults.now ? *defaults.now : system_clock{}.wall()));
  }
}

result<void> check_specversion(std::string_view specversion) {
  if (specversion.empty()) return broken("specversion", "is required and must be \"1.0\"");
  if (specversion != "1.0") return broken("specversion", "must be \"1.0\"");
  return {};
}

/// Reads a raw JSON object that `check_json` accepted.
result<void> read_structured(
    event_fields& event,
    std::string_view object,
    const event_defaults& defaults,
    bool lenient,
    string_store& store) {
  if (!object.starts_with('{')) {
    return fail(errc::invalid_event, "an event must be a JSON object");
  }
  structured_data data;
  std::string_view specversion;
  json_walker members{object};
  while (members.next()) {
    const auto name = string_of(members.key(), store);
    if (name == "data" || name == "data_base64") {
      auto& slot = name == "data" ? data.json : data.base64;
      if (slot) return broken(name, "is there twice");
      slot = members.value();
    } else if (auto read = read_attribute(event, specversion, name, members.value(), store);
               !read) {
      return read;
    }
  }
  if (lenient) apply_defaults(event, specversion, defaults, store);
  if (auto fits = check_specversion(specversion); !fits) return fits;
  // A null data_base64 is unset, like any attribute.
  if (data.base64 == "null") data.base64.reset();
  return set_structured_data(event, data, store);
}

/// Checks `event` and appends prefix and Event to `out`; returns the size of what was appended.
result<std::size_t> append_stored(std::string& out, event_fields& event, std::uint32_t size_max) {
  if (auto sound = check_event(event); !sound) return std::unexpected{sound.error()};
  const auto size = event_proto_size(event);
  if (size > size_max) {
    return fail(
        errc::too_large, fmt::format("the event takes {} bytes, the limit is {}", size, size_max));
  }
  const auto begin = out.size();
  out.resize(begin + runtime::event_prefix_size);
  append_event_proto(out, event);
  const auto proto = std::string_view{out}.substr(begin + runtime::event_prefix_size);
  runtime::write_event_prefix(
      out.data() + begin, event_identity(event.source, event.id), hash_64(proto));
  return out.size() - begin;
}

result<decoded_event> finish(event_fields& event, std::uint32_t size_max) {
  std::string buffer;
  buffer.reserve(runtime::event_prefix_size + event_proto_size(event));
  if (auto size = append_stored(buffer, event, size_max); !size) {
    return std::unexpected{size.error()};
  }
  return decoded_event{
      .event = {.stored = shared_bytes{std::move(buffer)}}, .id = std::string{event.id}};
}

/// One event of a batch in the buffer that all its events share.
struct slice {
  std::string id;
  std::size_t size;
};

/// Reads one element of a batch and appends it to the batch's buffer.
result<slice> append_element(
    std::string& buffer,
    event_fields& event,
    std::string_view element,
    const event_defaults& defaults) {
  string_store store;
  event.clear();
  if (auto read = read_structured(event, element, defaults, false, store); !read) {
    return std::unexpected{read.error()};
  }
  auto size = append_stored(buffer, event, defaults.event_bytes_max);
  if (!size) return std::unexpected{size.error()};
  return slice{.id = std::string{event.id}, .size = *size};
}

result<void> set_binary_data(event_fields& event, std::string_view body, string_store& store) {
  if (body.empty()) return {};
  if (is_json_media_type(event.datacontenttype)) {
    if (auto sound = check_json(body); !sound) return sound;
    event.form = data_form::json;
    event.data = minified(body, store);
  } else if (is_text_media_type(event.datacontenttype) && is_utf8(body)) {
    event.form = data_form::text;
    event.data = body;
  } else {
    event.form = data_form::binary;
    event.data = body;
  }
  return {};
}

/// The value of a `ce-` header: unquoted, then percent-decoded exactly once.
result<std::string> header_value(std::string_view name, std::string_view raw) {
  std::string text;
  if (raw.size() >= 2 && raw.front() == '"' && raw.back() == '"') {
    for (std::size_t i = 1; i + 1 < raw.size(); ++i) {
      if (raw[i] == '\\' && i + 2 < raw.size()) ++i;
      text += raw[i];
    }
  } else {
    text = raw;
  }
  auto decoded = percent_decode(text);
  if (!decoded) return broken(name, "has an incomplete percent escape");
  if (!is_utf8(*decoded)) return broken(name, "must be valid UTF-8");
  return std::move(*decoded);
}

result<void> set_proto_data(event_fields& event, const v1::Event& from, string_store& store) {
  switch (from.data_case()) {
  case v1::Event::kJson:
    if (auto sound = check_json(from.json()); !sound) return sound;
    event.form = data_form::json;
    event.data = minified(trim_json(from.json()), store);
    return {};
  case v1::Event::kText:
    if (!is_utf8(from.text())) {
      return fail(errc::invalid_event, "event data given as text must be valid UTF-8");
    }
    event.form = data_form::text;
    event.data = from.text();
    return {};
  case v1::Event::kBinary:
    event.form = data_form::binary;
    event.data = from.binary();
    return {};
  case v1::Event::DATA_NOT_SET:
    return {};
  }
  return {};
}

}  // namespace

result<decoded_event> encode_event(const v1::Event& from, std::uint32_t event_bytes_max) {
  event_fields event;
  string_store store;
  event.id = from.id();
  event.source = from.source();
  event.type = from.type();
  event.subject = from.subject();
  event.time = from.time();
  event.datacontenttype = from.datacontenttype();
  event.dataschema = from.dataschema();
  for (const auto& extension : from.extensions()) {
    switch (extension.value_case()) {
    case v1::Extension::kText:
      event.extensions.push_back({extension.name(), std::string_view{extension.text()}});
      break;
    case v1::Extension::kInteger:
      event.extensions.push_back({extension.name(), extension.integer()});
      break;
    case v1::Extension::kBoolean:
      event.extensions.push_back({extension.name(), extension.boolean()});
      break;
    case v1::Extension::VALUE_NOT_SET:
      return broken(extension.name(), "has no value");
    }
  }
  if (auto sound = set_proto_data(event, from, store); !sound) {
    return std::unexpected{sound.error()};
  }
  return finish(event, event_bytes_max);
}

result<decoded_event>
decode_structured(std::string_view json, const event_defaults& defaults, bool lenient) {
  if (auto sound = check_json(json); !sound) return std::unexpected{sound.error()};
  event_fields event;
  string_store store;
  if (auto read = read_structured(event, trim_json(json), defaults, lenient, store); !read) {
    return std::unexpected{read.error()};
  }
  return finish(event, defaults.event_bytes_max);
}

result<std::vector<decoded_event>>
decode_batch(std::string_view json, const event_defaults& defaults, std::uint32_t events_max) {
  if (auto sound = check_json(json); !sound) return std::unexpected{sound.error()};
  const auto array = trim_json(json);
  if (!array.starts_with('[')) {
    return fail(errc::invalid_event, "a batch must be a JSON array of events");
  }

  std::vector<slice> slices;
  auto buffer = std::make_shared<std::string>();
  buffer->reserve(array.size());
  event_fields event;
  json_walker elements{array};
  while (elements.next()) {
    if (slices.size() == events_max) {
      return fail(errc::too_large, fmt::format("a batch may have {} events", events_max));
    }
    auto appended = append_element(*buffer, event, elements.value(), defaults);
    if (!appended) {
      auto problem = appended.error();
      problem.detail = fmt::format("event {} of the batch: {}", slices.size(), problem.detail);
      return std::unexpected{std::move(problem)};
    }
    slices.push_back(std::move(*appended));
  }
  if (slices.empty()) return fail(errc::invalid_event, "a batch must have at least one event");
  std::vector<decoded_event> events;
  events.reserve(slices.size());
  std::size_t at = 0;
  for (auto& [id, size] : slices) {
    const auto view = std::string_view{*buffer}.substr(at, size);
    events.push_back({.event = {.stored = shared_bytes{buffer, view}}, .id = std::move(id)});
    at += size;
  }
  return events;
}

result<decoded_event> decode_binary(
    const std::vector<std::pair<std::string, std::string>>& headers,
    std::string_view content_type,
    std::string_view body,
    const event_defaults& defaults) {
  event_fields event;
  string_store store;
  std::string_view specversion;
  for (const auto& [header, raw] : headers) {
    if (!header.starts_with("ce-")) continue;
    const auto name = std::string_view{header}.substr(3);
    if (name == "datacontenttype") {
      return broken(name, "is the Content-Type header in binary mode");
    }
    auto value = header_value(name, raw);
    if (!value) return std::unexpected{value.error()};
    auto* target = name == "specversion" ? &specversion : attribute_of(event, name);
    const auto text = keep(store, std::move(*value));
    if (target == nullptr) {
      event.extensions.push_back({name, text});
      continue;
    }
    if (target->data() != nullptr) return broken(name, "is there twice");
    if (text.empty()) return broken(name, "must not be empty");
    *target = text;
  }
  if (auto fits = check_specversion(specversion); !fits) return std::unexpected{fits.error()};
  event.datacontenttype = content_type;
  if (auto sound = set_binary_data(event, body, store); !sound) {
    return std::unexpected{sound.error()};
  }
  return finish(event, defaults.event_bytes_max);
}

result<decoded_event> decode_plain(std::string_view json, const event_defaults& defaults) {
  if (auto sound = check_json(json); !sound) return std::unexpected{sound.error()};
  event_fields event;
  string_store store;
  std::string_view specversion;
  apply_defaults(event, specversion, defaults, store);
  event.form = data_form::json;
  event.data = minified(trim_json(json), store);
  return finish(event, defaults.event_bytes_max);
}

}  // namespace callboard::gateway
