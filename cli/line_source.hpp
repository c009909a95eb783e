// Lines of standard input, without blocking longer than asked.
#pragma once

#include "cli/command.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace callboard::cli {

/// `number` counts all lines of the input from 1, blank ones too.
struct input_line {
  std::uint64_t number = 0;
  std::string text;
};

/// Reads from the descriptor of `io` if there is one, else from its stream (which then never
/// waits). A line is at most `line_bytes_max`; a longer one ends the input with an error.
class line_source {
public:
  explicit line_source(const streams& io) : io_{io} {}

  /// The next line that is not blank; nothing when `wait` has passed or the input has ended.
  [[nodiscard]] std::optional<input_line> next(std::chrono::milliseconds wait);

  [[nodiscard]] bool at_end() const { return ended_ && buffered_.empty(); }

  /// The number of the line that was too long.
  [[nodiscard]] std::optional<std::uint64_t> overlong() const { return overlong_; }

  static constexpr std::size_t line_bytes_max = 8UL << 20;

private:
  [[nodiscard]] std::optional<input_line> take_line();
  /// False if nothing came.
  bool fill(std::chrono::milliseconds wait);

  const streams& io_;
  std::string buffered_;
  /// Lines that were taken.
  std::uint64_t count_ = 0;
  bool ended_ = false;
  std::optional<std::uint64_t> overlong_;
};

}  // namespace callboard::cli
