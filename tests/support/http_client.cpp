#include "tests/support/http_client.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>

namespace callboard::testing {

namespace {

std::string lower(std::string_view text) {
  std::string out{text};
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ')
    text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ')
    text.remove_suffix(1);
  return text;
}

/// Takes one complete chunk off the front of `raw`; nothing while it is incomplete.
std::optional<std::string> take_chunk(std::string& raw) {
  const auto line_end = raw.find("\r\n");
  if (line_end == std::string::npos) return std::nullopt;
  std::size_t size = 0;
  const auto parsed = std::from_chars(raw.data(), raw.data() + line_end, size, 16);
  if (parsed.ec != std::errc{}) throw std::runtime_error{"bad chunk size: " + raw.substr(0, 40)};
  const auto whole = line_end + 2 + size + 2;
  if (raw.size() < whole) return std::nullopt;
  auto chunk = raw.substr(line_end + 2, size);
  raw.erase(0, whole);
  return chunk;
}

void read_chunked(socket& from, std::string& buffer, std::string& body, milliseconds limit) {
  for (;;) {
    auto chunk = take_chunk(buffer);
    if (!chunk) {
      if (!from.read_some(buffer, limit)) throw disconnected{"end in a chunked body"};
      continue;
    }
    if (chunk->empty()) return;
    body += *chunk;
  }
}

void read_sized(socket& from, std::string& buffer, http_response& into, milliseconds limit) {
  const auto size = std::stoul(into.header("content-length"));
  while (buffer.size() < size) {
    if (!from.read_some(buffer, limit)) throw disconnected{"end in a body"};
  }
  into.body = buffer.substr(0, size);
  buffer.erase(0, size);
}

}  // namespace

boost::json::value http_response::json() const {
  return boost::json::parse(body);
}

std::string http_response::code() const {
  boost::system::error_code failed;
  const auto value = boost::json::parse(body, failed);
  if (failed || !value.is_object()) return {};
  const auto* found = value.as_object().if_contains("code");
  return found != nullptr && found->is_string() ? std::string{found->as_string()} : std::string{};
}

std::string http_response::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string{} : found->second;
}

http_response read_head(socket& from, std::string& buffer, milliseconds limit) {
  std::size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!from.read_some(buffer, limit)) throw disconnected{"end before an answer"};
  }
  const std::string head = buffer.substr(0, end + 2);
  buffer.erase(0, end + 4);
  http_response response;
  if (!head.starts_with("HTTP/1.1 ")) throw std::runtime_error{"not HTTP/1.1: " + head};
  response.status = std::stoi(head.substr(9, 3));
  for (auto at = head.find("\r\n") + 2; at < head.size();) {
    const auto line_end = head.find("\r\n", at);
    const std::string_view line{head.data() + at, line_end - at};
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) throw std::runtime_error{"bad header line"};
    response.headers[lower(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
    at = line_end + 2;
  }
  return response;
}

http_response http_client::send(
    std::string_view method,
    std::string_view target,
    std::string_view body,
    const header_list& headers) {
  std::string request;
  request.append(method).append(" ").append(target).append(" HTTP/1.1\r\nhost: localhost\r\n");
  if (!token_.empty()) request.append("authorization: Bearer ").append(token_).append("\r\n");
  for (const auto& [name, value] : headers) {
    request.append(name).append(": ").append(value).append("\r\n");
  }
  if (!body.empty() || method == "POST" || method == "PUT") {
    request.append("content-length: ").append(std::to_string(body.size())).append("\r\n");
  }
  request.append("\r\n").append(body);
  return exchange(request);
}

http_response
http_client::post(std::string_view target, std::string_view json, header_list headers) {
  headers.emplace_back("content-type", "application/json");
  return send("POST", target, json, headers);
}

http_response http_client::put(std::string_view target, std::string_view json) {
  return send("PUT", target, json, {{"content-type", "application/json"}});
}

http_response http_client::exchange(const std::string& request) {
  try {
    if (!connection_) {
      buffer_.clear();
      connection_.emplace(where_);
    }
    connection_->write(request);
    auto response = read_head(*connection_, buffer_, limit_);
    while (response.status == 100)
      response = read_head(*connection_, buffer_, limit_);
    if (response.header("transfer-encoding") == "chunked") {
      read_chunked(*connection_, buffer_, response.body, limit_);
    } else if (response.headers.contains("content-length") && !request.starts_with("HEAD ")) {
      read_sized(*connection_, buffer_, response, limit_);
    }
    if (lower(response.header("connection")) == "close") connection_.reset();
    return response;
  } catch (...) {
    connection_.reset();
    throw;
  }
}

event_stream::event_stream(
    const endpoint& where, std::string_view target, const header_list& headers)
    : connection_{where} {
  std::string request{"GET "};
  request.append(target).append(" HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n");
  for (const auto& [name, value] : headers) {
    request.append(name).append(": ").append(value).append("\r\n");
  }
  connection_.write(request + "\r\n");
  const milliseconds limit{10'000};
  head_ = read_head(connection_, raw_, limit);
  chunked_ = head_.header("transfer-encoding") == "chunked";
  if (head_.status == 200) return;
  if (chunked_) {
    read_chunked(connection_, raw_, head_.body, limit);
  } else if (head_.headers.contains("content-length")) {
    read_sized(connection_, raw_, head_, limit);
  }
  throw std::runtime_error{"event stream: " + std::to_string(head_.status) + ' ' + head_.body};
}

bool event_stream::fill(milliseconds limit) {
  for (;;) {
    if (!chunked_ && !raw_.empty()) {
      text_ += std::exchange(raw_, {});
      return true;
    }
    if (chunked_) {
      if (auto chunk = take_chunk(raw_)) {
        if (chunk->empty()) return false;
        text_ += *chunk;
        return true;
      }
    }
    if (!connection_.read_some(raw_, limit)) return false;
  }
}

std::optional<std::string> event_stream::next_line(milliseconds limit) {
  std::size_t end = 0;
  while ((end = text_.find('\n')) == std::string::npos) {
    if (!fill(limit)) return std::nullopt;
  }
  auto line = text_.substr(0, end);
  text_.erase(0, end + 1);
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

std::optional<stream_event> event_stream::next(milliseconds limit) {
  stream_event event;
  bool any = false;
  for (;;) {
    const auto line = next_line(limit);
    if (!line) return std::nullopt;
    if (line->empty()) {
      if (any && !event.id.empty()) return event;
      if (any) ++told_[event.type];
      event = {};
      any = false;
      continue;
    }
    if (line->starts_with(':')) {
      ++comments_;
      continue;
    }
    const auto colon = line->find(':');
    const auto field = line->substr(0, colon);
    auto value = colon == std::string::npos ? std::string{} : line->substr(colon + 1);
    if (value.starts_with(' ')) value.erase(0, 1);
    if (field == "id") event.id = value;
    if (field == "event") event.type = value;
    if (field == "retry") retry_ms_ = std::stoi(value);
    if (field == "data") {
      event.data += (event.data.empty() ? "" : "\n") + value;
      any = true;
    }
  }
}

}  // namespace callboard::testing
