#include "cli/client/response_reader.hpp"

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <fmt/format.h>

namespace callboard::client {

namespace http = boost::beast::http;

struct response_reader::state {
  http::response_parser<http::string_body> parser;
};

response_reader::response_reader(bool without_body, std::size_t body_bytes_max)
    : state_{std::make_unique<state>()} {
  state_->parser.eager(true);
  state_->parser.skip(without_body);
  state_->parser.body_limit(body_bytes_max);
  state_->parser.header_limit(64 << 10);
}

response_reader::~response_reader() = default;

result<std::size_t> response_reader::feed(std::string_view bytes) {
  boost::system::error_code problem;
  const auto used =
      state_->parser.put(boost::asio::const_buffer{bytes.data(), bytes.size()}, problem);
  if (problem && problem != http::error::need_more) {
    return fail(errc::bad_request, fmt::format("not an HTTP response: {}", problem.message()));
  }
  return used;
}

result<void> response_reader::feed_end() {
  boost::system::error_code problem;
  state_->parser.put_eof(problem);
  if (problem) {
    return fail(errc::bad_request, fmt::format("the response was cut off: {}", problem.message()));
  }
  return {};
}

bool response_reader::has_head() const {
  return state_->parser.is_header_done();
}

bool response_reader::is_done() const {
  return state_->parser.is_done();
}

unsigned response_reader::status() const {
  return state_->parser.get().result_int();
}

header_list response_reader::headers() const {
  header_list all;
  for (const auto& field : state_->parser.get()) {
    std::string name{field.name_string()};
    for (auto& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    all.emplace_back(std::move(name), std::string{field.value()});
  }
  return all;
}

bool response_reader::keeps_alive() const {
  return state_->parser.keep_alive();
}

std::string response_reader::take_body() {
  return std::exchange(state_->parser.get().body(), {});
}

}  // namespace callboard::client
