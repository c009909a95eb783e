#include "actors/task_origin.hpp"

#include <fmt/format.h>

#include <charconv>

namespace callboard::actors {

namespace {

/// Takes a number and the '/' behind it off the front.
template <class Number>
bool take(std::string_view& from, Number& to, int base) {
  const auto* end = from.data() + from.size();
  const auto [next, failed] = std::from_chars(from.data(), end, to, base);
  if (failed != std::errc{} || next == end || *next != '/') return false;
  from.remove_prefix(static_cast<std::size_t>(next - from.data()) + 1);
  return true;
}

}  // namespace

std::string format_origin(const task_waiter& who) {
  return fmt::format("{}/{}/{:x}/{}", who.run, who.command, who.seed, who.channel);
}

std::optional<task_waiter> parse_origin(std::string_view origin) {
  task_waiter who;
  if (!take(origin, who.run, 10) || !take(origin, who.command, 10) || !take(origin, who.seed, 16)
      || origin.empty()) {
    return std::nullopt;
  }
  who.channel = origin;
  return who;
}

}  // namespace callboard::actors
