#include "cli/client/event_stream.hpp"

#include <charconv>

namespace callboard::client {

void event_stream_parser::feed(std::string_view text) {
  for (const char c : text) {
    // CR, LF and CR LF all end a line.
    if (c == '\n' && std::exchange(ends_with_cr_, false)) continue;
    ends_with_cr_ = c == '\r';
    if (c == '\n' || c == '\r') {
      take_line(pending_);
      pending_.clear();
    } else {
      pending_.push_back(c);
    }
  }
}

void event_stream_parser::take_line(std::string_view line) {
  if (line.empty()) {
    if (has_data_) {
      current_.id = last_id_;
      ready_.push_back(std::move(current_));
    }
    current_ = {};
    has_data_ = false;
    return;
  }
  if (line.front() == ':') {
    ++comments_;
    return;
  }
  const auto colon = line.find(':');
  const auto field = line.substr(0, colon);
  auto value = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) current_.data.push_back('\n');
    current_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    current_.type = value;
  } else if (field == "id") {
    if (value.contains('\0')) return;
    last_id_ = value;
    current_.id_is_own = true;
  } else if (field == "retry") {
    std::int64_t ms = 0;
    const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (problem == std::errc{} && end == value.data() + value.size()) {
      retry_ = std::chrono::milliseconds{ms};
    }
  }
}

std::optional<stream_event> event_stream_parser::next() {
  if (ready_.empty()) return std::nullopt;
  auto event = std::move(ready_.front());
  ready_.pop_front();
  return event;
}

event_stream::event_stream(
    byte_stream stream, std::unique_ptr<response_reader> reader, std::string leftover)
    : stream_{std::move(stream)}, reader_{std::move(reader)}, leftover_{std::move(leftover)} {}

result<event_stream> event_stream::open(const endpoint& server, http_request request) {
  const auto until = deadline::after(request.timeout);
  auto connected = byte_stream::connect(server, until);
  if (!connected) return std::unexpected{connected.error()};
  request.headers.emplace_back("Accept", "text/event-stream");
  if (auto sent = connected->write_all(serialize(request, server), until); !sent) {
    return std::unexpected{sent.error()};
  }
  auto reader = std::make_unique<response_reader>(false, std::size_t{1} << 62);
  std::string leftover;
  std::string chunk(16 << 10, '\0');
  while (!reader->has_head()) {
    auto count = connected->read_some(chunk.data(), chunk.size(), until);
    if (!count) return fail(errc::unreachable, count.error().detail);
    if (*count == 0) return fail(errc::unreachable, "the server closed the connection");
    leftover.append(chunk.data(), *count);
    auto used = reader->feed(leftover);
    if (!used) return std::unexpected{used.error()};
    leftover.erase(0, *used);
  }
  if (reader->status() != 200) {
    auto response = reader->is_done()
                        ? result<http_response>{http_response{
                              reader->status(), reader->headers(), reader->take_body()}}
                        : read_response(*connected, *reader, leftover, until);
    if (!response) return std::unexpected{response.error()};
    return std::unexpected{refusal_of(*response)};
  }
  event_stream made{std::move(*connected), std::move(reader), std::move(leftover)};
  made.headers_ = made.reader_->headers();
  return made;
}

result<std::optional<stream_event>> event_stream::next(std::chrono::milliseconds wait) {
  const auto until = deadline::after(wait);
  std::string chunk(16 << 10, '\0');
  for (;;) {
    while (!leftover_.empty() && !reader_->is_done()) {
      auto used = reader_->feed(leftover_);
      if (!used) return fail(errc::unreachable, used.error().detail);
      leftover_.erase(0, *used);
      if (*used == 0) break;
    }
    parser_.feed(reader_->take_body());
    if (auto event = parser_.next()) return event;
    if (reader_->is_done()) return fail(errc::unreachable, "the server ended the event stream");
    auto count = stream_.read_some(chunk.data(), chunk.size(), until);
    if (!count && count.error().code == errc::timeout) return std::nullopt;
    if (!count) return std::unexpected{count.error()};
    if (*count == 0) return fail(errc::unreachable, "the server ended the event stream");
    leftover_.append(chunk.data(), *count);
  }
}

}  // namespace callboard::client
