#include "cli/client/pattern_place.hpp"

#include "cli/client/raw_json.hpp"

#include <utility>

namespace callboard::client {

pattern_place::pattern_place(std::string from) : from_{std::move(from)} {}

void pattern_place::begin(std::string_view cursors, const std::string& since) {
  if (std::exchange(has_begun_, true)) return;
  // Replays name no topics: those that are not known begin where they did.
  if (from_ != "now") return;
  from_ = since;
  const auto members = json_members(cursors);
  if (!members) return;
  for (const auto& [topic, cursor] : *members)
    topics_.try_emplace(std::string{topic}, json_text(cursor), marks_);
}

void pattern_place::pass(const std::string& topic, const std::string& cursor) {
  if (!cursor.empty()) topics_.insert_or_assign(topic, place{cursor, marks_});
}

void pattern_place::mark(const std::string& since) {
  if (since.empty()) return;
  from_ = since;
  // What came before the mark before is older than this one.
  std::erase_if(topics_, [&](const auto& one) { return one.second.marks < marks_; });
  ++marks_;
}

std::string pattern_place::members() const {
  std::string text;
  if (!from_.empty()) text = "\"from\":" + json_quoted(from_);
  if (!has_begun_) return text;
  text += text.empty() ? "\"cursors\":{" : ",\"cursors\":{";
  bool is_first = true;
  for (const auto& [topic, at] : topics_) {
    if (!std::exchange(is_first, false)) text += ',';
    text += json_quoted(topic) + ":" + json_quoted(at.cursor);
  }
  return text + "}";
}

}  // namespace callboard::client
