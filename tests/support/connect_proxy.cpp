#include "tests/support/connect_proxy.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <charconv>
#include <mutex>
#include <thread>
#include <utility>

namespace callboard::testing {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto as_value = asio::as_tuple(asio::use_awaitable);

/// The port that "CONNECT host:port HTTP/1.1" names; 0 = it is another request.
std::uint16_t port_of(const std::string& head) {
  std::uint16_t port = 0;
  const auto colon = head.find(':');
  if (!head.starts_with("CONNECT ") || colon == std::string::npos) return 0;
  std::from_chars(head.data() + colon + 1, head.data() + head.size(), port);
  return port;
}

}  // namespace

class connect_proxy::server {
public:
  explicit server(int refusal)
      : refusal_{refusal}, acceptor_{loop_, {asio::ip::address_v4::loopback(), 0}} {
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

  mutable std::mutex mutex;
  std::vector<std::string> heads;
  std::string carried;

private:
  using shared_socket = std::shared_ptr<tcp::socket>;

  asio::awaitable<void> accept() {
    while (true) {
      auto [failed, socket] = co_await acceptor_.async_accept(as_value);
      if (failed) co_return;
      asio::co_spawn(
          loop_, serve(std::make_shared<tcp::socket>(std::move(socket))), asio::detached);
    }
  }

  asio::awaitable<void> serve(shared_socket client) {
    std::string head;
    const auto [failed, size] =
        co_await asio::async_read_until(*client, asio::dynamic_buffer(head), "\r\n\r\n", as_value);
    if (failed) co_return;
    {
      const std::lock_guard guard{mutex};
      heads.push_back(head);
    }
    const auto port = port_of(head);
    auto to = std::make_shared<tcp::socket>(loop_);
    int status = refusal_;
    if (status == 0) {
      const tcp::endpoint where{asio::ip::address_v4::loopback(), port};
      const auto [unreachable] = co_await to->async_connect(where, as_value);
      status = port == 0 || unreachable ? 502 : 200;
    }
    auto answer = "HTTP/1.1 " + std::to_string(status) + " Said\r\n";
    if (status != 200) answer += "Content-Length: 4\r\n";
    answer += status == 200 ? "\r\n" : "\r\nnope";
    const auto [unheard, sent] =
        co_await asio::async_write(*client, asio::buffer(answer), as_value);
    if (unheard || status != 200) co_return;
    asio::co_spawn(loop_, carry(client, to), asio::detached);
    co_await carry(to, client);
  }

  asio::awaitable<void> carry(shared_socket from, shared_socket to) {
    std::array<char, 4096> piece{};
    while (true) {
      const auto [ended, size] = co_await from->async_read_some(asio::buffer(piece), as_value);
      if (ended) break;
      {
        const std::lock_guard guard{mutex};
        carried.append(piece.data(), size);
      }
      const auto [cut, sent] =
          co_await asio::async_write(*to, asio::buffer(piece.data(), size), as_value);
      if (cut) break;
    }
    boost::system::error_code ignored;
    to->shutdown(tcp::socket::shutdown_send, ignored);
  }

  const int refusal_;
  asio::io_context loop_{1};
  tcp::acceptor acceptor_;
  std::jthread thread_;
};

connect_proxy::connect_proxy(int refusal) : server_{std::make_unique<server>(refusal)} {}

connect_proxy::~connect_proxy() = default;

std::string connect_proxy::url() const {
  return "http://127.0.0.1:" + std::to_string(server_->port());
}

std::vector<std::string> connect_proxy::heads() const {
  const std::lock_guard guard{server_->mutex};
  return server_->heads;
}

std::string connect_proxy::carried() const {
  const std::lock_guard guard{server_->mutex};
  return server_->carried;
}

}  // namespace callboard::testing
