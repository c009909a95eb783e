#include "gateway/listener.hpp"

#include "base/log.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/socket_base.hpp>
#include <fmt/format.h>

namespace callboard::gateway {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int backlog = 4096;
/// Sockets that are being told that there are too many; more are closed without a word.
constexpr std::size_t turned_away_max = 64;
constexpr std::chrono::milliseconds pause_after_failure{100};

result<tcp::endpoint> endpoint_of(const config::listen_section& listen) {
  error_code failed;
  const auto text = listen.address == "localhost" ? std::string{"127.0.0.1"} : listen.address;
  const auto address = asio::ip::make_address(text, failed);
  if (failed) {
    return fail(
        errc::invalid_setting,
        fmt::format("listen.address '{}' is not an IP address", listen.address));
  }
  return tcp::endpoint{address, listen.port};
}

void bind_and_listen(tcp::acceptor& acceptor, const tcp::endpoint& at, error_code& failed) {
  acceptor.open(at.protocol(), failed);
  if (failed) return;
  acceptor.set_option(asio::socket_base::reuse_address{true}, failed);
  if (failed) return;
  acceptor.bind(at, failed);
  if (failed) return;
  acceptor.listen(backlog, failed);
}

}  // namespace

listener::listener(
    const config& settings,
    std::vector<asio::io_context*> loops,
    http_metrics& counters,
    on_connection then)
    : settings_{settings},
      loops_{std::move(loops)},
      counters_{counters},
      then_{std::move(then)},
      acceptor_{*loops_.front()},
      pause_{*loops_.front()} {}

result<void> listener::open() {
  if (!settings_.listen.tls_certificate.empty()) {
    auto loaded = tls_identity::load(settings_.listen.tls_certificate, settings_.listen.tls_key);
    if (!loaded) return std::unexpected{loaded.error()};
    identity_ = std::move(*loaded);
  }
  const auto at = endpoint_of(settings_.listen);
  if (!at) return std::unexpected{at.error()};
  error_code failed;
  bind_and_listen(acceptor_, *at, failed);
  if (failed) {
    return fail(
        errc::io_error,
        fmt::format(
            "cannot listen on {} port {}: {}; name another with --listen or listen.port",
            settings_.listen.address,
            at->port(),
            failed.message()));
  }
  port_ = acceptor_.local_endpoint(failed).port();
  return {};
}

void listener::start() {
  asio::post(*loops_.front(), [this] { accept(); });
}

void listener::stop() {
  error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

void listener::accept() {
  if (!acceptor_.is_open()) return;
  const auto thread = next_++ % loops_.size();
  acceptor_.async_accept(*loops_[thread], [this, thread](error_code failed, tcp::socket socket) {
    if (failed == asio::error::operation_aborted) return;
    if (failed) return on_accept_failed(failed);
    on_accepted(thread, std::move(socket));
    accept();
  });
}

void listener::on_accept_failed(const error_code& failed) {
  counters_.refused(refusal::accept_failed);
  // Out of file descriptors, most likely: the next try at once would fail as well.
  log::channel("gateway")->warn("cannot accept a connection: {}", failed.message());
  pause_.expires_after(pause_after_failure);
  pause_.async_wait([this](error_code aborted) {
    if (!aborted) accept();
  });
}

void listener::on_accepted(std::size_t thread, tcp::socket socket) {
  error_code ignored;
  socket.set_option(tcp::no_delay{true}, ignored);
  auto standing = admission::admitted;
  if (count_->fetch_add(1) >= settings_.limits.connections_max) {
    count_->fetch_sub(1);
    counters_.refused(refusal::too_many_connections);
    standing = admission::beyond_limit;
    if (turned_away_->fetch_add(1) >= turned_away_max) {
      turned_away_->fetch_sub(1);
      return;  // the socket closes with this scope
    }
  }
  asio::post(*loops_[thread], [this, thread, standing, socket = std::move(socket)]() mutable {
    welcome(thread, std::move(socket), standing);
  });
}

void listener::welcome(std::size_t thread, tcp::socket socket, admission standing) {
  auto& loop = *loops_[thread];
  if (!identity_) {
    return hand_over(thread, make_plain_transport(std::move(socket), loop), standing);
  }
  accept_tls(
      std::move(socket),
      loop,
      identity_,
      std::chrono::milliseconds{settings_.limits.handshake_timeout_ms},
      [this, thread, standing, counted = counter_of(standing)](std::unique_ptr<transport> stream) {
        if (stream) return hand_over(thread, std::move(stream), standing);
        counters_.refused(refusal::tls_handshake);
        counted->fetch_sub(1);
      });
}

void listener::hand_over(
    std::size_t thread, std::unique_ptr<transport> stream, admission standing) {
  served_->fetch_add(1);
  then_(thread, std::move(stream), standing, [served = served_, counted = counter_of(standing)] {
    served->fetch_sub(1);
    counted->fetch_sub(1);
  });
}

}  // namespace callboard::gateway
