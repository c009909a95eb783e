#include "examples/demo/screen.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <unistd.h>

namespace callboard::demo {

namespace {

constexpr std::chrono::milliseconds live_interval{100};
/// Where text begins behind the name of a step.
constexpr std::size_t margin = 15;

const bool on_terminal = ::isatty(STDOUT_FILENO) == 1;

std::string label(std::string_view step) {
  return fmt::format("  {} ", styled("1;36", fmt::format("{:<12}", step)));
}

}  // namespace

std::string styled(std::string_view codes, std::string_view text) {
  return on_terminal ? fmt::format("\x1b[{}m{}\x1b[0m", codes, text) : std::string{text};
}

void say(std::string_view step, std::string_view text) {
  fmt::print("{}{}\n", label(step), text);
  std::fflush(stdout);
}

void show_live(std::string_view step, const std::string& text) {
  static std::chrono::steady_clock::time_point shown;
  const auto now = std::chrono::steady_clock::now();
  if (!on_terminal || now - shown < live_interval) return;
  shown = now;
  fmt::print("\r{}{}\x1b[K", label(step), text);
  std::fflush(stdout);
}

void end_live(std::string_view step, const std::string& text) {
  if (on_terminal) fmt::print("\r\x1b[K");
  say(step, text);
}

void live_text::begin(std::string_view step) {
  end();
  fmt::print("{}", label(step));
  column_ = margin;
  is_open_ = true;
}

void live_text::add(std::string_view piece) {
  if (!is_open_) return;
  while (!piece.empty()) {
    const auto word =
        piece.substr(0, piece.find(' ') == piece.npos ? piece.npos : piece.find(' ') + 1);
    if (column_ + word.size() > columns_max) {
      fmt::print("\n{:{}}", "", margin);
      column_ = margin;
    }
    fmt::print("{}", word);
    column_ += word.size();
    piece.remove_prefix(word.size());
  }
  std::fflush(stdout);
}

void live_text::end() {
  if (is_open_) fmt::print("\n");
  is_open_ = false;
  std::fflush(stdout);
}

}  // namespace callboard::demo
