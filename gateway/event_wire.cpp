// The Protobuf form of event_fields, written and read by hand: no message object, no copies. It is
// on the way of every event, in and out. tests/gateway compares it with the generated code.
#include "gateway/event_fields.hpp"

namespace callboard::gateway {

namespace {

// Tags of callboard.v1.Event and Extension: field number * 8 + wire type.
enum event_tag : std::uint32_t {
  tag_id = 10,
  tag_source = 18,
  tag_type = 26,
  tag_subject = 34,
  tag_time = 42,
  tag_datacontenttype = 50,
  tag_dataschema = 58,
  tag_extension = 66,
  tag_json = 74,
  tag_text = 82,
  tag_binary = 90,
};

enum extension_tag : std::uint32_t {
  tag_name = 10,
  tag_text_value = 18,
  tag_integer_value = 24,
  tag_boolean_value = 32,
};

std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(static_cast<unsigned char>(value | 0x80));
    value >>= 7;
  }
  out += static_cast<char>(static_cast<unsigned char>(value));
}

std::size_t bytes_size(std::string_view value) {
  return 1 + varint_size(value.size()) + value.size();
}

void append_bytes(std::string& out, std::uint32_t tag, std::string_view value) {
  out += static_cast<char>(static_cast<unsigned char>(tag));
  append_varint(out, value.size());
  out += value;
}

/// Protobuf sign-extends negative int32 values to 64 bits.
std::uint64_t wire_of(std::int32_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
}

std::size_t extension_size(const extension_fields& extension) {
  const auto name = bytes_size(extension.name);
  if (const auto* text = std::get_if<std::string_view>(&extension.value)) {
    return name + bytes_size(*text);
  }
  if (const auto* integer = std::get_if<std::int32_t>(&extension.value)) {
    return name + 1 + varint_size(wire_of(*integer));
  }
  return name + 2;
}

void append_extension(std::string& out, const extension_fields& extension) {
  out += static_cast<char>(tag_extension);
  append_varint(out, extension_size(extension));
  append_bytes(out, tag_name, extension.name);
  if (const auto* text = std::get_if<std::string_view>(&extension.value)) {
    append_bytes(out, tag_text_value, *text);
  } else if (const auto* integer = std::get_if<std::int32_t>(&extension.value)) {
    out += static_cast<char>(tag_integer_value);
    append_varint(out, wire_of(*integer));
  } else {
    out += static_cast<char>(tag_boolean_value);
    out += static_cast<char>(std::get<bool>(extension.value) ? 1 : 0);
  }
}

std::uint32_t data_tag(data_form form) {
  return form == data_form::json ? tag_json : form == data_form::text ? tag_text : tag_binary;
}

/// Reads fields one after another; `ok` turns false at the first that is cut short.
class wire_reader {
public:
  explicit wire_reader(std::string_view bytes) : rest_{bytes} {}

  [[nodiscard]] bool ok() const { return ok_; }

  [[nodiscard]] bool at_end() const { return rest_.empty() || !ok_; }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }

  std::string_view bytes() {
    const auto size = varint();
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const auto value = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return value;
  }

  void skip(std::uint64_t tag) {
    switch (tag & 7) {
    case 0:
      varint();
      return;
    case 1:
      drop(8);
      return;
    case 2:
      bytes();
      return;
    case 5:
      drop(4);
      return;
    default:
      ok_ = false;
    }
  }

private:
  void drop(std::size_t count) {
    if (count > rest_.size()) {
      ok_ = false;
    } else {
      rest_.remove_prefix(count);
    }
  }

  std::string_view rest_;
  bool ok_ = true;
};

bool read_extension(std::string_view proto, extension_fields& extension) {
  wire_reader reader{proto};
  while (!reader.at_end()) {
    const auto tag = reader.varint();
    switch (tag) {
    case tag_name:
      extension.name = reader.bytes();
      break;
    case tag_text_value:
      extension.value = reader.bytes();
      break;
    case tag_integer_value:
      extension.value = static_cast<std::int32_t>(static_cast<std::uint32_t>(reader.varint()));
      break;
    case tag_boolean_value:
      extension.value = reader.varint() != 0;
      break;
    default:
      reader.skip(tag);
    }
  }
  return reader.ok();
}

}  // namespace

std::size_t event_proto_size(const event_fields& event) {
  std::size_t size = 0;
  for (const auto text :
       {event.id,
        event.source,
        event.type,
        event.subject,
        event.time,
        event.datacontenttype,
        event.dataschema}) {
    if (!text.empty()) size += bytes_size(text);
  }
  for (const auto& extension : event.extensions) {
    const auto inner = extension_size(extension);
    size += 1 + varint_size(inner) + inner;
  }
  if (event.form != data_form::none) size += bytes_size(event.data);
  return size;
}

void append_event_proto(std::string& out, const event_fields& event) {
  const auto append = [&](std::uint32_t tag, std::string_view text) {
    if (!text.empty()) append_bytes(out, tag, text);
  };
  append(tag_id, event.id);
  append(tag_source, event.source);
  append(tag_type, event.type);
  append(tag_subject, event.subject);
  append(tag_time, event.time);
  append(tag_datacontenttype, event.datacontenttype);
  append(tag_dataschema, event.dataschema);
  for (const auto& extension : event.extensions)
    append_extension(out, extension);
  if (event.form != data_form::none) append_bytes(out, data_tag(event.form), event.data);
}

bool read_event_proto(std::string_view proto, event_fields& event) {
  event.clear();
  wire_reader reader{proto};
  const auto read_data = [&](data_form form) {
    event.form = form;
    event.data = reader.bytes();
  };
  while (!reader.at_end()) {
    const auto tag = reader.varint();
    switch (tag) {
    case tag_id:
      event.id = reader.bytes();
      break;
    case tag_source:
      event.source = reader.bytes();
      break;
    case tag_type:
      event.type = reader.bytes();
      break;
    case tag_subject:
      event.subject = reader.bytes();
      break;
    case tag_time:
      event.time = reader.bytes();
      break;
    case tag_datacontenttype:
      event.datacontenttype = reader.bytes();
      break;
    case tag_dataschema:
      event.dataschema = reader.bytes();
      break;
    case tag_extension: {
      const auto bytes = reader.bytes();
      if (!read_extension(bytes, event.extensions.emplace_back())) return false;
      break;
    }
    case tag_json:
      read_data(data_form::json);
      break;
    case tag_text:
      read_data(data_form::text);
      break;
    case tag_binary:
      read_data(data_form::binary);
      break;
    default:
      reader.skip(tag);
    }
  }
  return reader.ok();
}

}  // namespace callboard::gateway
