#include "gateway/json_frame.hpp"

#include "gateway/json_text.hpp"

#include <charconv>

namespace callboard::gateway {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool ends_scalar(char c) {
  return is_space(c) || c == ',' || c == '}' || c == ']';
}

std::unexpected<error> wrong_type(std::string_view key, std::string_view wanted) {
  return callboard::fail(
      errc::bad_request, "\"" + std::string{key} + "\" must be " + std::string{wanted});
}

}  // namespace

std::nullopt_t frame_members::fail(std::string_view what) {
  failure_ = error{errc::invalid_json, std::string{what} + " at byte " + std::to_string(at_)};
  return std::nullopt;
}

void frame_members::skip_space() {
  while (at_ < text_.size() && is_space(text_[at_]))
    ++at_;
}

bool frame_members::take(char expected) {
  skip_space();
  if (at_ >= text_.size() || text_[at_] != expected) return false;
  ++at_;
  return true;
}

/// With its quotes.
std::optional<std::string_view> frame_members::take_string() {
  const auto begin = at_;
  ++at_;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '"') return text_.substr(begin, ++at_ - begin);
    if (static_cast<unsigned char>(c) < 0x20) return fail("control character in a string");
    at_ += c == '\\' ? 2 : 1;
  }
  return fail("string without end");
}

std::optional<std::string_view> frame_members::take_value() {
  const auto begin = at_;
  std::size_t depth = 0;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '"') {
      if (!take_string()) return std::nullopt;
    } else if (c == '{' || c == '[') {
      ++at_;
      if (++depth > json_depth_max) return fail("nested too deeply");
    } else if (c == '}' || c == ']') {
      if (depth == 0) break;
      ++at_;
      --depth;
    } else if (depth == 0 && ends_scalar(c)) {
      break;
    } else {
      ++at_;
      if (depth == 0) {
        while (at_ < text_.size() && !ends_scalar(text_[at_]))
          ++at_;
      }
      if (depth != 0) continue;
    }
    if (depth == 0) break;
  }
  if (depth != 0) return fail("value without end");
  if (at_ == begin) return fail("a value is missing");
  return text_.substr(begin, at_ - begin);
}

std::optional<json_member> frame_members::next() {
  if (ended_ || failure_) return std::nullopt;
  if (!begun_) {
    begun_ = true;
    if (!take('{')) return fail("a frame is one JSON object; '{' expected");
    skip_space();
    ended_ = take('}');
  } else if (!take(',')) {
    if (!take('}')) return fail("',' or '}' expected");
    ended_ = true;
  }
  if (ended_) {
    skip_space();
    if (at_ != text_.size()) return fail("text after the end of the object");
    return std::nullopt;
  }
  skip_space();
  if (at_ >= text_.size() || text_[at_] != '"') return fail("a member name in quotes expected");
  const auto key = take_string();
  if (!key) return std::nullopt;
  if (!take(':')) return fail("':' expected");
  skip_space();
  const auto value = take_value();
  if (!value) return std::nullopt;
  return json_member{key->substr(1, key->size() - 2), *value};
}

result<std::string> json_string(std::string_view raw, std::string_view key) {
  if (raw.size() < 2 || raw.front() != '"') return wrong_type(key, "a string");
  if (raw.find('\\') == std::string_view::npos) return std::string{raw.substr(1, raw.size() - 2)};
  if (auto checked = check_json(raw); !checked) return std::unexpected{checked.error()};
  return unescape_json(raw);
}

result<std::uint64_t> json_unsigned(std::string_view raw, std::string_view key) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  const bool zero_led = raw.size() > 1 && raw.front() == '0';
  if (failed != std::errc{} || end != raw.data() + raw.size() || zero_led) {
    return wrong_type(key, "a whole number, zero or more");
  }
  return value;
}

result<bool> json_boolean(std::string_view raw, std::string_view key) {
  if (raw == "true") return true;
  if (raw == "false") return false;
  return wrong_type(key, "true or false");
}

}  // namespace callboard::gateway
