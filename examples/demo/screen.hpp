// What the demo prints: steps, live lines and verdicts, with colours only on a terminal.
#pragma once

#include <string>
#include <string_view>

namespace callboard::demo {

/// `text` between ANSI codes such as "1;32"; as it is if standard output is no terminal.
[[nodiscard]] std::string styled(std::string_view codes, std::string_view text);

/// One line of the story.
void say(std::string_view step, std::string_view text);

/// A line that the next one of its kind replaces; only on a terminal, and at most ten a second.
void show_live(std::string_view step, const std::string& text);

/// The last state of such a line, also where there is no terminal.
void end_live(std::string_view step, const std::string& text);

/// Words of an answer while it is made, wrapped at the width of the page.
class live_text {
public:
  void begin(std::string_view step);
  void add(std::string_view piece);
  void end();

private:
  static constexpr std::size_t columns_max = 98;

  std::size_t column_ = 0;
  bool is_open_ = false;
};

}  // namespace callboard::demo
