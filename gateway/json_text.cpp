#include "gateway/json_text.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <fmt/format.h>

#include <cmath>

namespace callboard::gateway {

namespace {

/// Receives everything and keeps nothing: the parser alone is wanted.
struct ignore_all {
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);

  bool finite_only = false;

  using code = boost::json::error_code;
  using text = boost::json::string_view;

  explicit ignore_all(bool finite) : finite_only{finite} {}

  static bool on_document_begin(code&) { return true; }

  static bool on_document_end(code&) { return true; }

  static bool on_array_begin(code&) { return true; }

  static bool on_array_end(std::size_t, code&) { return true; }

  static bool on_object_begin(code&) { return true; }

  static bool on_object_end(std::size_t, code&) { return true; }

  static bool on_string_part(text, std::size_t, code&) { return true; }

  static bool on_string(text, std::size_t, code&) { return true; }

  static bool on_key_part(text, std::size_t, code&) { return true; }

  static bool on_key(text, std::size_t, code&) { return true; }

  static bool on_number_part(text, code&) { return true; }

  static bool on_int64(std::int64_t, text, code&) { return true; }

  static bool on_uint64(std::uint64_t, text, code&) { return true; }

  bool on_double(double number, text, code& failed) const {
    if (!finite_only || std::isfinite(number)) return true;
    failed = boost::json::error::exponent_overflow;
    return false;
  }

  static bool on_bool(bool, code&) { return true; }

  static bool on_null(code&) { return true; }

  static bool on_comment_part(text, code&) { return true; }

  static bool on_comment(text, code&) { return true; }
};

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

std::size_t nested_end(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = string_end(text, at);
      continue;
    }
    ++at;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return at;
  }
  return text.size();
}

char32_t hex4(std::string_view text, std::size_t at) {
  char32_t value = 0;
  for (std::size_t i = at; i < at + 4 && i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value * 16 + static_cast<char32_t>(digit & 15);
  }
  return value;
}

/// Appends the escape at `raw[at]` (a backslash) and returns the position behind it.
std::size_t append_escape(std::string& out, std::string_view raw, std::size_t at) {
  const char c = at + 1 < raw.size() ? raw[at + 1] : '\\';
  switch (c) {
  case 'b':
    out += '\b';
    return at + 2;
  case 'f':
    out += '\f';
    return at + 2;
  case 'n':
    out += '\n';
    return at + 2;
  case 'r':
    out += '\r';
    return at + 2;
  case 't':
    out += '\t';
    return at + 2;
  case 'u':
    break;
  default:
    out += c;
    return at + 2;
  }
  char32_t point = hex4(raw, at + 2);
  at += 6;
  if (point >= 0xD800 && point < 0xDC00 && at + 6 <= raw.size()) {
    point = 0x10000 + ((point - 0xD800) << 10) + ((hex4(raw, at + 2) - 0xDC00) & 0x3FF);
    at += 6;
  }
  append_utf8(out, point);
  return at;
}

result<void> check(std::string_view text, bool finite_only) {
  boost::json::parse_options options;
  options.max_depth = json_depth_max;
  boost::json::basic_parser<ignore_all> parser{options, finite_only};
  boost::json::error_code failed;
  const auto used = parser.write_some(false, text.data(), text.size(), failed);
  if (failed == boost::json::error::too_deep) {
    return fail(
        errc::invalid_json,
        fmt::format("nested deeper than {} levels at byte {}", json_depth_max, used));
  }
  if (failed == boost::json::error::exponent_overflow) {
    return fail(
        errc::invalid_json,
        fmt::format("not valid here: no double holds the number before byte {}", used));
  }
  if (failed) {
    return fail(
        errc::invalid_json, fmt::format("not valid JSON at byte {}: {}", used, failed.message()));
  }
  if (used < text.size() && !trim_json(text.substr(used)).empty()) {
    return fail(
        errc::invalid_json, fmt::format("not valid JSON at byte {}: text after the value", used));
  }
  return {};
}

}  // namespace

result<void> check_json(std::string_view text) {
  return check(text, false);
}

result<void> check_value(std::string_view text) {
  return check(text, true);
}

result<boost::json::value> parse_value(std::string_view what, std::string_view text) {
  auto value = accept_json(text, json_depth_max);
  if (value) return *std::move(value);
  const auto checked = check_value(text);
  return fail(
      errc::invalid_json,
      checked ? fmt::format("{} {}", what, value.error())
              : fmt::format("{} is {}", what, checked.error().detail));
}

std::string_view trim_json(std::string_view text) {
  while (!text.empty() && is_space(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_space(text.back()))
    text.remove_suffix(1);
  return text;
}

std::string_view take_json_value(std::string_view text, std::size_t& at) {
  const auto begin = at;
  if (at >= text.size()) return {};
  const char c = text[at];
  if (c == '"') {
    at = string_end(text, at);
  } else if (c == '{' || c == '[') {
    at = nested_end(text, at);
  } else {
    while (at < text.size() && !is_space(text[at]) && text[at] != ',' && text[at] != '}'
           && text[at] != ']') {
      ++at;
    }
  }
  return text.substr(begin, at - begin);
}

void append_minified(std::string& out, std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto begin = at;
    while (at < text.size() && !is_space(text[at])) {
      at = text[at] == '"' ? string_end(text, at) : at + 1;
    }
    out.append(text, begin, at - begin);
    while (at < text.size() && is_space(text[at]))
      ++at;
  }
}

std::string unescape_json(std::string_view quoted) {
  const auto raw = quoted.size() < 2 ? std::string_view{} : quoted.substr(1, quoted.size() - 2);
  std::string out;
  out.reserve(raw.size());
  std::size_t at = 0;
  while (at < raw.size()) {
    const auto escape = raw.find('\\', at);
    out.append(raw, at, escape == std::string_view::npos ? escape : escape - at);
    if (escape == std::string_view::npos) break;
    at = append_escape(out, raw, escape);
  }
  return out;
}

void json_walker::skip_space() {
  while (at_ < text_.size() && (is_space(text_[at_]) || text_[at_] == ',' || text_[at_] == ':')) {
    ++at_;
  }
}

bool json_walker::next() {
  skip_space();
  if (at_ >= text_.size() || text_[at_] == '}' || text_[at_] == ']') return false;
  if (text_.front() == '{') {
    key_ = take_json_value(text_, at_);
    skip_space();
  }
  value_ = take_json_value(text_, at_);
  return true;
}

}  // namespace callboard::gateway
