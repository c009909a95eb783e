#include "gateway/event_fields.hpp"

#include "gateway/json_text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::gateway {

namespace {

constexpr std::size_t attribute_name_size_max = 64;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// The String type of CloudEvents: Unicode without control characters and noncharacters.
bool is_cloudevents_string(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte >= 0x20 && byte < 0x7F) {
      ++at;
      continue;
    }
    const auto point = next_code_point(text, at);
    if (!point || *point < 0x20 || (*point >= 0x7F && *point <= 0x9F)) return false;
    if ((*point >= 0xFDD0 && *point <= 0xFDEF) || (*point & 0xFFFE) == 0xFFFE) return false;
  }
  return true;
}

/// The characters of RFC 3986, with complete percent escapes.
bool is_uri_reference(std::string_view text) {
  constexpr std::string_view punctuation = "-._~:/?#[]@!$&'()*+,;=";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) return false;
      i += 2;
    } else if (
        !is_alpha(text[i]) && !is_digit(text[i])
        && punctuation.find(text[i]) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

/// A URI has a scheme, other than a URI-reference.
bool is_uri(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || !is_alpha(text[0])) return false;
  const auto scheme = text.substr(0, colon);
  const bool fits = std::ranges::all_of(scheme, [](char c) {
    return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  });
  return fits && is_uri_reference(text);
}

bool is_token_char(char c) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return is_alpha(c) || is_digit(c) || others.find(c) != std::string_view::npos;
}

/// `type/subtype` of tokens (RFC 2046), then nothing or parameters.
bool is_media_type(std::string_view text) {
  auto name = text.substr(0, text.find(';'));
  while (name.ends_with(' '))
    name.remove_suffix(1);
  const auto slash = name.find('/');
  if (slash == std::string_view::npos) return false;
  const auto type = name.substr(0, slash);
  const auto subtype = name.substr(slash + 1);
  return !type.empty() && !subtype.empty() && std::ranges::all_of(type, is_token_char)
         && std::ranges::all_of(subtype, is_token_char);
}

/// Reads `count` digits at `at` and moves on; -1 if there are fewer.
int take_digits(std::string_view text, std::size_t& at, std::size_t count) {
  if (at + count > text.size()) return -1;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i, ++at) {
    if (!is_digit(text[at])) return -1;
    value = value * 10 + (text[at] - '0');
  }
  return value;
}

bool take_char(std::string_view text, std::size_t& at, char upper) {
  if (at >= text.size()) return false;
  const char c = text[at++];
  return c == upper || (is_alpha(upper) && c == (upper | 0x20));
}

bool is_date(int year, int month, int day) {
  if (year < 0 || month < 1 || month > 12 || day < 1) return false;
  constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
}

bool is_rfc3339_zone(std::string_view text, std::size_t at) {
  if (at >= text.size()) return false;
  if (text[at] == 'Z' || text[at] == 'z') return at + 1 == text.size();
  if (text[at] != '+' && text[at] != '-') return false;
  ++at;
  const int hours = take_digits(text, at, 2);
  if (hours < 0 || hours > 23 || !take_char(text, at, ':')) return false;
  const int minutes = take_digits(text, at, 2);
  return minutes >= 0 && minutes <= 59 && at == text.size();
}

bool is_rfc3339(std::string_view text) {
  std::size_t at = 0;
  const int year = take_digits(text, at, 4);
  if (!take_char(text, at, '-')) return false;
  const int month = take_digits(text, at, 2);
  if (!take_char(text, at, '-')) return false;
  const int day = take_digits(text, at, 2);
  if (!is_date(year, month, day) || !take_char(text, at, 'T')) return false;
  const int hour = take_digits(text, at, 2);
  if (hour < 0 || hour > 23 || !take_char(text, at, ':')) return false;
  const int minute = take_digits(text, at, 2);
  if (minute < 0 || minute > 59 || !take_char(text, at, ':')) return false;
  const int second = take_digits(text, at, 2);
  if (second < 0 || second > 60) return false;  // 60: a leap second
  if (at < text.size() && text[at] == '.') {
    const auto begin = ++at;
    while (at < text.size() && is_digit(text[at]))
      ++at;
    if (at == begin) return false;
  }
  return is_rfc3339_zone(text, at);
}

