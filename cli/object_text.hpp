// Bodies of requests, from what the command line named.
#pragma once

#include "cli/client/raw_json.hpp"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::cli {

/// Builds a JSON object member by member.
class object_text {
public:
  void raw(std::string_view name, const std::string& value) {
    if (!text_.empty()) text_ += ',';
    text_ += fmt::format(R"("{}":{})", name, value);
  }

  template <class T>
  void number(std::string_view name, const std::optional<T>& value) {
    if (value) raw(name, std::to_string(*value));
  }

  void text(std::string_view name, const std::string& value) {
    raw(name, client::json_quoted(value));
  }

  void list(std::string_view name, const std::vector<std::string>& values) {
    std::string all;
    for (const auto& value : values) {
      if (!all.empty()) all += ',';
      all += client::json_quoted(value);
    }
    raw(name, "[" + all + "]");
  }

  [[nodiscard]] std::string str() const { return "{" + text_ + "}"; }

private:
  std::string text_;
};

}  // namespace callboard::cli
