#include "runtime/workflow/run_limits.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace callboard::runtime {

namespace {

/// Quotes, a colon, a comma; a number or a word.
constexpr std::size_t overhead = 4;

}  // namespace

bool takes_from(std::size_t& left, const json& value) {
  const auto spend = [&](std::size_t bytes) {
    if (bytes > left) return false;
    left -= bytes;
    return true;
  };
  if (value.is_string()) return spend(value.get_string().size() + 2);
  if (value.is_array()) {
    for (const auto& one : value.get_array()) {
      if (!spend(1) || !takes_from(left, one)) return false;
    }
    return spend(2);
  }
  if (value.is_object()) {
    for (const auto& one : value.get_object()) {
      if (!spend(one.key().size() + overhead) || !takes_from(left, one.value())) return false;
    }
    return spend(2);
  }
  return spend(overhead);
}

failure result_too_large(std::size_t most) {
  return {
      failure_class::permanent,
      "result_too_large",
      fmt::format(
          "a result may have {} bytes (workflows.result_bytes_max): put what is larger elsewhere, "
          "and give where it is",
          most)};
}

failure reply_too_large(std::size_t most) {
  return {
      failure_class::permanent,
      "reply_too_large",
      fmt::format(
          "a reply of an agent may have {} bytes (workflows.reply_bytes_max): put what is larger "
          "elsewhere, and give where it is",
          most)};
}

std::size_t unread_size(const run_event& event) {
  return unread_overhead + event.name.size() + event.id.size()
         + boost::json::serialize(event.data).size();
}

failure arguments_too_large(std::size_t most) {
  return {
      failure_class::permanent,
      "arguments_too_large",
      fmt::format(
          "what a command hands on may have {} bytes (workflows.arguments_bytes_max): put what is "
          "larger elsewhere, and hand on where it is",
          most)};
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

}  // namespace callboard::runtime
