#include "tests/support/chat_provider.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <deque>
#include <mutex>
#include <thread>

namespace callboard::testing {

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

/// Errors as values: a client that goes away is ordinary here.
constexpr auto as_value = asio::as_tuple(asio::use_awaitable);

struct parts {
  std::string head;
  std::vector<std::string> writes;
};

std::string head_of(const chat_reply& reply, bool chunked, std::size_t size) {
  std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " Scripted\r\n";
  out += "Content-Type: " + reply.content_type + "\r\n";
  out += chunked ? "Transfer-Encoding: chunked\r\n"
                 : "Content-Length: " + std::to_string(size) + "\r\n";
  for (const auto& [name, value] : reply.headers)
    out += name + ": " + value + "\r\n";
  return out + "\r\n";
}

std::string hex(std::size_t value) {
  std::string out;
  do {
    out.insert(out.begin(), "0123456789abcdef"[value % 16]);
    value /= 16;
  } while (value != 0);
  return out;
}

/// What is written, piece by piece; cut where the script says.
parts parts_of(const chat_reply& reply) {
  const bool chunked = reply.pieces.size() > 1 || reply.hold_end
                       || reply.content_type.starts_with("text/event-stream");
  std::size_t size = 0;
  for (const auto& piece : reply.pieces)
    size += piece.size();
  parts out;
  out.head = head_of(reply, chunked, size);
  std::size_t left = reply.cut_at.value_or(size);
  for (const auto& piece : reply.pieces) {
    if (reply.cut_at && left == 0) break;
    const auto part = piece.substr(0, left);
    left -= part.size();
    if (part.empty()) continue;
    out.writes.push_back(chunked ? hex(part.size()) + "\r\n" + part + "\r\n" : part);
  }
  if (chunked && !reply.cut_at && !reply.hold_end) out.writes.emplace_back("0\r\n\r\n");
  return out;
}

std::string last_message(const boost::json::value& request) {
  const auto* messages = request.as_object().if_contains("messages");
  if (messages == nullptr || !messages->is_array() || messages->as_array().empty()) return {};
  const auto* content = messages->as_array().back().as_object().if_contains("content");
  if (content == nullptr || !content->is_string()) return {};
  return std::string{std::string_view{content->as_string()}};
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto end = std::min(text.find(' ', 1), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

chat_reply echo(const chat_query& query) {
  boost::system::error_code failed;
  const auto request = boost::json::parse(query.body, failed);
  if (failed || !request.is_object()) return error_reply(400, "invalid_request_error", "no JSON");
  const auto text = "You said: " + last_message(request);
  const auto* stream = request.as_object().if_contains("stream");
  const bool streams = stream != nullptr && stream->is_bool() && stream->as_bool();
  return streams ? streamed_reply(words_of(text)) : whole_reply(text);
}

chat_query query_of(const http::request<http::string_body>& request) {
  chat_query out;
  out.target = request.target();
  out.body = request.body();
  for (const auto& field : request) {
    std::string name{field.name_string()};
    std::ranges::transform(
        name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    out.headers.emplace(std::move(name), field.value());
  }
  return out;
}

}  // namespace

class chat_provider::server {
public:
  explicit server(const chat_provider_options& options)
      : acceptor_{loop_, {asio::ip::address_v4::loopback(), 0}} {
    if (!options.certificate_file.empty()) {
      tls_.emplace(asio::ssl::context::tls_server);
      tls_->use_certificate_chain_file(options.certificate_file);
      tls_->use_private_key_file(options.key_file, asio::ssl::context::pem);
    }
    asio::co_spawn(loop_, accept(), asio::detached);
    thread_ = std::jthread{[this] { loop_.run(); }};
  }

  ~server() {
    loop_.stop();
    thread_.join();
  }

  server(const server&) = delete;
  server& operator=(const server&) = delete;

  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  [[nodiscard]] bool has_tls() const { return tls_.has_value(); }

  mutable std::mutex mutex;
  std::deque<chat_reply> scripted;
  responder answer;
  std::vector<chat_query> queries;
  std::map<std::string, std::uint32_t> counts;
  std::atomic<std::uint32_t> in_flight{0};
  std::atomic<std::uint32_t> in_flight_most{0};
  std::atomic<std::uint32_t> aborted{0};

private:
  asio::awaitable<void> accept() {
    while (true) {
      auto [failed, socket] = co_await acceptor_.async_accept(as_value);
      if (failed) co_return;
      socket.set_option(tcp::no_delay{true});
      if (tls_) {
        asio::co_spawn(loop_, serve_tls({std::move(socket), *tls_}), asio::detached);
      } else {
        asio::co_spawn(loop_, serve(std::move(socket)), asio::detached);
      }
    }
  }

  asio::awaitable<void> serve_tls(asio::ssl::stream<tcp::socket> stream) {
    const auto [failed] = co_await stream.async_handshake(asio::ssl::stream_base::server, as_value);
    if (!failed) co_await serve(std::move(stream));
  }

  /// One connection: requests until somebody closes it.
  template <class Stream>
  asio::awaitable<void> serve(Stream stream) {
    boost::beast::flat_buffer buffer;
    while (true) {
      http::request_parser<http::string_body> parser;
      parser.body_limit(64ULL << 20);
      const auto [failed, size] = co_await http::async_read(stream, buffer, parser, as_value);
      if (failed) co_return;
      const auto reply = next_reply(query_of(parser.get()));
      const auto now = ++in_flight;
      in_flight_most = std::max(in_flight_most.load(), now);
      const bool goes_on = co_await write_reply(stream, reply);
      --in_flight;
      if (!goes_on) co_return;
    }
  }

  /// Writes the answer; false if the connection ends with it.
  template <class Stream>
  asio::awaitable<bool> write_reply(Stream& stream, const chat_reply& reply) {
    co_await pause(reply.delay);
    if (reply.hang) co_return co_await wait_for_end(stream);
    if (!reply.raw.empty()) {
      co_await asio::async_write(stream, asio::buffer(reply.raw), as_value);
      co_return false;
    }
    const auto [head, writes] = parts_of(reply);
    if (!co_await write(stream, head)) co_return false;
    for (const auto& part : writes) {
      co_await pause(reply.drip);
      if (!co_await write(stream, part)) co_return false;
    }
    if (reply.hold_end) co_return co_await wait_for_end(stream);
    co_return !reply.cut_at.has_value();
  }

  template <class Stream>
  asio::awaitable<bool> write(Stream& stream, const std::string& bytes) {
    const auto [failed, size] = co_await asio::async_write(stream, asio::buffer(bytes), as_value);
    if (failed) ++aborted;
    co_return !failed;
  }

  template <class Stream>
  asio::awaitable<bool> wait_for_end(Stream& stream) {
    char byte = 0;
    co_await stream.async_read_some(asio::buffer(&byte, 1), as_value);
    ++aborted;
    co_return false;
  }

  asio::awaitable<void> pause(std::chrono::milliseconds time) {
    if (time.count() == 0) co_return;
    asio::steady_timer timer{loop_, time};
    co_await timer.async_wait(as_value);
  }

  chat_reply next_reply(chat_query query) {
    responder by;
    {
      const std::lock_guard guard{mutex};
      const auto key = query.header("idempotency-key");
      if (!key.empty()) query.times = ++counts[key];
      queries.push_back(query);
      if (!scripted.empty()) {
        auto reply = std::move(scripted.front());
        scripted.pop_front();
        return reply;
      }
      by = answer;
    }
    return by ? by(query) : echo(query);
  }

  asio::io_context loop_{1};
  std::optional<asio::ssl::context> tls_;
  tcp::acceptor acceptor_;
  std::jthread thread_;
};

chat_provider::chat_provider(const chat_provider_options& options)
    : server_{std::make_unique<server>(options)} {}

chat_provider::~chat_provider() = default;

std::uint16_t chat_provider::port() const {
  return server_->port();
}

std::string chat_provider::base_url() const {
  const auto end = std::to_string(port()) + "/v1";
  return server_->has_tls() ? "https://localhost:" + end : "http://127.0.0.1:" + end;
}

void chat_provider::script(std::vector<chat_reply> replies) {
  const std::lock_guard guard{server_->mutex};
  for (auto& reply : replies)
    server_->scripted.push_back(std::move(reply));
}

void chat_provider::answer_with(responder answer) {
  const std::lock_guard guard{server_->mutex};
  server_->answer = std::move(answer);
}

std::vector<chat_query> chat_provider::queries() const {
  const std::lock_guard guard{server_->mutex};
  return server_->queries;
}

std::size_t chat_provider::query_count() const {
  const std::lock_guard guard{server_->mutex};
  return server_->queries.size();
}

std::map<std::string, std::uint32_t> chat_provider::counts() const {
  const std::lock_guard guard{server_->mutex};
  return server_->counts;
}

std::uint32_t chat_provider::in_flight() const {
  return server_->in_flight;
}

std::uint32_t chat_provider::in_flight_most() const {
  return server_->in_flight_most;
}

std::uint32_t chat_provider::aborted() const {
  return server_->aborted;
}

}  // namespace callboard::testing
