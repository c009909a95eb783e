// Bytes to requests: bounded buffers around Beast's parser, which stays inside.
#pragma once

#include "base/error.hpp"
#include "gateway/http_request.hpp"

#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace callboard::gateway {

struct reader_limits {
  std::uint32_t header_bytes_max = 16 << 10;
  std::uint64_t body_bytes_max = 4 << 20;
};

/// A request that is not HTTP as we speak it: the status to answer, after which the connection
/// must close, for nobody knows where the next request begins.
struct broken_request {
  unsigned status = 400;
  error problem;
};

/// Lifecycle: `prepare`, `commit`, `advance` until `complete`, `next`, and so on. One per
/// connection; holds at most header_bytes_max (at least 16 KiB) unparsed bytes and one body.
class request_reader {
public:
  enum class progress : std::uint8_t {
    /// Read more bytes, then call again.
    need_more,
    /// The head is there: `request()` has all but the body. Call again to go on.
    head,
    complete,
  };

  explicit request_reader(reader_limits limits);
  ~request_reader();

  request_reader(const request_reader&) = delete;
  request_reader& operator=(const request_reader&) = delete;

  /// Memory to read into; stays where it is until `commit`. Empty if the buffer is full.
  [[nodiscard]] boost::asio::mutable_buffer prepare();
  void commit(std::size_t size);

  [[nodiscard]] std::expected<progress, broken_request> advance();

  [[nodiscard]] http_request& request() { return request_; }

  [[nodiscard]] const http_request& request() const { return request_; }

  /// Bytes of the body that have arrived.
  [[nodiscard]] std::size_t body_size() const;

  /// Forgets the request; bytes that were read after it stay, and so does memory being read into.
  void next();

  /// True if a byte of the request after the last one has arrived.
  [[nodiscard]] bool has_begun() const { return in_body_ || begin_ < end_ || !head_start_.empty(); }

  /// What was read after the head, for whoever takes the connection over.
  [[nodiscard]] std::string take_rest();

private:
  struct parser;

  [[nodiscard]] std::expected<progress, broken_request> advance_head();
  [[nodiscard]] std::expected<progress, broken_request> advance_body();
  [[nodiscard]] std::expected<void, broken_request> read_head(std::size_t size);
  void skip_empty_lines();

  const reader_limits limits_;
  std::unique_ptr<char[]> memory_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool in_body_ = false;
  std::unique_ptr<parser> parser_;
  /// What the parser has taken of a head that is not complete yet.
  std::string head_start_;
  http_request request_;
};

}  // namespace callboard::gateway
