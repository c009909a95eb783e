#include "bench/frames.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <optional>

namespace callboard::bench {

namespace {

// Field numbers of proto/gateway.proto and proto/event.proto.
constexpr std::uint32_t frame_ops = 1;
constexpr std::uint32_t op_id = 1;
constexpr std::uint32_t client_publish = 2;
constexpr std::uint32_t client_subscribe = 3;
constexpr std::uint32_t publish_topic = 1;
constexpr std::uint32_t publish_events = 2;
constexpr std::uint32_t publish_durability = 4;
constexpr std::uint32_t server_welcome = 2;
constexpr std::uint32_t server_error = 6;
constexpr std::uint32_t server_delivery = 7;
constexpr std::uint32_t delivery_events = 5;
constexpr std::uint32_t event_id = 1;

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void put_number(std::string& out, std::uint32_t field, std::uint64_t value) {
  put_varint(out, field << 3);
  put_varint(out, value);
}

void put_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  put_varint(out, field << 3 | 2);
  put_varint(out, bytes.size());
  out.append(bytes);
}

/// Walks the fields of one message.
class field_reader {
public:
  explicit field_reader(std::string_view bytes) : at_{bytes.data()}, end_{at_ + bytes.size()} {}

  /// False at the end or at nonsense; then `is_sound` tells which.
  bool next() {
    if (at_ == end_) return false;
    const auto tag = varint();
    if (!sound_) return false;
    field = static_cast<std::uint32_t>(tag >> 3);
    number = 0;
    bytes = {};
    switch (tag & 7) {
    case 0:
      number = varint();
      break;
    case 1:
      skip(8);
      break;
    case 2: {
      const auto size = varint();
      if (size > static_cast<std::uint64_t>(end_ - at_)) sound_ = false;
      if (!sound_) return false;
      bytes = {at_, static_cast<std::size_t>(size)};
      at_ += size;
      break;
    }
    case 5:
      skip(4);
      break;
    default:
      sound_ = false;
    }
    return sound_;
  }

  [[nodiscard]] bool is_sound() const { return sound_; }

  std::uint32_t field = 0;
  std::uint64_t number = 0;
  std::string_view bytes;

private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && at_ != end_; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    sound_ = false;
    return 0;
  }

  void skip(std::ptrdiff_t size) {
    if (end_ - at_ < size) {
      sound_ = false;
    } else {
      at_ += size;
    }
  }

  const char* at_;
  const char* end_;
  bool sound_ = true;
};

void visit_delivery(std::string_view delivery, const event_ids& ids, const answer_visitor& visit) {
  field_reader fields{delivery};
  while (fields.next()) {
    if (fields.field != delivery_events) continue;
    field_reader event{fields.bytes};
    while (event.next()) {
      if (event.field != event_id) continue;
      const auto index = ids.index_of(event.bytes);
      if (index >= 0 && visit.on_event) visit.on_event(static_cast<std::uint64_t>(index));
      break;
    }
  }
}

bool visit_proto(std::string_view message, const event_ids& ids, const answer_visitor& visit) {
  field_reader frame{message};
  while (frame.next()) {
    if (frame.field != frame_ops) continue;
    field_reader op{frame.bytes};
    std::uint64_t id = 0;
    std::uint32_t kind = 0;
    std::string_view body;
    while (op.next()) {
      if (op.field == op_id) {
        id = op.number;
      } else {
        kind = op.field;
        body = op.bytes;
      }
    }
    if (!op.is_sound()) return false;
    if (kind == server_delivery) {
      visit_delivery(body, ids, visit);
    } else if (kind == server_error) {
      field_reader problem{body};
      const auto code = problem.next() && problem.field == 1 ? problem.bytes : "unknown";
      if (visit.on_refused) visit.on_refused(id, code);
    } else if (id != 0 && kind != server_welcome && visit.on_done) {
      visit.on_done(id);
    }
  }
  return frame.is_sound();
}

std::optional<std::uint64_t> number_after(std::string_view text, std::string_view name) {
  const auto at = text.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  std::uint64_t value = 0;
  const auto* begin = text.data() + at + name.size();
  const auto [end, problem] = std::from_chars(begin, text.data() + text.size(), value);
  if (problem != std::errc{}) return std::nullopt;
  return value;
}

bool visit_json(std::string_view message, const event_ids& ids, const answer_visitor& visit) {
  // Only frames with events are long; they begin with their operation like all others.
  const auto head = message.substr(0, 40);
  if (head.contains("\"event\"") || head.contains("\"events\"")) {
    auto rest = message;
    for (;;) {
      const auto* found = static_cast<const char*>(
          ::memmem(rest.data(), rest.size(), ids.prefix().data(), ids.prefix().size()));
      if (found == nullptr) return true;
      rest = rest.substr(static_cast<std::size_t>(found - rest.data()));
      const auto index = ids.index_of(rest);
      if (index >= 0 && visit.on_event) visit.on_event(static_cast<std::uint64_t>(index));
      rest.remove_prefix(event_ids::prefix_size);
    }
  }
  if (head.contains("\"ok\"")) {
    if (const auto op = number_after(message, "\"id\":"); op && visit.on_done) visit.on_done(*op);
    return true;
  }
  if (head.contains("\"error\"")) {
    constexpr std::string_view name = "\"code\":\"";
    const auto at = message.find(name);
    auto code = at == std::string_view::npos ? "unknown" : message.substr(at + name.size());
    code = code.substr(0, code.find('"'));
    if (visit.on_refused) visit.on_refused(number_after(message, "\"id\":").value_or(0), code);
    return true;
  }
  return message.starts_with('{');
}

