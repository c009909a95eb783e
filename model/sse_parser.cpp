#include "model/sse_parser.hpp"

#include <fmt/format.h>

#include <utility>

namespace callboard::model {

result<std::optional<sse_event>> sse_parser::next(std::string_view& bytes) {
  while (!bytes.empty()) {
    const bool ended = take_line(bytes);
    if (line_.size() + event_.data.size() + event_.type.size() > event_size_max_) {
      return fail(
          errc::too_large, fmt::format("an event of the stream is above {} B", event_size_max_));
    }
    if (!ended) break;
    if (auto event = end_line()) return event;
  }
  return std::nullopt;
}

/// Moves bytes to the line; true at its end.
bool sse_parser::take_line(std::string_view& bytes) {
  if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
    bytes.remove_prefix(1);
    if (bytes.empty()) return false;
  }
  // No more than the bound is ever copied, whatever arrives at once.
  const auto part = bytes.substr(0, event_size_max_ + 1);
  const auto end = part.find_first_of("\r\n");
  if (end == std::string_view::npos) {
    line_.append(part);
    bytes.remove_prefix(part.size());
    return false;
  }
  line_.append(part.substr(0, end));
  after_cr_ = part[end] == '\r';
  bytes.remove_prefix(end + 1);
  return true;
}

std::optional<sse_event> sse_parser::end_line() {
  std::string_view line = line_;
  if (std::exchange(first_line_, false) && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  if (line.empty()) {
    line_.clear();
    return dispatch();
  }
  const auto colon = line.find(':');
  auto value = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  add_field(line.substr(0, colon), value);
  line_.clear();
  return std::nullopt;
}

void sse_parser::add_field(std::string_view name, std::string_view value) {
  if (name == "data") {
    if (std::exchange(has_data_, true)) event_.data.push_back('\n');
    event_.data.append(value);
  } else if (name == "event") {
    event_.type = value;
  }
}

std::optional<sse_event> sse_parser::dispatch() {
  auto event = std::exchange(event_, {});
  if (!std::exchange(has_data_, false)) return std::nullopt;
  return event;
}

std::optional<sse_event> sse_parser::finish() {
  if (!line_.empty()) {
    if (auto event = end_line()) return event;
  }
  return dispatch();
}

}  // namespace callboard::model