std::unexpected<error> broken(std::string_view attribute, std::string_view rule) {
  return fail(errc::invalid_event, fmt::format("event attribute '{}' {}", shown(attribute), rule));
}

result<void> check_required(const event_fields& event) {
  const std::pair<std::string_view, std::string_view> required[] = {
      {"id", event.id}, {"source", event.source}, {"type", event.type}};
  for (const auto& [name, value] : required) {
    if (value.empty()) return broken(name, "is required and must not be empty");
  }
  return {};
}

result<void> check_known(const event_fields& event) {
  const std::pair<std::string_view, std::string_view> texts[] = {
      {"id", event.id}, {"type", event.type}, {"subject", event.subject}};
  for (const auto& [name, value] : texts) {
    if (!is_cloudevents_string(value)) {
      return broken(name, "must be valid Unicode without control characters");
    }
  }
  if (!is_uri_reference(event.source)) return broken("source", "must be a URI-reference");
  if (!event.dataschema.empty() && !is_uri(event.dataschema)) {
    return broken("dataschema", "must be an absolute URI");
  }
  if (!event.time.empty() && !is_rfc3339(event.time)) {
    return broken("time", "must be an RFC 3339 timestamp");
  }
  if (!event.datacontenttype.empty()
      && (!is_media_type(event.datacontenttype) || !is_cloudevents_string(event.datacontenttype))) {
    return broken("datacontenttype", "must be a media type");
  }
  return {};
}

bool is_reserved(std::string_view name) {
  constexpr std::string_view reserved[] = {
      "id",
      "source",
      "type",
      "subject",
      "time",
      "datacontenttype",
      "dataschema",
      "specversion",
      "data"};
  return std::ranges::find(reserved, name) != std::end(reserved);
}

result<void> check_extensions(std::vector<extension_fields>& extensions) {
  std::ranges::sort(extensions, {}, &extension_fields::name);
  std::string_view previous;
  for (const auto& [name, value] : extensions) {
    if (!is_attribute_name(name)) {
      return broken(name, "must have a name of 1 to 64 characters of a-z and 0-9");
    }
    if (is_reserved(name)) return broken(name, "cannot be an extension");
    if (name == previous) return broken(name, "is there twice");
    previous = name;
    const auto* text = std::get_if<std::string_view>(&value);
    if (text != nullptr && !is_cloudevents_string(*text)) {
      return broken(name, "must be valid Unicode without control characters");
    }
  }
  return {};
}

}  // namespace

void event_fields::clear() {
  id = source = type = subject = time = datacontenttype = dataschema = data = {};
  extensions.clear();
  form = data_form::none;
}

result<void> check_event(event_fields& event) {
  if (auto there = check_required(event); !there) return there;
  if (auto sound = check_known(event); !sound) return sound;
  return check_extensions(event.extensions);
}

bool is_attribute_name(std::string_view name) {
  return !name.empty() && name.size() <= attribute_name_size_max
         && std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c); });
}

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 64))
    out += c >= 0x20 && c < 0x7F ? c : '?';
  if (text.size() > 64) out += "...";
  return out;
}

std::string media_type_of(std::string_view content_type) {
  auto name = content_type.substr(0, content_type.find(';'));
  while (!name.empty() && (name.back() == ' ' || name.back() == '\t'))
    name.remove_suffix(1);
  while (!name.empty() && (name.front() == ' ' || name.front() == '\t'))
    name.remove_prefix(1);
  std::string out{name};
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return out;
}

bool is_json_media_type(std::string_view media_type) {
  if (media_type == "application/json") return true;
  const auto name = media_type_of(media_type);
  return name == "application/json" || name == "text/json" || name.ends_with("+json");
}

bool is_text_media_type(std::string_view media_type) {
  const auto name = media_type_of(media_type);
  return name.starts_with("text/") || name == "application/xml" || name.ends_with("+xml");
}

}  // namespace callboard::gateway
