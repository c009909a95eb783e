#include "runtime/binding/bound_event.hpp"

#include "base/rfc3339.hpp"
#include "proto/event.pb.h"
#include "runtime/topic/event_batch.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <callboard/json_text.hpp>

namespace callboard::runtime {

namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t group = 0;
    const auto count = std::min<std::size_t>(3, bytes.size() - at);
    for (std::size_t i = 0; i < 3; ++i) {
      const auto byte = i < count ? static_cast<unsigned char>(bytes[at + i]) : 0U;
      group = group << 8U | byte;
    }
    for (std::size_t i = 0; i < 4; ++i)
      out += i <= count ? digits[group >> (18 - 6 * i) & 63U] : '=';
  }
  return out;
}

}  // namespace

result<bound_event> bound_event::read(const shared_bytes& stored, time_ms recorded) {
  v1::Event from;
  const bool is_whole = stored.size() >= event_prefix_size;
  const auto proto = is_whole ? event_proto(stored) : std::string_view{};
  if (!is_whole || !from.ParseFromArray(proto.data(), static_cast<int>(proto.size()))) {
    return fail(errc::corruption, "an event of a binding's topic is unreadable");
  }
  bound_event event;
  event.id_ = from.id();
  event.source_ = from.source();
  event.type_ = from.type();
  event.subject_ = from.subject();
  event.time_ = from.time().empty() ? format_time(recorded) : from.time();
  event.media_type_ = from.datacontenttype();
  event.schema_ = from.dataschema();
  std::string id_at_death;
  for (const auto& one : from.extensions()) {
    if (one.name() == "correlationid") event.correlation_id_ = one.text();
    if (one.name() == "deadletterid") id_at_death = one.text();
    if (one.name() == "deadletterkey") event.key_at_death_ = one.text();
    if (one.name() == "deadletterhistory") event.history_at_death_ = one.text();
    if (one.name() == "deadletterreplaces") event.is_replacement_ = true;
    auto& kept = event.extensions_.emplace_back(one.name(), one.text());
    if (one.value_case() == v1::Extension::kInteger) kept.second = one.integer();
    if (one.value_case() == v1::Extension::kBoolean) kept.second = one.boolean();
  }
  if (!event.key_at_death_.empty()) {
    event.id_ = std::move(id_at_death);
    std::erase_if(
        event.extensions_, [](const auto& one) { return one.first.starts_with("deadletter"); });
  }
  if (from.has_json()) {
    event.form_ = data_form::json;
    event.data_ = from.json();
  } else if (from.has_text()) {
    event.form_ = data_form::text;
    event.data_ = from.text();
  } else if (from.has_binary()) {
    event.form_ = data_form::binary;
    event.data_ = from.binary();
  }
  return event;
}

const std::string& bound_event::correlation_id() const {
  return correlation_id_.empty() ? id_ : correlation_id_;
}

const boost::json::value* bound_event::data() {
  if (!std::exchange(is_parsed_, true)) {
    if (form_ == data_form::text) value_.emplace(data_);
    if (form_ == data_form::json) {
      auto parsed = accept_json(data_, json_depth_max);
      if (parsed) value_.emplace(*std::move(parsed));
      if (!parsed) flaw_ = std::move(parsed.error());
    }
  }
  return value_ ? &*value_ : nullptr;
}

result<void> bound_event::check_data() {
  if (data() != nullptr || flaw_.empty()) return {};
  return fail(errc::invalid_event, "the event's data " + flaw_);
}

result<std::string> bound_event::data_text() {
  switch (form_) {
  case data_form::none:
    break;
  case data_form::json:
    if (auto sound = check_data(); !sound) return std::unexpected{sound.error()};
    return data_;
  case data_form::text:
    return boost::json::serialize(boost::json::string{data_});
  case data_form::binary:
    return fail(
        errc::invalid_event,
        "the event's data is binary; a workflow gets it with \"input\":\"event\", other targets "
        "need JSON or text");
  }
  return "null";
}

result<std::string> bound_event::event_text() {
  if (auto sound = check_data(); !sound) return std::unexpected{sound.error()};
  boost::json::object out{
      {"specversion", "1.0"}, {"id", id_}, {"source", source_}, {"type", type_}, {"time", time_}};
  if (!subject_.empty()) out["subject"] = subject_;
  if (!media_type_.empty()) out["datacontenttype"] = media_type_;
  if (!schema_.empty()) out["dataschema"] = schema_;
  for (const auto& [name, value] : extensions_)
    std::visit([&](const auto& one) { out[name] = one; }, value);
  if (form_ == data_form::text) out["data"] = data_;
  if (form_ == data_form::binary) out["data_base64"] = base64(data_);
  auto text = boost::json::serialize(out);
  if (form_ != data_form::json) return text;
  // As the client spelled it: a parsed number may lose digits.
  text.pop_back();
  return text + R"(,"data":)" + data_ + '}';
}

}  // namespace callboard::runtime
