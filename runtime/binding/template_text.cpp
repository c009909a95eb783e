#include "runtime/binding/template_text.hpp"

#include "runtime/binding/bound_event.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace callboard::runtime {

namespace {

constexpr std::string_view data_prefix = "data.";

const boost::json::value* step_into(const boost::json::value& from, const std::string& name) {
  if (from.is_object()) return from.get_object().if_contains(name);
  if (!from.is_array()) return nullptr;
  std::size_t index = 0;
  const auto* end = name.data() + name.size();
  const auto [stopped, failed] = std::from_chars(name.data(), end, index);
  if (failed != std::errc{} || stopped != end) return nullptr;
  return from.get_array().if_contains(index);
}

}  // namespace

result<template_text::piece> template_text::parse_place(std::string_view place) {
  if (place == "id") return attribute::id;
  if (place == "source") return attribute::source;
  if (place == "type") return attribute::type;
  if (place == "subject") return attribute::subject;
  const auto unknown = [&] {
    return fail(
        errc::bad_request,
        fmt::format(
            "'{{{}}}' is no place of a template; there are {{id}}, {{source}}, {{type}}, "
            "{{subject}} and {{data.a.b}}",
            place));
  };
  if (!place.starts_with(data_prefix)) return unknown();
  data_path path;
  auto rest = place.substr(data_prefix.size());
  while (true) {
    const auto dot = rest.find('.');
    if (rest.empty() || dot == 0) return unknown();
    path.emplace_back(rest.substr(0, dot));
    if (dot == std::string_view::npos) return path;
    rest.remove_prefix(dot + 1);
  }
}

result<template_text> template_text::parse(std::string_view text) {
  if (text.size() > size_max) {
    return fail(errc::bad_request, fmt::format("a template has at most {} bytes", size_max));
  }
  template_text made;
  made.text_ = text;
  while (!text.empty()) {
    const auto brace = text.find_first_of("{}");
    if (brace != 0) made.pieces_.emplace_back(std::string{text.substr(0, brace)});
    if (brace == std::string_view::npos) break;
    const auto end = text.find_first_of("{}", brace + 1);
    if (text[brace] == '}' || end == std::string_view::npos || text[end] == '{') {
      return fail(
          errc::bad_request,
          fmt::format("a brace of the template '{}' has no partner", made.text_));
    }
    auto place = parse_place(text.substr(brace + 1, end - brace - 1));
    if (!place) return std::unexpected{place.error()};
    made.pieces_.push_back(*std::move(place));
    text.remove_prefix(end + 1);
  }
  return made;
}

result<std::string> template_text::look_up(bound_event& event, attribute which) {
  const auto value = [&]() -> std::pair<std::string_view, const std::string*> {
    switch (which) {
    case attribute::id:
      return {"id", &event.id()};
    case attribute::source:
      return {"source", &event.source()};
    case attribute::type:
      return {"type", &event.type()};
    case attribute::subject:
      break;
    }
    return {"subject", &event.subject()};
  }();
  if (!value.second->empty()) return *value.second;
  return fail(errc::invalid_event, fmt::format("the event has no {}", value.first));
}

result<std::string> template_text::look_up(bound_event& event, const data_path& path) {
  if (auto sound = event.check_data(); !sound) return std::unexpected{sound.error()};
  const auto* value = event.data();
  std::string walked = "data";
  for (const auto& name : path) {
    walked += '.' + name;
    value = value == nullptr ? nullptr : step_into(*value, name);
  }
  if (value == nullptr)
    return fail(errc::invalid_event, fmt::format("the event has no {}", walked));
  if (value->is_string()) return std::string{value->get_string()};
  if (value->is_number() || value->is_bool()) return boost::json::serialize(*value);
  return fail(
      errc::invalid_event, fmt::format("{} of the event is neither a text nor a number", walked));
}

result<std::string> template_text::expand(bound_event& event) const {
  std::string out;
  for (const auto& one : pieces_) {
    if (const auto* text = std::get_if<std::string>(&one)) {
      out += *text;
      continue;
    }
    const auto* path = std::get_if<data_path>(&one);
    auto value = path != nullptr ? look_up(event, *path) : look_up(event, std::get<attribute>(one));
    if (!value) return value;
    out += *value;
  }
  return out;
}

std::string template_text::sample(std::string_view stand_in) const {
  std::string out;
  for (const auto& one : pieces_) {
    const auto* text = std::get_if<std::string>(&one);
    out += text != nullptr ? std::string_view{*text} : stand_in;
  }
  return out;
}

}  // namespace callboard::runtime
