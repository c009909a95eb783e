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

/// Takes what is before a '/' off the front, and that.
std::string_view take_word(std::string_view& from) {
  const auto end = from.find('/');
  if (end == std::string_view::npos) return {};
  const auto word = from.substr(0, end);
  from.remove_prefix(end + 1);
  return word;
}

/// Origins of runs begin with a number.
constexpr std::string_view event_prefix = "event/";

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

std::string format_event_origin(const task_event& what) {
  return fmt::format(
      "{}{}/{}/{}/{}",
      event_prefix,
      what.seq.raw(),
      what.epoch,
      what.group.str(),
      what.topic.str());
}

std::optional<task_event> parse_event_origin(std::string_view origin) {
  if (!origin.starts_with(event_prefix)) return std::nullopt;
  origin.remove_prefix(event_prefix.size());
  std::uint64_t seq = 0;
  if (!take(origin, seq, 10)) return std::nullopt;
  const auto epoch = take_word(origin);
  const auto group = take_word(origin);
  auto topic = topic_name::parse(std::string{origin});
  if (epoch.empty() || group.empty() || !topic) return std::nullopt;
  return task_event{
      group_name::trusted(std::string{group}),
      *std::move(topic),
      std::string{epoch},
      sequence{seq}};
}

}  // namespace callboard::actors
