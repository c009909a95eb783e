#include "runtime/group/delivery_token.hpp"

#include <fmt/format.h>

#include <charconv>

namespace callboard::runtime {

namespace {

/// Takes one number and the dot after it off `text`; the last number has no dot.
template <class Number>
bool take_number(std::string_view& text, Number& out, bool last) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  if (code != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (last) return text.empty();
  if (text.empty() || text.front() != '.') return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string format_token(const delivery_token& token) {
  return fmt::format("{:x}.{:x}.{:x}", token.seq.raw(), token.attempt, token.nonce);
}

std::optional<delivery_token> parse_token(std::string_view text) {
  const auto given = text;
  std::uint64_t seq = 0;
  delivery_token token;
  if (!take_number(text, seq, false) || !take_number(text, token.attempt, false)
      || !take_number(text, token.nonce, true)) {
    return std::nullopt;
  }
  token.seq = sequence{seq};
  // One spelling only: a token is compared, logged and cached as text by others.
  if (format_token(token) != given) return std::nullopt;
  return token;
}

}  // namespace callboard::runtime
