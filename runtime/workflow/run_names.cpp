// The stable names of what histories, rows and answers are made of.
#include "runtime/workflow/run_event.hpp"

#include <fmt/format.h>

#include <array>
#include <callboard/context.hpp>

namespace callboard {

namespace {

template <class Enum, std::size_t Count>
std::optional<Enum>
enum_named(const std::array<std::string_view, Count>& names, std::string_view name) {
  for (std::size_t i = 0; i < Count; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string context::uuid() const {
  // RFC 9562 section 5.4, from the run's own numbers.
  const auto high = (random() & ~0xf000ULL) | 0x4000ULL;
  const auto low = (random() >> 2) | 0x8000000000000000ULL;
  return fmt::format(
      "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
      high >> 32,
      (high >> 16) & 0xffff,
      high & 0xffff,
      low >> 48,
      low & 0xffffffffffffULL);
}

}  // namespace callboard

namespace callboard::runtime {

namespace {

constexpr std::array<std::string_view, 6> status_names{
    "running", "completed", "failed", "cancelled", "continued", "blocked"};

constexpr std::array<std::string_view, 11> command_names{
    "step",
    "sleep",
    "signal",
    "publish",
    "child",
    "update",
    "version",
    "call",
    "reply",
    "model",
    "task"};

}  // namespace

std::string_view name_of(run_status status) {
  return status_names.at(static_cast<std::size_t>(status));
}

std::optional<run_status> run_status_named(std::string_view name) {
  return enum_named<run_status>(status_names, name);
}

std::string_view name_of(command_kind kind) {
  return command_names.at(static_cast<std::size_t>(kind));
}

std::optional<command_kind> command_kind_named(std::string_view name) {
  return enum_named<command_kind>(command_names, name);
}

}  // namespace callboard::runtime
