#include "gateway/problem.hpp"

#include "gateway/json_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace callboard::gateway {

namespace {

constexpr auto statuses = std::to_array<status_line>({
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
});

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

void append_escaped(std::string& out, char32_t point) {
  switch (point) {
  case '"':
    out += "\\\"";
    return;
  case '\\':
    out += "\\\\";
    return;
  case '\n':
    out += "\\n";
    return;
  case '\r':
    out += "\\r";
    return;
  case '\t':
    out += "\\t";
    return;
  default:
    break;
  }
  if (point < 0x20 || point == 0x7F) {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(point));
  } else {
    append_utf8(out, point);
  }
}

}  // namespace

std::span<const status_line> http_statuses() {
  return statuses;
}

std::string_view reason_of(unsigned status) {
  const auto known = std::ranges::find(statuses, status, &status_line::status);
  return known == statuses.end() ? std::string_view{"Unknown"} : known->reason;
}

unsigned http_status(errc code) {
  switch (code) {
  case errc::bad_request:
  case errc::invalid_name:
  case errc::invalid_json:
  case errc::invalid_event:
  case errc::invalid_setting:
    return 400;
  case errc::unauthorized:
    return 401;
  case errc::forbidden:
    return 403;
  case errc::not_found:
  case errc::topic_not_found:
  case errc::workflow_not_found:
  case errc::agent_not_found:
  case errc::group_not_found:
  case errc::queue_not_found:
  case errc::task_not_found:
  case errc::binding_not_found:
    return 404;
  case errc::method_not_allowed:
    return 405;
  case errc::sequence_conflict:
  case errc::id_conflict:
  case errc::exists:
  case errc::lease_lost:
  case errc::wrong_kind:
  case errc::cancelled:
  case errc::workflow_exists:
    return 409;
  case errc::cursor_expired:
    return 410;
  case errc::agent_failed:
    return 422;
  case errc::too_large:
    return 413;
  case errc::unsupported_media_type:
    return 415;
  case errc::overloaded:
  case errc::rate_limited:
  case errc::too_many_subscriptions:
  case errc::inbox_full:
    return 429;
  case errc::too_many_connections:
  case errc::outcome_unknown:
  case errc::not_enough_replicas:
  case errc::stale_term:
  case errc::quarantined:
  case errc::draining:
  case errc::timeout:
  case errc::locked:
  case errc::unreachable:
    return 503;
  case errc::storage_full:
  case errc::held_by_group:
    return 507;
  case errc::corruption:
  case errc::io_error:
  case errc::incompatible:
  case errc::internal:
    return 500;
  }
  return 500;
}

std::string problem_json(const error& problem) {
  return problem_json(problem, http_status(problem.code));
}

std::string problem_json(const error& problem, unsigned status) {
  std::string out = fmt::format(
      R"({{"type":"about:blank","title":"{}","status":{},"retryable":{},)",
      reason_of(status),
      status,
      is_retryable(problem.code));
  append_error_members(out, problem);
  out += '}';
  return out;
}

void append_error_members(std::string& out, const error& problem) {
  out += "\"code\":\"";
  out += name_of(problem.code);
  out += "\",\"detail\":";
  append_json_string(out, problem.detail);
  if (problem.retry_after_ms != 0) {
    fmt::format_to(std::back_inserter(out), ",\"retry_after_ms\":{}", problem.retry_after_ms);
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t at = 0;
  while (at < text.size()) {
    const auto begin = at;
    while (at < text.size() && is_plain(text[at]))
      ++at;
    out.append(text, begin, at - begin);
    if (at == text.size()) break;
    const auto point = next_code_point(text, at);
    if (point) {
      append_escaped(out, *point);
    } else {
      append_utf8(out, 0xFFFD);  // bytes that are not UTF-8 must not make the whole text invalid
      ++at;
    }
  }
  out += '"';
}

}  // namespace callboard::gateway
