// Server-sent events out of bytes that may be cut anywhere (WHATWG HTML section 9.2.6).
#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::model {

struct sse_event {
  /// Of the field `event`; empty = a plain message.
  std::string type;
  /// All `data` lines, joined with LF.
  std::string data;

  friend bool operator==(const sse_event&, const sse_event&) = default;
};

/// Takes bytes, gives events. Lines end in LF, CRLF or CR; comments, `id` and `retry` are passed
/// over, as are events without data. Holds at most `event_size_max` bytes of one event.
class sse_parser {
public:
  explicit sse_parser(std::size_t event_size_max) : event_size_max_{event_size_max} {}

  /// Takes from the front of `bytes` up to the end of the next event and returns it; nothing when
  /// all bytes are taken. Errors: too_large; then the parser is of no more use.
  [[nodiscard]] result<std::optional<sse_event>> next(std::string_view& bytes);

  /// The event that the end of the stream cut short of its blank line, if it has data. The
  /// standard drops it; providers are known to end with `data: [DONE]` and nothing after it.
  [[nodiscard]] std::optional<sse_event> finish();

private:
  [[nodiscard]] bool take_line(std::string_view& bytes);
  [[nodiscard]] std::optional<sse_event> end_line();
  [[nodiscard]] std::optional<sse_event> dispatch();
  void add_field(std::string_view name, std::string_view value);

  std::size_t event_size_max_;
  std::string line_;
  sse_event event_;
  bool has_data_ = false;
  bool first_line_ = true;
  bool after_cr_ = false;
};

}  // namespace callboard::model
