// What plain and TLS transports have in common: a socket that outlives its transport for as long
// as operations are outstanding, and an end that loses no answer.
#pragma once

#include "gateway/transport.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <memory>
#include <string>
#include <utility>

namespace callboard::gateway {

/// "127.0.0.1:51234", or "?" if the peer is gone already.
[[nodiscard]] std::string peer_name(const boost::asio::ip::tcp::socket& socket);

/// Reads and drops what the client still sends after our last byte, until it closes, a second
/// passes or it has sent too much, and closes then. Without this, unread bytes of a request make
/// the system reset the connection, and the client may lose the answer that explains why.
class lingering_close : public std::enable_shared_from_this<lingering_close> {
public:
  lingering_close(
      boost::asio::ip::tcp::socket& socket,
      boost::asio::io_context& loop,
      std::shared_ptr<void> owner,
      std::move_only_function<void()> then);

  void start();

private:
  void read();
  void finish();

  boost::asio::ip::tcp::socket& socket_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<void> owner_;
  std::move_only_function<void()> then_;
  std::array<char, 4096> sink_{};
  std::size_t dropped_ = 0;
};

void close_now(boost::asio::ip::tcp::socket& socket);

}  // namespace callboard::gateway
