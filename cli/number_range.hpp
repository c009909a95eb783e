// Bounds of numbers on the command line.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>

namespace callboard::cli {

/// CLI11's own is one of doubles, whose upper bound it prints with all its 309 digits.
inline const CLI::Range at_least_one{
    std::uint32_t{1}, std::numeric_limits<std::uint32_t>::max(), "POSITIVE"};

/// Takes the decimal numbers that 64 bits hold. CLI11 makes the highest of what is larger, a large
/// one of what is negative, and reads a leading zero as octal.
inline std::string whole_number(const std::string& text) {
  std::uint64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [stopped, failed] = std::from_chars(text.data(), end, value);
  const bool is_octal = text.size() > 1 && text.front() == '0';
  if (failed == std::errc{} && stopped == end && !is_octal) return {};
  return fmt::format(
      "{} is no whole number between 0 and {}", text, std::numeric_limits<std::uint64_t>::max());
}

}  // namespace callboard::cli
