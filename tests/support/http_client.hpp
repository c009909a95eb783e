// A strict, blocking HTTP/1.1 client for tests, and a reader of event streams (SSE).
#pragma once

#include "tests/support/socket.hpp"

#include <boost/json/value.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::testing {

using header_list = std::vector<std::pair<std::string, std::string>>;

struct http_response {
  int status = 0;
  /// Names in lower case.
  std::map<std::string, std::string> headers;
  std::string body;

  /// The body as JSON; throws if it is not.
  [[nodiscard]] boost::json::value json() const;

  /// The member `code` of a problem document; empty if there is none.
  [[nodiscard]] std::string code() const;

  [[nodiscard]] std::string header(const std::string& name) const;
};

/// What is left in `buffer` behind a parsed head belongs to the body.
[[nodiscard]] http_response read_head(socket& from, std::string& buffer, milliseconds limit);

/// Keeps one connection and makes a new one when the server closed it.
class http_client {
public:
  explicit http_client(endpoint where, std::string token = {})
      : where_{where}, token_{std::move(token)} {}

  /// Throws `disconnected` and `timed_out`: then the outcome is unknown.
  http_response send(
      std::string_view method,
      std::string_view target,
      std::string_view body = {},
      const header_list& headers = {});

  http_response get(std::string_view target) { return send("GET", target); }

  http_response post(std::string_view target, std::string_view json, header_list headers = {});

  http_response put(std::string_view target, std::string_view json);

  http_response del(std::string_view target) { return send("DELETE", target); }

  void set_limit(milliseconds limit) { limit_ = limit; }

private:
  http_response exchange(const std::string& request);

  endpoint where_;
  std::string token_;
  std::optional<socket> connection_;
  std::string buffer_;
  milliseconds limit_{std::chrono::seconds{30}};
};

struct stream_event {
  std::string id;
  std::string type;
  std::string data;
};

/// An open `text/event-stream`.
class event_stream {
public:
  /// Throws std::runtime_error with the body if the answer is not 200.
  event_stream(const endpoint& where, std::string_view target, const header_list& headers = {});

  /// The next event; comments, and events without an id (which tell of the stream itself, such as
  /// `callboard.caught_up`), are counted and passed over. Nothing at the end of the stream.
  [[nodiscard]] std::optional<stream_event> next(milliseconds limit = std::chrono::seconds{10});

  [[nodiscard]] const http_response& head() const { return head_; }

  [[nodiscard]] int comments() const { return comments_; }

  /// How often an event of this type without an id came.
  [[nodiscard]] int told(const std::string& type) const {
    const auto found = told_.find(type);
    return found == told_.end() ? 0 : found->second;
  }

  /// The last `retry:` field in milliseconds; 0 = none came.
  [[nodiscard]] int retry_ms() const { return retry_ms_; }

  void cut() { connection_.cut(); }

private:
  [[nodiscard]] std::optional<std::string> next_line(milliseconds limit);
  [[nodiscard]] bool fill(milliseconds limit);

  socket connection_;
  http_response head_;
  std::string raw_;
  std::string text_;
  bool chunked_ = false;
  int comments_ = 0;
  std::map<std::string, int> told_;
  int retry_ms_ = 0;
};

}  // namespace callboard::testing
