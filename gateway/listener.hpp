// Accepts connections and spreads them over the I/O threads. Asio only; no Beast, no CAF.
#pragma once

#include "base/config.hpp"
#include "base/error.hpp"
#include "gateway/http_metrics.hpp"
#include "gateway/transports.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace callboard::gateway {

/// Called on the loop of I/O thread `thread` with a socket that is ready for HTTP (after the TLS
/// handshake). `release` must be called once, when the connection has ended.
using on_connection = std::function<void(
    std::size_t thread,
    std::unique_ptr<transport> stream,
    admission standing,
    std::function<void()> release)>;

/// One listening socket, served on the first loop. At most `limits.connections_max` connections;
/// 64 beyond that are handed over to be told so, and more are closed without a word.
/// All loops outlive it; `stop` must have run on the first one before it is destroyed.
class listener {
public:
  listener(
      const config& settings,
      std::vector<boost::asio::io_context*> loops,
      http_metrics& counters,
      on_connection then);

  /// Binds and listens. Errors: io_error (address, port, certificate).
  [[nodiscard]] result<void> open();

  /// Begins to accept.
  void start();

  /// Accepts no more. On the first loop.
  void stop();

  [[nodiscard]] std::uint16_t port() const { return port_; }

  /// Connections being served, handshakes included. Any thread.
  [[nodiscard]] std::size_t connection_count() const { return count_->load(); }

  /// Connections that were handed over and have not ended: without TLS handshakes. Any thread.
  [[nodiscard]] std::size_t served_count() const { return served_->load(); }

private:
  void accept();
  void on_accepted(std::size_t thread, boost::asio::ip::tcp::socket socket);
  void on_accept_failed(const boost::system::error_code& failed);
  void welcome(std::size_t thread, boost::asio::ip::tcp::socket socket, admission standing);
  void hand_over(std::size_t thread, std::unique_ptr<transport> stream, admission standing);

  [[nodiscard]] const std::shared_ptr<std::atomic<std::size_t>>&
  counter_of(admission standing) const {
    return standing == admission::admitted ? count_ : turned_away_;
  }

  const config& settings_;
  const std::vector<boost::asio::io_context*> loops_;
  http_metrics& counters_;
  const on_connection then_;
  std::shared_ptr<tls_identity> identity_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  std::size_t next_ = 0;
  std::uint16_t port_ = 0;
  /// Shared with the connections, which may outlive the listener.
  std::shared_ptr<std::atomic<std::size_t>> count_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::shared_ptr<std::atomic<std::size_t>> served_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::shared_ptr<std::atomic<std::size_t>> turned_away_ =
      std::make_shared<std::atomic<std::size_t>>(0);
};

}  // namespace callboard::gateway
