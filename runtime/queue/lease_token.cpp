#include "runtime/queue/lease_token.hpp"

#include <fmt/format.h>

#include <charconv>

namespace callboard::runtime {

namespace {

/// Takes one number off `text`, and the dot after it if one must follow.
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

std::string format_lease(const lease_token& token) {
  return fmt::format(
      "{:x}.{:x}.{:x}.{:x}.{:x}",
      token.shard.raw(),
      token.queue.raw(),
      token.task.raw(),
      token.number,
      token.nonce);
}

std::optional<lease_token> parse_lease(std::string_view text) {
  const auto given = text;
  std::uint32_t shard = 0;
  std::uint64_t queue = 0;
  std::uint64_t task = 0;
  lease_token token;
  if (!take_number(text, shard, false) || !take_number(text, queue, false)
      || !take_number(text, task, false) || !take_number(text, token.number, false)
      || !take_number(text, token.nonce, true)) {
    return std::nullopt;
  }
  token.shard = shard_id{shard};
  token.queue = entity_id{queue};
  token.task = task_id{task};
  // One spelling only: a token is compared, logged and cached as text by others.
  if (format_lease(token) != given) return std::nullopt;
  return token;
}

}  // namespace callboard::runtime
