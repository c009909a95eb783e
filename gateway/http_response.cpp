#include "gateway/http_response.hpp"

#include "gateway/problem.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <iterator>

namespace callboard::gateway {

namespace {

/// The Date header's value; it changes once a second and is asked for far more often.
std::string_view date_text(time_ms now) {
  thread_local std::int64_t second = -1;
  thread_local std::string text;
  const auto current = std::chrono::floor<std::chrono::seconds>(now);
  if (current.time_since_epoch().count() != second) {
    second = current.time_since_epoch().count();
    text =
        fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(static_cast<std::time_t>(second)));
  }
  return text;
}

/// Whole seconds, rounded up; a second where the problem gives no hint of its own.
std::uint32_t retry_after_seconds(const error& problem) {
  return problem.retry_after_ms == 0 ? 1 : (problem.retry_after_ms + 999) / 1000;
}

}  // namespace

http_response problem_response(const error& problem, unsigned status) {
  http_response response;
  response.status = status == 0 ? http_status(problem.code) : status;
  response.content_type = "application/problem+json";
  response.body = problem_json(problem, response.status);
  if (is_retryable(problem.code)) {
    response.headers.emplace_back("Retry-After", std::to_string(retry_after_seconds(problem)));
  }
  if (problem.code == errc::unauthorized) {
    response.headers.emplace_back(
        "WWW-Authenticate", R"(Bearer realm="callboard", error="invalid_token")");
  } else if (problem.code == errc::forbidden) {
    response.headers.emplace_back(
        "WWW-Authenticate", R"(Bearer realm="callboard", error="insufficient_scope")");
  }
  return response;
}

http_response json_response(unsigned status, std::string body) {
  http_response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

void append_response_head(
    std::string& out, const http_response& response, const response_frame& frame) {
  const bool bodiless = response.status == 204;
  fmt::format_to(
      std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status, reason_of(response.status));
  if (!bodiless) {
    out += "Content-Type: ";
    out += response.content_type;
    fmt::format_to(std::back_inserter(out), "\r\nContent-Length: {}\r\n", response.body.size());
  }
  out += "Date: ";
  out += date_text(frame.now);
  out += "\r\nX-Request-Id: ";
  out += frame.request_id;
  out += "\r\n";
  out += frame.cors;
  for (const auto& [name, value] : response.headers) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  if (!frame.keep_alive) {
    out += "Connection: close\r\n";
  } else if (frame.old_version) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

}  // namespace callboard::gateway
