// A provider of chat completions on 127.0.0.1 that does what a test tells it: a real HTTP server
// with scripted delays, refusals, cuts and garbage. What is not scripted gets a polite answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::testing {

using header_fields = std::vector<std::pair<std::string, std::string>>;

/// One answer, and how it goes wrong.
struct chat_reply {
  int status = 200;
  std::string content_type = "application/json";
  header_fields headers;
  /// The body; each piece is written on its own. More than one piece, or an event stream, goes out
  /// in chunks, else with its length.
  std::vector<std::string> pieces;
  /// Before the head.
  std::chrono::milliseconds delay{0};
  /// Before each piece.
  std::chrono::milliseconds drip{0};
  /// The connection is closed after so many bytes of the body.
  std::optional<std::size_t> cut_at;
  /// Nothing is ever sent.
  bool hang = false;
  /// The body never ends.
  bool hold_end = false;
  /// Sent as it is instead of all of the above; then the connection is closed.
  std::string raw;
};

/// A request as it arrived.
struct chat_query {
  std::string target;
  /// Names in lower case.
  std::map<std::string, std::string> headers;
  std::string body;
  /// How often its `Idempotency-Key` has been seen, this time included; 0 = it has none.
  std::uint32_t times = 0;

  [[nodiscard]] std::string header(const std::string& name) const;
};

// -- answers ---

/// A whole answer.
[[nodiscard]] chat_reply whole_reply(std::string_view text);

/// A streamed answer: a chunk for each of `texts`, the reason, the usage, `[DONE]`.
[[nodiscard]] chat_reply streamed_reply(const std::vector<std::string>& texts);

/// `{"error": {"message", "type", "code"}}`.
[[nodiscard]] chat_reply error_reply(
    int status, std::string_view code, std::string_view message, header_fields headers = {});

/// One `data:` event.
[[nodiscard]] std::string sse_data(std::string_view data);

/// A chunk of a streamed answer whose choice has this `delta` (JSON).
[[nodiscard]] std::string chunk_of(std::string_view delta_json);

// -- the server ---

struct chat_provider_options {
  /// PEM files; both empty = plain HTTP.
  std::string certificate_file;
  std::string key_file;
};

/// Listens on a free port of 127.0.0.1 until destroyed. Any thread.
class chat_provider {
public:
  using responder = std::function<chat_reply(const chat_query&)>;

  explicit chat_provider(const chat_provider_options& options = {});
  ~chat_provider();

  chat_provider(const chat_provider&) = delete;
  chat_provider& operator=(const chat_provider&) = delete;

  [[nodiscard]] std::uint16_t port() const;

  /// For `provider_settings::base_url`.
  [[nodiscard]] std::string base_url() const;

  /// What the next requests get, one each, in the order of their arrival.
  void script(std::vector<chat_reply> replies);

  /// What they get after the script; called on the server's thread. Empty = an echo of the last
  /// message, streamed word by word if the request asks for a stream.
  void answer_with(responder answer);

  /// All requests so far.
  [[nodiscard]] std::vector<chat_query> queries() const;

  [[nodiscard]] std::size_t query_count() const;

  /// Requests by `Idempotency-Key`.
  [[nodiscard]] std::map<std::string, std::uint32_t> counts() const;

  /// Answers under way, and the most there ever were at once.
  [[nodiscard]] std::uint32_t in_flight() const;
  [[nodiscard]] std::uint32_t in_flight_most() const;

  /// Connections that the client closed in the middle of an answer.
  [[nodiscard]] std::uint32_t aborted() const;

private:
  class server;

  std::unique_ptr<server> server_;
};

}  // namespace callboard::testing
