// Parses one HTTP/1.1 response as its bytes arrive.
#pragma once

#include "base/error.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::client {

/// Lower-case names.
using header_list = std::vector<std::pair<std::string, std::string>>;

/// Feed it until `is_done`. The only file of the client that needs Boost.Beast is its source.
class response_reader {
public:
  /// `without_body`: the answer to HEAD, or to an upgrade.
  explicit response_reader(bool without_body = false, std::size_t body_bytes_max = 256UL << 20);
  ~response_reader();

  response_reader(const response_reader&) = delete;
  response_reader& operator=(const response_reader&) = delete;

  /// Returns how many of `bytes` belong to this response so far; the rest is to be fed again
  /// together with what follows, or belongs to what comes after it.
  /// Errors: bad_request (not HTTP, or above the limit).
  [[nodiscard]] result<std::size_t> feed(std::string_view bytes);

  /// The peer has ended the stream: the end of a body without length. Errors: bad_request.
  [[nodiscard]] result<void> feed_end();

  [[nodiscard]] bool has_head() const;
  [[nodiscard]] bool is_done() const;

  /// Precondition for all below: `has_head()`.
  [[nodiscard]] unsigned status() const;
  [[nodiscard]] header_list headers() const;
  [[nodiscard]] bool keeps_alive() const;

  /// Moves out what has come of the body since the last call, without chunk framing.
  [[nodiscard]] std::string take_body();

private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace callboard::client