std::uint64_t durability_number(std::string_view name) {
  if (name == "written") return 1;
  if (name == "synced") return 2;
  if (name == "replicated") return 3;
  return 0;
}

}  // namespace

std::string_view subprotocol_of(wire format) {
  return format == wire::proto ? "callboard.v1.proto" : "callboard.v1.json";
}

event_ids::event_ids(std::uint32_t run) : prefix_{fmt::format("cb{:08x}-", run)} {}

void event_ids::write_index(char* id, std::uint64_t index) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (int i = 15; i >= 0; --i) {
    id[prefix_size + static_cast<std::size_t>(i)] = digits[index & 15];
    index >>= 4;
  }
}

std::int64_t event_ids::index_of(std::string_view id) const {
  if (id.size() < id_size || !id.starts_with(prefix_)) return -1;
  std::int64_t index = 0;
  for (std::size_t i = prefix_size; i < id_size; ++i) {
    const char c = id[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : (c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1);
    if (digit < 0) return -1;
    index = index << 4 | digit;
  }
  return index;
}

publish_writer::publish_writer(
    wire format,
    const event_ids& ids,
    const std::string& topic,
    std::uint32_t size,
    std::string_view durability)
    : format_{format}, topic_{topic}, durability_{durability} {
  const auto id = ids.prefix() + std::string(16, '0');
  const auto data = '"' + std::string(size < 2 ? 0 : size - 2, 'x') + '"';
  if (format == wire::json) {
    body_ = fmt::format(R"(,"topic":"{}",)", topic);
    if (!durability.empty()) body_ += fmt::format(R"("durability":"{}",)", durability);
    body_ += fmt::format(
        R"("event":{{"specversion":"1.0","id":"{}","source":"/bench","type":"bench","data":{}}}}})",
        id,
        data);
    id_at_ = body_.find(id);
    return;
  }
  put_bytes(event_, event_id, id);
  id_in_event_ = event_.size() - id.size();
  put_bytes(event_, 2, "/bench");
  put_bytes(event_, 3, "bench");
  put_bytes(event_, 9, data);
  std::string publish;
  put_bytes(publish, publish_topic, topic);
  put_bytes(publish, publish_events, event_);
  if (!durability.empty()) {
    put_number(publish, publish_durability, durability_number(durability));
  }
  put_bytes(body_, client_publish, publish);
  id_at_ = body_.find(id);
}

void publish_writer::append(std::string& out, std::uint64_t op, std::uint64_t index) {
  event_ids::write_index(body_.data() + id_at_, index);
  if (format_ == wire::json) {
    out += R"({"op":"publish","id":)";
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, op).ptr;
    out.append(digits, static_cast<std::size_t>(end - digits));
    out += body_;
    return;
  }
  std::uint64_t number_size = 2;
  for (auto rest = op >> 7; rest != 0; rest >>= 7)
    ++number_size;
  put_varint(out, frame_ops << 3 | 2);
  put_varint(out, number_size + body_.size());
  put_number(out, op_id, op);
  out += body_;
}

void publish_writer::append_batch(
    std::string& out, std::uint64_t op, std::uint64_t first_index, std::uint32_t count) const {
  std::string publish;
  publish.reserve((event_.size() + 4) * count + topic_.size() + 8);
  put_bytes(publish, publish_topic, topic_);
  auto event = event_;
  for (std::uint32_t i = 0; i < count; ++i) {
    event_ids::write_index(event.data() + id_in_event_, first_index + i);
    put_bytes(publish, publish_events, event);
  }
  if (!durability_.empty()) {
    put_number(publish, publish_durability, durability_number(durability_));
  }
  std::string body;
  put_number(body, op_id, op);
  put_bytes(body, client_publish, publish);
  put_bytes(out, frame_ops, body);
}

std::string
subscribe_frame(wire format, std::uint64_t op, std::string_view topic, std::string_view from) {
  if (format == wire::json) {
    return fmt::format(R"({{"op":"subscribe","id":{},"topic":"{}","from":"{}"}})", op, topic, from);
  }
  std::string subscribe;
  put_bytes(subscribe, 1, topic);
  put_bytes(subscribe, 2, from);
  std::string body;
  put_number(body, op_id, op);
  put_bytes(body, client_subscribe, subscribe);
  std::string out;
  put_bytes(out, frame_ops, body);
  return out;
}

bool visit_message(
    wire format, std::string_view message, const event_ids& ids, const answer_visitor& visit) {
  return format == wire::proto ? visit_proto(message, ids, visit) : visit_json(message, ids, visit);
}

}  // namespace callboard::bench
