#include "runtime/workflow/run_limits.hpp"

#include "base/utf8.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <callboard/agent.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::runtime {

namespace {

/// Quotes, a colon, a comma; a number or a word.
constexpr std::size_t overhead = 4;

/// An array or an object of which some members are counted.
struct container {
  const json* value = nullptr;
  std::size_t next = 0;
};

std::size_t members_of(const json& value) {
  if (value.is_array()) return value.get_array().size();
  return value.is_object() ? value.get_object().size() : 0;
}

/// Without its members.
std::size_t size_alone(const json& value) {
  if (value.is_string()) return value.get_string().size() + 2;
  return value.is_structured() ? 2 : overhead;
}

void read_again(json& value) {
  if (auto* number = value.if_uint64()) {
    if (std::in_range<std::int64_t>(*number)) value = static_cast<std::int64_t>(*number);
  } else if (auto* list = value.if_array()) {
    for (auto& one : *list)
      read_again(one);
  } else if (auto* members = value.if_object()) {
    for (auto& one : *members)
      read_again(one.value());
  }
}

/// `setting` is of the section `workflows`; `does`: what its owner does with it.
failure too_large(
    std::string_view what, std::string_view setting, std::string_view does, std::size_t most) {
  return {
      failure_class::permanent,
      fmt::format("{}_too_large", setting),
      fmt::format(
          "{} may have {} bytes (workflows.{}_bytes_max): put what is larger elsewhere, and {} "
          "where it is",
          what,
          most,
          setting,
          does)};
}

}  // namespace

run_limits limits_of(const config::workflows_section& settings) {
  return {
      settings.result_bytes_max,
      settings.arguments_bytes_max,
      settings.reply_bytes_max,
      settings.deferrals_max,
      settings.agent_messages,
      settings.agent_history_bytes};
}

/// Without recursion: it is asked of values that nobody has looked at, and code nests them as deep
/// as it likes.
bool takes_from(std::size_t& left, const json& value) {
  const auto spend = [&](std::size_t bytes) {
    if (bytes > left) return false;
    left -= bytes;
    return true;
  };
  std::vector<container> open;
  const auto* at = &value;
  for (;;) {
    if (!spend(size_alone(*at))) return false;
    if (members_of(*at) != 0) open.push_back({at});
    while (!open.empty() && open.back().next == members_of(*open.back().value))
      open.pop_back();
    if (open.empty()) return true;
    auto& in = open.back();
    if (in.value->is_array()) {
      if (!spend(1)) return false;
      at = &in.value->get_array()[in.next];
    } else {
      const auto& member = *(in.value->get_object().begin() + static_cast<std::ptrdiff_t>(in.next));
      if (!spend(member.key().size() + overhead)) return false;
      at = &member.value();
    }
    ++in.next;
  }
}

failure result_too_large(std::size_t most) {
  return too_large("a result", "result", "give", most);
}

failure reply_too_large(std::size_t most) {
  return too_large("a reply of an agent", "reply", "give", most);
}

failure state_too_large(std::size_t most) {
  return {
      failure_class::permanent,
      std::string{detail::state_too_large},
      fmt::format(
          "the state of an agent may have {} bytes (workflows.result_bytes_max), and stays as it "
          "was: put what is larger elsewhere, and keep where it is",
          most)};
}

failure not_json(std::string_view what, std::string_view flaw) {
  return {
      failure_class::permanent,
      "not_json",
      fmt::format(
          "{} {}, so it cannot be recorded as JSON: give what has at most {} levels, UTF-8 and "
          "finite numbers",
          what,
          flaw,
          code_depth_max)};
}

failure recordable(failure why) {
  why.code = as_utf8(std::move(why.code));
  why.message = as_utf8(std::move(why.message));
  if (!why.details.empty()) why.details = boost::json::serialize(json_or_text(why.details));
  return why;
}

json as_recorded(json value) {
  read_again(value);
  return value;
}

std::size_t unread_size(const run_event& event) {
  return unread_overhead + event.name.size() + event.id.size()
         + boost::json::serialize(event.data).size();
}

failure arguments_too_large(std::size_t most) {
  return too_large("what a command hands on", "arguments", "hand on", most);
}

failure too_many_commands() {
  return {
      failure_class::permanent,
      "too_many_commands",
      fmt::format(
          "without waiting for one, code may issue {} commands with arguments of {} bytes: await "
          "some before the next",
          turn_commands_max,
          turn_bytes_max)};
}

bool is_larger(const json& value, std::size_t most) {
  return !takes_from(most, value);
}

std::size_t size_of(const json& value) {
  constexpr auto most = std::numeric_limits<std::size_t>::max();
  auto left = most;
  (void)takes_from(left, value);
  return most - left;
}

}  // namespace callboard::runtime
