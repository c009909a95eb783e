#include "model/response_head.hpp"

#include <algorithm>
#include <charconv>

namespace callboard::model {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const auto first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

std::string lower(std::string_view text) {
  std::string out{text};
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

bool response_head::add_line(std::string_view line) {
  size_ += line.size();
  if (size_ > size_max_) return false;
  line = trimmed(line);
  if (line.starts_with("HTTP/")) {
    headers_.clear();
    status_ = 0;
    const auto space = line.find(' ');
    if (space != std::string_view::npos) {
      const auto code = trimmed(line.substr(space));
      std::from_chars(code.data(), code.data() + std::min<std::size_t>(code.size(), 3), status_);
    }
    return true;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return true;
  headers_.emplace_back(
      lower(trimmed(line.substr(0, colon))), std::string{trimmed(line.substr(colon + 1))});
  return true;
}

const std::string* response_head::find(std::string_view name) const {
  const auto found =
      std::ranges::find(headers_, name, [](const auto& h) { return std::string_view{h.first}; });
  return found == headers_.end() ? nullptr : &found->second;
}

std::string_view response_head::header(std::string_view name) const {
  const auto* value = find(name);
  return value == nullptr ? std::string_view{} : std::string_view{*value};
}

}  // namespace callboard::model
