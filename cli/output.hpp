// Tables for people, from the server's JSON.
#pragma once

#include "cli/command.hpp"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::cli {

/// Aligned columns, two spaces apart; numbers to the right.
class table {
public:
  explicit table(std::vector<std::string> titles) : titles_{std::move(titles)} {}

  void add(std::vector<std::string> cells);

  [[nodiscard]] std::string render() const;

private:
  std::vector<std::string> titles_;
  std::vector<std::vector<std::string>> rows_;
};

/// A column: its title, and where its value is, as a dotted path ("retention.max_bytes").
struct column {
  std::string title;
  std::string path;
};

/// The value at `path` as a person reads it: strings without quotes, "-" if there is none.
[[nodiscard]] std::string shown_at(std::string_view object, std::string_view path);

/// Prints `body` as it is with `--output json`, else the elements of its array `member` as a table.
void print_list(
    const context& run,
    std::string_view body,
    std::string_view member,
    const std::vector<column>& columns);

/// Prints `body` as it is with `--output json`, else one `name  value` line for each member;
/// nested objects are flattened.
void print_object(const context& run, std::string_view body);

/// "12.3 MiB"
[[nodiscard]] std::string shown_bytes(std::uint64_t bytes);

/// Work that takes long enough to wonder about, on stderr, only if that is a terminal.
class progress_line {
public:
  progress_line(const context& run, std::string what);

  /// Ends the line if anything was shown.
  ~progress_line();

  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;

  /// `total` 0: unknown. Shown at most ten times a second.
  void update(std::uint64_t done, std::uint64_t total);

private:
  const context& run_;
  std::string what_;
  std::int64_t next_ns_ = 0;
  bool shown_ = false;
};

}  // namespace callboard::cli
