// Reads server-sent events (text/event-stream) over one HTTP request.
#pragma once

#include "cli/client/http.hpp"

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace callboard::client {

struct stream_event {
  /// The last id that was sent, as the standard has it.
  std::string id;
  /// The id came with this event, not with an earlier one.
  bool id_is_own = false;
  std::string type = "message";
  std::string data;
};

/// Parses the stream's text; pure.
class event_stream_parser {
public:
  void feed(std::string_view text);

  /// The next complete event.
  [[nodiscard]] std::optional<stream_event> next();

  [[nodiscard]] std::uint64_t comments() const { return comments_; }

  /// The last `retry:` field, if any.
  [[nodiscard]] std::optional<std::chrono::milliseconds> retry() const { return retry_; }

  [[nodiscard]] const std::string& last_id() const { return last_id_; }

private:
  void take_line(std::string_view line);

  std::string pending_;
  stream_event current_;
  bool has_data_ = false;
  bool ends_with_cr_ = false;
  std::string last_id_;
  std::uint64_t comments_ = 0;
  std::optional<std::chrono::milliseconds> retry_;
  std::deque<stream_event> ready_;
};

/// Owned by one thread.
class event_stream {
public:
  /// Sends `request` (with `Accept: text/event-stream`). Errors: unreachable; what the problem
  /// document says if the status is not 200.
  [[nodiscard]] static result<event_stream> open(const endpoint& server, http_request request);

  /// The next event; nothing when `wait` has passed. Errors: unreachable when the stream ends.
  [[nodiscard]] result<std::optional<stream_event>> next(std::chrono::milliseconds wait);

  [[nodiscard]] const event_stream_parser& parser() const { return parser_; }

  [[nodiscard]] const header_list& headers() const { return headers_; }

private:
  event_stream(byte_stream stream, std::unique_ptr<response_reader> reader, std::string leftover);

  byte_stream stream_;
  std::unique_ptr<response_reader> reader_;
  std::string leftover_;
  header_list headers_;
  event_stream_parser parser_;
};

}  // namespace callboard::client
