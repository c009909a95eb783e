#include "model/split_pairs.hpp"

#include "base/utf8.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace callboard::model {

namespace json = boost::json;

namespace {

constexpr char32_t replacement = 0xfffd;

bool is_first(char32_t unit) {
  return unit >= 0xd800 && unit < 0xdc00;
}

bool is_second(char32_t unit) {
  return unit >= 0xdc00 && unit < 0xe000;
}

/// What `\\uXXXX` at `text[at]` stands for; 0 = it is something else.
char32_t escaped_unit(std::string_view text, std::size_t at) {
  const auto escape = text.substr(std::min(at, text.size()), 6);
  if (escape.size() < 6 || !escape.starts_with("\\u")) return 0;
  unsigned unit = 0;
  const auto [end, code] = std::from_chars(escape.data() + 2, escape.data() + 6, unit, 16);
  return code == std::errc{} && end == escape.data() + 6 ? unit : 0;
}

void append_half(std::string& out, char32_t half) {
  out.push_back('\xed');
  out.push_back(static_cast<char>(0x80 | (half >> 6U & 0x3fU)));
  out.push_back(static_cast<char>(0x80 | (half & 0x3fU)));
}

/// The half whose three bytes are at `text[at]`; 0 = something else is.
char32_t half_at(std::string_view text, std::size_t at) {
  if (text[at] != '\xed' || text.size() - at < 3) return 0;
  const auto second = static_cast<unsigned char>(text[at + 1]);
  const auto third = static_cast<unsigned char>(text[at + 2]);
  if (second < 0xa0) return 0;
  return 0xd000U | (second & 0x3fU) << 6U | (third & 0x3fU);
}

/// The document with each escaped half that is alone as bytes.
std::string with_bytes_for_halves(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto unit = escaped_unit(text, at);
    // Two escapes that are a pair, one that is alone, a backslash with what it escapes.
    std::size_t size = text[at] == '\\' ? 2 : 1;
    if (is_first(unit) && is_second(escaped_unit(text, at + 6))) {
      size = 12;
    } else if (is_first(unit) || is_second(unit)) {
      append_half(out, unit);
      at += 6;
      continue;
    }
    out += text.substr(at, size);
    at += size;
  }
  return out;
}

}  // namespace

json::value parse_json(
    std::string_view text,
    json::error_code& failed,
    json::storage_ptr memory,
    std::size_t depth_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  auto value = json::parse(text, failed, memory, options);
  // Of bytes that are no UTF-8 only those that stand for halves are let through.
  if (!failed || !is_utf8(text)) return value;
  const auto mended = with_bytes_for_halves(text);
  if (mended.size() == text.size()) return value;
  options.allow_invalid_utf8 = true;
  return json::parse(mended, failed, std::move(memory), options);
}

std::string pair_joiner::add(std::string_view piece) {
  std::string out;
  for (std::size_t at = 0; at < piece.size();) {
    const auto half = half_at(piece, at);
    if (is_second(half) && waiting_ != 0) {
      const auto first = std::exchange(waiting_, 0);
      append_utf8(out, 0x10000 + ((first - 0xd800) << 10U) + (half - 0xdc00));
    } else {
      if (waiting_ != 0) out += end();
      if (half == 0) out.push_back(piece[at]);
      if (is_second(half)) append_utf8(out, replacement);
      if (is_first(half)) waiting_ = half;
    }
    at += half == 0 ? 1 : 3;
  }
  return out;
}

std::string pair_joiner::end() {
  std::string out;
  if (std::exchange(waiting_, 0) != 0) append_utf8(out, replacement);
  return out;
}

}  // namespace callboard::model
