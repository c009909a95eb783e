#include "cli/client/http.hpp"

#include "cli/client/raw_json.hpp"

#include <fmt/format.h>

#include <charconv>

namespace callboard::client {

std::string_view http_response::header(std::string_view name) const {
  for (const auto& [candidate, value] : headers) {
    if (candidate == name) return value;
  }
  return {};
}

std::string serialize(const http_request& request, const endpoint& to) {
  auto out = fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: callboard-cli\r\n",
      request.method,
      request.target,
      to.authority());
  for (const auto& [name, value] : request.headers) {
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", request.body.size());
  }
  out += "\r\n";
  out += request.body;
  return out;
}

result<http_response>
read_response(byte_stream& stream, response_reader& reader, std::string& leftover, deadline until) {
  http_response response;
  std::string chunk(16 << 10, '\0');
  for (;;) {
    if (!leftover.empty()) {
      auto used = reader.feed(leftover);
      if (!used) return std::unexpected{used.error()};
      leftover.erase(0, *used);
      if (reader.is_done()) break;
      if (*used != 0) continue;
    }
    auto count = stream.read_some(chunk.data(), chunk.size(), until);
    if (!count) return std::unexpected{count.error()};
    if (*count == 0) {
      if (!reader.has_head()) return fail(errc::unreachable, "the server closed the connection");
      if (auto ended = reader.feed_end(); !ended) return std::unexpected{ended.error()};
      break;
    }
    leftover.append(chunk.data(), *count);
  }
  response.status = reader.status();
  response.headers = reader.headers();
  response.body = reader.take_body();
  return response;
}

result<http_response> http_client::exchange(const http_request& request, deadline until) {
  if (!stream_) {
    auto connected = byte_stream::connect(server_, until);
    if (!connected) return std::unexpected{connected.error()};
    stream_ = std::move(*connected);
  }
  if (auto sent = stream_->write_all(serialize(request, server_), until); !sent) {
    return std::unexpected{sent.error()};
  }
  response_reader reader{request.method == "HEAD"};
  std::string leftover;
  for (;;) {
    auto response = read_response(*stream_, reader, leftover, until);
    if (!response && response.error().code == errc::timeout) {
      return fail(
          errc::unreachable,
          fmt::format("{} did not answer within {} ms", server_.url(), request.timeout.count()));
    }
    if (response && !reader.keeps_alive()) stream_.reset();
    return response;
  }
}

result<http_response> http_client::send(const http_request& request) {
  const auto until = deadline::after(request.timeout);
  // A kept connection that turned readable by itself has been closed by the server.
  if (stream_ && stream_->is_readable()) stream_.reset();
  const bool was_kept = stream_.has_value();
  auto response = exchange(request, until);
  if (response) return response;
  stream_.reset();
  if (was_kept && request.method != "POST" && response.error().code == errc::unreachable
      && !until.passed()) {
    response = exchange(request, until);
    if (!response) stream_.reset();
  }
  return response;
}

error problem_of(const http_response& response) {
  error problem{errc::internal, fmt::format("HTTP status {}", response.status), 0};
  const auto members = json_members(response.body);
  if (!members) return problem;
  const auto code = json_text(find_member(*members, "code"));
  const auto detail = json_text(find_member(*members, "detail"));
  if (const auto known = errc_named(code)) problem.code = *known;
  if (!detail.empty()) {
    problem.detail = detail;
  } else if (const auto title = json_text(find_member(*members, "title")); !title.empty()) {
    problem.detail = title;
  }
  if (!code.empty() && !errc_named(code))
    problem.detail = fmt::format("{}: {}", code, problem.detail);
  const auto retry = find_member(*members, "retry_after_ms");
  std::from_chars(retry.data(), retry.data() + retry.size(), problem.retry_after_ms);
  return problem;
}

error refusal_of(const http_response& response) {
  auto problem = problem_of(response);
  if (response.status < 500 || is_retryable(problem.code)) return problem;
  problem.detail = fmt::format("{}: {}", name_of(problem.code), problem.detail);
  problem.code = errc::unreachable;
  return problem;
}

}  // namespace callboard::client
