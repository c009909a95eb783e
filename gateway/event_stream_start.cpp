// How an event stream begins: from where, and with which headers.
#include "gateway/event_stream.hpp"
#include "gateway/problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

std::string_view header(const upgrade_request& request, std::string_view name) {
  const auto found =
      std::ranges::find_if(request.headers, [&](const auto& one) { return one.first == name; });
  return found == request.headers.end() ? std::string_view{} : std::string_view{found->second};
}

std::string query(const upgrade_request& request, const std::string& name) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? std::string{} : found->second;
}

/// A place that was seen: a cursor, or a bare seq, and what comes after it is wanted.
result<runtime::position> parse_seen(std::string_view text) {
  auto at = runtime::parse_position(text);
  if (!at) return at;
  if (auto* inclusive = std::get_if<runtime::from_seq>(&*at))
    inclusive->seq = inclusive->seq.next();
  return at;
}

/// An origin that the listener lets through may read the stream.
std::string
cross_origin_headers(const upgrade_request& request, const config::listen_section& settings) {
  const auto origin = header(request, "origin");
  const bool known = std::ranges::any_of(
      settings.allowed_origins, [&](const auto& one) { return one == origin || one == "*"; });
  if (origin.empty() || !known) return {};
  return fmt::format("Access-Control-Allow-Origin: {}\r\nVary: Origin\r\n", origin);
}

void refuse_stream(
    connection_port& port, std::unique_ptr<transport> stream, unsigned status, const error& why) {
  struct farewell {
    std::unique_ptr<transport> stream;
    std::string response;
  };

  const auto body = problem_json(why, status);
  auto last = std::make_shared<farewell>(
      std::move(stream),
      fmt::format(
          "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n"
          "Connection: close\r\n\r\n{}",
          status,
          reason_of(status),
          body.size(),
          body));
  auto* target = last->stream.get();
  target->async_write(
      {boost::asio::buffer(last->response)}, [last](const boost::system::error_code&, std::size_t) {
        auto* ending = last->stream.get();
        ending->async_shutdown([last] { last->stream->close(); });
      });
  port.close();
}

}  // namespace

result<stream_start> parse_stream_start(
    const upgrade_request& request, const topic_pattern& pattern, std::size_t topics_max) {
  stream_start start;
  std::string_view seen = header(request, "last-event-id");
  const auto cursor = query(request, "cursor");
  if (seen.empty()) seen = cursor;
  if (pattern.is_wildcard() && !seen.empty()) {
    auto place = parse_place(seen, pattern, topics_max);
    if (!place) return std::unexpected{place.error()};
    if (!place->lost) return stream_start{runtime::from_first{}, std::move(place->cursors), false};
    start.lost = true;
    seen = {};
  }
  // An id of a pattern's stream also does for its one topic.
  if (seen.starts_with(pattern.str() + '/')) seen.remove_prefix(pattern.str().size() + 1);
  const auto from = query(request, "from");
  if (seen.empty() && from.empty()) return start;
  auto at = seen.empty() ? runtime::parse_position(from) : parse_seen(seen);
  if (!at) return std::unexpected{at.error()};
  start.from = std::move(*at);
  const bool one_topic = std::holds_alternative<runtime::from_seq>(start.from)
                         || std::holds_alternative<runtime::after_cursor>(start.from);
  if (pattern.is_wildcard() && one_topic) {
    return fail(
        errc::bad_request, "a pattern begins at now, first or a time, or after an event id of it");
  }
  return start;
}

void start_event_stream(
    connection_port& port,
    const session_environment& environment,
    std::unique_ptr<transport> stream,
    upgrade_request request,
    const std::string& topic_or_pattern) {
  auto pattern = topic_pattern::parse(topic_or_pattern);
  if (!pattern) return refuse_stream(port, std::move(stream), 400, pattern.error());
  if (!request.who.may_subscribe(topic_or_pattern)) {
    return refuse_stream(
        port,
        std::move(stream),
        403,
        {errc::forbidden, "the token does not allow to subscribe to " + topic_or_pattern});
  }
  auto start =
      parse_stream_start(request, *pattern, environment.settings.limits.pattern_topics_max);
  if (!start) return refuse_stream(port, std::move(stream), 400, start.error());
  request.who.tenant = request.tenant;
  auto made = std::make_shared<event_stream>(
      port, environment, std::move(stream), std::move(request.who), std::move(*pattern));
  port.become(made);
  made->begin(std::move(*start), cross_origin_headers(request, environment.settings.listen));
}

}  // namespace callboard::gateway
