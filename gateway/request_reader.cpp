// The one file of the HTTP side that includes Beast.
#include "gateway/request_reader.hpp"

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace callboard::gateway {

namespace http = boost::beast::http;
using boost::system::error_code;

struct request_reader::parser {
  std::optional<http::request_parser<http::string_body>> beast;
};

namespace {

constexpr std::size_t first_size = 4096;
constexpr std::size_t body_read_size = 16 << 10;
constexpr std::size_t read_size_min = 1024;

std::unexpected<broken_request> broken(unsigned status, errc code, std::string detail) {
  return std::unexpected{broken_request{status, error{code, std::move(detail)}}};
}

std::unexpected<broken_request> broken_head(error_code failed, const reader_limits& limits) {
  if (failed == http::error::header_limit) {
    return broken(
        431,
        errc::too_large,
        fmt::format("request line and headers may take {} bytes", limits.header_bytes_max));
  }
  if (failed == http::error::bad_version) {
    return broken(505, errc::bad_request, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  }
  return broken(400, errc::bad_request, fmt::format("not an HTTP request: {}", failed.message()));
}

std::unexpected<broken_request> body_too_large(const reader_limits& limits) {
  return broken(
      413, errc::too_large, fmt::format("a body may take {} bytes", limits.body_bytes_max));
}

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return out;
}

std::size_t count_of(const http_request& request, std::string_view name) {
  return static_cast<std::size_t>(
      std::ranges::count(request.headers, name, &std::pair<std::string, std::string>::first));
}

/// Refuses whatever two servers in a row might understand in two ways (RFC 9112 section 6).
std::expected<void, broken_request> read_framing(http_request& request) {
  const auto* length = request.find("content-length");
  const auto* encoding = request.find("transfer-encoding");
  if (encoding != nullptr) {
    if (length != nullptr) {
      return broken(400, errc::bad_request, "both Content-Length and Transfer-Encoding are given");
    }
    if (request.version < 11 || count_of(request, "transfer-encoding") != 1) {
      return broken(400, errc::bad_request, "Transfer-Encoding cannot be used like this");
    }
    if (lower(*encoding) != "chunked") {
      return broken(501, errc::bad_request, "the only Transfer-Encoding spoken here is chunked");
    }
    request.chunked = true;
  }
  if (length != nullptr) {
    std::uint64_t value = 0;
    const auto* end = length->data() + length->size();
    const auto [stopped, failed] = std::from_chars(length->data(), end, value);
    if (failed != std::errc{} || stopped != end || count_of(request, "content-length") != 1) {
      return broken(400, errc::bad_request, "Content-Length must be one number");
    }
    request.content_length = value;
  }
  const auto hosts = count_of(request, "host");
  if (hosts > 1 || (hosts == 0 && request.version >= 11)) {
    return broken(400, errc::bad_request, "a request must have one Host header");
  }
  return {};
}

}  // namespace

request_reader::request_reader(reader_limits limits)
    : limits_{limits}, parser_{std::make_unique<parser>()} {}

request_reader::~request_reader() = default;

boost::asio::mutable_buffer request_reader::prepare() {
  if (begin_ == end_) begin_ = end_ = 0;
  // Only here: at any other time somebody may be reading into it.
  if (!has_begun() && capacity_ > body_read_size) {
    memory_.reset();
    capacity_ = 0;
  }
  const auto capacity_max =
      std::max<std::size_t>(limits_.header_bytes_max + std::size_t{1}, body_read_size);
  if (capacity_ - end_ < read_size_min && begin_ > 0) {
    std::memmove(memory_.get(), memory_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const bool wants_more =
      capacity_ - end_ < read_size_min || (in_body_ && capacity_ < body_read_size);
  if (wants_more && capacity_ < capacity_max) {
    const auto capacity = std::min(
        capacity_max, std::max({first_size, capacity_ * 2, in_body_ ? body_read_size : 0}));
    auto memory = std::make_unique_for_overwrite<char[]>(capacity);
    if (end_ > begin_) std::memcpy(memory.get(), memory_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    memory_ = std::move(memory);
    capacity_ = capacity;
  }
  return {memory_.get() + end_, capacity_ - end_};
}

void request_reader::commit(std::size_t size) {
  end_ += size;
}

std::expected<request_reader::progress, broken_request> request_reader::advance() {
  return in_body_ ? advance_body() : advance_head();
}

void request_reader::skip_empty_lines() {
  // RFC 9112 section 2.2: an empty line before the request line is ignored.
  while (end_ - begin_ >= 2 && memory_[begin_] == '\r' && memory_[begin_ + 1] == '\n')
    begin_ += 2;
}

std::expected<request_reader::progress, broken_request> request_reader::advance_head() {
  if (!parser_->beast) {
    skip_empty_lines();
    const bool half_a_line = end_ - begin_ == 1 && memory_[begin_] == '\r';
    if (begin_ == end_ || half_a_line) return progress::need_more;
    auto& beast = parser_->beast.emplace();
    beast.header_limit(limits_.header_bytes_max);
    beast.body_limit(limits_.body_bytes_max);
    beast.eager(false);
  }
  auto& beast = *parser_->beast;
  error_code failed;
  const auto used =
      beast.put(boost::asio::const_buffer{memory_.get() + begin_, end_ - begin_}, failed);
  if (failed == http::error::body_limit) return body_too_large(limits_);
  if (failed == http::error::need_more) {
    // The parser takes the request line and whole fields before it knows the end of the head.
    head_start_.append(memory_.get() + begin_, used);
    begin_ += used;
    if (head_start_.size() + (end_ - begin_) > limits_.header_bytes_max) {
      return broken_head(http::error::header_limit, limits_);
    }
    return progress::need_more;
  }
  if (failed) return broken_head(failed, limits_);
  if (auto sound = read_head(used); !sound) return std::unexpected{sound.error()};
  begin_ += used;
  in_body_ = true;
  return progress::head;
}

std::expected<void, broken_request> request_reader::read_head(std::size_t size) {
  const auto& message = parser_->beast->get();
  request_.method =
      std::string_view{message.method_string().data(), message.method_string().size()};
  request_.target = std::string_view{message.target().data(), message.target().size()};
  request_.version = message.version();
  request_.keep_alive = parser_->beast->keep_alive();
  request_.headers.reserve(12);
  for (const auto& field : message) {
    const auto name = field.name_string();
    const auto value = field.value();
    request_.headers.emplace_back(
        lower({name.data(), name.size()}), std::string{value.data(), value.size()});
  }
  if (request_.version != 10 && request_.version != 11) {
    return broken_head(http::error::bad_version, limits_);
  }
  if (auto sound = read_framing(request_); !sound) return sound;
  if (request_.content_length.value_or(0) > limits_.body_bytes_max) return body_too_large(limits_);
  if (request_.find("upgrade") != nullptr) {
    request_.head = std::move(head_start_);
    request_.head.append(memory_.get() + begin_, size);
  }
  return {};
}

std::expected<request_reader::progress, broken_request> request_reader::advance_body() {
  auto& beast = *parser_->beast;
  beast.eager(true);
  // When the first chunk is the last the parser asserts that it is asked again with no less than
  // the shortest end of a body, "0\r\n\r\n". Less than that, beginning so, ends none.
  const auto has_enough = [&] {
    const auto size = end_ - begin_;
    return size >= 5 || (size > 0 && !(beast.chunked() && memory_[begin_] == '0'));
  };
  while (!beast.is_done() && has_enough()) {
    error_code failed;
    const auto used =
        beast.put(boost::asio::const_buffer{memory_.get() + begin_, end_ - begin_}, failed);
    begin_ += used;
    if (failed == http::error::body_limit) return body_too_large(limits_);
    if (failed && failed != http::error::need_more) {
      return broken(
          400,
          errc::bad_request,
          fmt::format("the body is cut or badly framed: {}", failed.message()));
    }
    if (used == 0) break;
  }
  if (!beast.is_done()) {
    // A chunk header or trailer that does not fit is no longer a header.
    if (end_ - begin_ >= std::max<std::size_t>(limits_.header_bytes_max, body_read_size)) {
      return broken(400, errc::bad_request, "a chunk header or trailer is too long");
    }
    return progress::need_more;
  }
  request_.body = std::move(beast.get().body());
  return progress::complete;
}

std::size_t request_reader::body_size() const {
  return parser_->beast ? parser_->beast->get().body().size() : 0;
}

void request_reader::next() {
  parser_->beast.reset();
  request_ = {};
  head_start_.clear();
  in_body_ = false;
}

std::string request_reader::take_rest() {
  std::string rest{memory_.get() + begin_, end_ - begin_};
  begin_ = end_ = 0;
  return rest;
}

}  // namespace callboard::gateway
