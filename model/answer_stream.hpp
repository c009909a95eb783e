// A streamed answer, from the bytes of its body to the result. No network, no time.
#pragma once

#include "model/delta_merger.hpp"
#include "model/sse_parser.hpp"

#include <expected>
#include <string>
#include <string_view>

namespace callboard::model {

/// Takes the body in pieces of any size. After a failure it is of no more use.
class answer_stream {
public:
  /// `secret` is kept out of messages.
  answer_stream(const answer_limits& limits, std::string secret)
      : limits_{limits},
        events_{static_cast<std::size_t>(limits.event_bytes_max)},
        merger_{limits},
        secret_{std::move(secret)} {}

  /// The text that these bytes complete; may be empty. Bytes behind `[DONE]` are passed over.
  /// Failures: what an error object in the stream says; too_large; retryable for what is no chunk.
  [[nodiscard]] std::expected<std::string, failure> feed(std::string_view bytes);

  /// True once `[DONE]` came.
  [[nodiscard]] bool done() const { return done_; }

  /// At the end of the body: the answer, or a retryable failure if the end came before `[DONE]`.
  [[nodiscard]] chat_outcome finish();

private:
  [[nodiscard]] std::expected<std::string, failure> take(const sse_event& event);

  answer_limits limits_;
  sse_parser events_;
  delta_merger merger_;
  std::string secret_;
  std::uint64_t size_ = 0;
  bool done_ = false;
};

}  // namespace callboard::model
