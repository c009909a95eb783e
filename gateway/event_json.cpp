// A stored event as CloudEvents JSON. Runs once per event and I/O thread, so: views, no DOM, one
// growing buffer.
#include "gateway/base64.hpp"
#include "gateway/event_codec.hpp"
#include "gateway/event_fields.hpp"
#include "gateway/problem.hpp"

#include <fmt/format.h>

#include <chrono>
#include <iterator>

namespace callboard::gateway {

namespace {

void append_member(std::string& out, std::string_view lead, std::string_view value) {
  if (value.empty()) return;
  out += lead;
  append_json_string(out, value);
}

void append_extension(std::string& out, const extension_fields& extension) {
  out += ",\"";
  out += extension.name;
  out += "\":";
  if (const auto* text = std::get_if<std::string_view>(&extension.value)) {
    append_json_string(out, *text);
  } else if (const auto* integer = std::get_if<std::int32_t>(&extension.value)) {
    fmt::format_to(std::back_inserter(out), "{}", *integer);
  } else {
    out += std::get<bool>(extension.value) ? "true" : "false";
  }
}

void append_data(std::string& out, const event_fields& event) {
  switch (event.form) {
  case data_form::none:
    return;
  case data_form::json:
    out += ",\"data\":";
    out += event.data;
    return;
  case data_form::text:
    out += ",\"data\":";
    append_json_string(out, event.data);
    return;
  case data_form::binary:
    out += ",\"data_base64\":\"";
    append_base64(out, event.data);
    out += '"';
    return;
  }
}

/// Scratch of this thread: its extension list keeps its memory.
event_fields& fields_of(const shared_bytes& stored) {
  thread_local event_fields event;
  const auto whole = stored.size() >= runtime::event_prefix_size ? runtime::event_proto(stored)
                                                                 : std::string_view{};
  if (!read_event_proto(whole, event)) event.clear();
  return event;
}

}  // namespace

void append_json_time(std::string& out, time_ms time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  fmt::format_to(
      std::back_inserter(out),
      R"("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z")",
      static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()),
      static_cast<unsigned>(date.day()),
      clock.hours().count(),
      clock.minutes().count(),
      clock.seconds().count(),
      clock.subseconds().count());
}

void append_event_json(
    std::string& out, const shared_bytes& stored, time_ms time, std::string_view topic) {
  const auto& event = fields_of(stored);
  out += R"({"specversion":"1.0")";
  append_member(out, ",\"id\":", event.id);
  append_member(out, ",\"source\":", event.source);
  append_member(out, ",\"type\":", event.type);
  append_member(out, ",\"subject\":", event.subject);
  out += ",\"time\":";
  if (event.time.empty()) {
    append_json_time(out, time);
  } else {
    append_json_string(out, event.time);
  }
  append_member(out, ",\"datacontenttype\":", event.datacontenttype);
  append_member(out, ",\"dataschema\":", event.dataschema);
  append_member(out, ",\"callboardtopic\":", topic);
  for (const auto& extension : event.extensions) {
    if (topic.empty() || extension.name != "callboardtopic") append_extension(out, extension);
  }
  append_data(out, event);
  out += '}';
}

std::string event_type(const shared_bytes& stored) {
  return std::string{fields_of(stored).type};
}

}  // namespace callboard::gateway
