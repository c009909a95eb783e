#include "base/names.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard {

namespace {

constexpr std::size_t tenant_size_max = 63;
constexpr std::size_t name_size_max = 255;

bool is_lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_token_char(char c) {
  return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || c == '-';
}

/// Checks size, then calls `check(token, is_last)` for each dot-separated token.
template <class Check>
bool every_token(std::string_view text, Check check) {
  while (true) {
    const auto dot = text.find('.');
    if (!check(text.substr(0, dot), dot == std::string_view::npos)) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_plain_token(std::string_view token) {
  return !token.empty() && std::ranges::all_of(token, is_token_char);
}

/// Client text shown back in a message: short, and printable ASCII only.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 64))
    out += c >= 0x20 && c < 0x7f ? c : '?';
  if (text.size() > 64) out += "...";
  return out;
}

}  // namespace

template <>
result<tenant_name> tenant_name::parse(std::string_view text) {
  const bool fits =
      !text.empty() && text.size() <= tenant_size_max && is_lower_alnum(text[0])
      && std::ranges::all_of(text, [](char c) { return is_lower_alnum(c) || c == '-'; });
  if (!fits) {
    return fail(
        errc::invalid_name,
        fmt::format("tenant '{}' must match [a-z0-9][a-z0-9-]{{0,62}}", shown(text)));
  }
  return trusted(std::string{text});
}

template <>
result<topic_name> topic_name::parse(std::string_view text) {
  const bool fits = text.size() <= name_size_max
                    && every_token(text, [](auto token, bool) { return is_plain_token(token); });
  if (!fits) {
    return fail(
        errc::invalid_name,
        fmt::format(
            "topic '{}' must be 1 to 255 bytes of dot-separated tokens of [A-Za-z0-9_:-]",
            shown(text)));
  }
  return trusted(std::string{text});
}

template <>
result<group_name> group_name::parse(std::string_view text) {
  const bool fits =
      !text.empty() && text.size() <= name_size_max
      && std::ranges::all_of(text, [](char c) { return is_token_char(c) || c == '.'; });
  if (!fits) {
    return fail(
        errc::invalid_name,
        fmt::format("group '{}' must be 1 to 255 bytes of [A-Za-z0-9_:.-]", shown(text)));
  }
  return trusted(std::string{text});
}

template <>
result<queue_name> queue_name::parse(std::string_view text) {
  const bool fits =
      !text.empty() && text.size() <= name_size_max
      && std::ranges::all_of(text, [](char c) { return is_token_char(c) || c == '.'; });
  if (!fits) {
    return fail(
        errc::invalid_name,
        fmt::format("queue '{}' must be 1 to 255 bytes of [A-Za-z0-9_:.-]", shown(text)));
  }
  return trusted(std::string{text});
}

result<topic_pattern> topic_pattern::parse(std::string_view text) {
  bool wildcard = false;
  const bool fits =
      text.size() <= name_size_max && every_token(text, [&](std::string_view token, bool is_last) {
        if (token == "*" || (token == ">" && is_last)) return wildcard = true;
        return is_plain_token(token);
      });
  if (!fits && !text.contains('*') && !text.contains('>')) {
    return std::unexpected{topic_name::parse(text).error()};
  }
  if (!fits) {
    return fail(
        errc::invalid_name,
        fmt::format(
            "pattern '{}' must be a topic name in which a token may be * and the last may be >",
            shown(text)));
  }
  topic_pattern pattern;
  pattern.text_ = text;
  pattern.wildcard_ = wildcard;
  return pattern;
}

bool topic_pattern::matches(std::string_view topic) const {
  if (!wildcard_) return topic == text_;
  std::string_view rest = topic;
  bool exhausted = false;
  const bool fits = every_token(text_, [&](std::string_view token, bool) {
    if (exhausted) return false;
    const auto dot = rest.find('.');
    if (token == ">") {
      exhausted = true;
      return true;
    }
    if (token != "*" && token != rest.substr(0, dot)) return false;
    if (dot == std::string_view::npos) {
      exhausted = true;
    } else {
      rest.remove_prefix(dot + 1);
    }
    return true;
  });
  return fits && exhausted;
}

}  // namespace callboard
