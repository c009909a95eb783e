#include "cli/client/raw_json.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <callboard/json_text.hpp>

namespace callboard::client {

namespace {

class scanner {
public:
  explicit scanner(std::string_view text) : text_{text} {}

  void skip_space() {
    while (at_ < text_.size() && std::string_view{" \t\r\n"}.contains(text_[at_]))
      ++at_;
  }

  [[nodiscard]] bool take(char wanted) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  [[nodiscard]] bool at_end() {
    skip_space();
    return at_ == text_.size();
  }

  /// A string with its quotes; nothing if there is none here.
  [[nodiscard]] std::optional<std::string_view> string() {
    skip_space();
    const auto begin = at_;
    if (at_ >= text_.size() || text_[at_] != '"') return std::nullopt;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return text_.substr(begin, at_ - begin);
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<std::string_view> value() {
    skip_space();
    const auto begin = at_;
    if (at_ >= text_.size()) return std::nullopt;
    if (text_[at_] == '"') return string();
    if (text_[at_] == '{' || text_[at_] == '[') {
      if (!skip_nested()) return std::nullopt;
    } else {
      while (at_ < text_.size() && !std::string_view{",]} \t\r\n"}.contains(text_[at_]))
        ++at_;
      if (at_ == begin) return std::nullopt;
    }
    return text_.substr(begin, at_ - begin);
  }

private:
  static constexpr int depth_max = 512;

  bool skip_nested() {
    int depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!string()) return false;
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') {
        if (++depth > depth_max) return false;
      } else if ((c == '}' || c == ']') && --depth == 0) {
        return true;
      }
    }
    return false;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<json_member_list> json_members(std::string_view text) {
  scanner in{text};
  json_member_list members;
  if (!in.take('{')) return std::nullopt;
  if (in.take('}')) return members;
  for (;;) {
    const auto name = in.string();
    if (!name || !in.take(':')) return std::nullopt;
    const auto value = in.value();
    if (!value) return std::nullopt;
    members.emplace_back(name->substr(1, name->size() - 2), *value);
    if (in.take(',')) continue;
    if (!in.take('}') || !in.at_end()) return std::nullopt;
    return members;
  }
}

std::optional<std::vector<std::string_view>> json_elements(std::string_view text) {
  scanner in{text};
  std::vector<std::string_view> elements;
  if (!in.take('[')) return std::nullopt;
  if (in.take(']')) return elements;
  for (;;) {
    const auto value = in.value();
    if (!value) return std::nullopt;
    elements.push_back(*value);
    if (in.take(',')) continue;
    if (!in.take(']') || !in.at_end()) return std::nullopt;
    return elements;
  }
}

std::string_view find_member(const json_member_list& members, std::string_view name) {
  for (const auto& [candidate, value] : members) {
    if (candidate == name) return value;
  }
  return {};
}

std::string json_text(std::string_view value) {
  if (value.size() < 2 || value.front() != '"') return {};
  boost::system::error_code problem;
  const auto parsed = boost::json::parse({value.data(), value.size()}, problem);
  if (problem || !parsed.is_string()) return {};
  return std::string{parsed.get_string()};
}

std::string json_quoted(std::string_view text) {
  return boost::json::serialize(boost::json::string_view{text.data(), text.size()});
}

bool is_json(std::string_view text) {
  return read_json(text).has_value();
}

}  // namespace callboard::client
