// Status and headers of an answer, as libcurl hands them over line by line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::model {

/// Bounded by the bytes that were added; what came before a later status line (100 Continue, a
/// proxy's answer) is dropped.
class response_head {
public:
  explicit response_head(std::size_t size_max) : size_max_{size_max} {}

  /// One line with or without its end; false if that would pass the bound. Lines that are no
  /// headers are passed over.
  [[nodiscard]] bool add_line(std::string_view line);

  /// 0 until a status line came.
  [[nodiscard]] int status() const { return status_; }

  /// The value of the first header with this lower-case name; empty if there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;

  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

private:
  [[nodiscard]] const std::string* find(std::string_view name) const;

  std::size_t size_max_;
  std::size_t size_ = 0;
  int status_ = 0;
  std::vector<std::pair<std::string, std::string>> headers_;
};

/// `text` without spaces and tabs around it.
[[nodiscard]] std::string_view trimmed(std::string_view text);

/// ASCII only.
[[nodiscard]] std::string lower(std::string_view text);

}  // namespace callboard::model
