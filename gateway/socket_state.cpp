#include "gateway/socket_state.hpp"

#include <fmt/format.h>

namespace callboard::gateway {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t dropped_max = 1 << 20;
constexpr std::chrono::seconds linger_time{1};

}  // namespace

std::string peer_name(const asio::ip::tcp::socket& socket) {
  error_code failed;
  const auto peer = socket.remote_endpoint(failed);
  if (failed) return "?";
  const auto address = peer.address().to_string();
  return peer.address().is_v6() ? fmt::format("[{}]:{}", address, peer.port())
                                : fmt::format("{}:{}", address, peer.port());
}

void close_now(asio::ip::tcp::socket& socket) {
  error_code ignored;
  socket.close(ignored);
}

lingering_close::lingering_close(
    asio::ip::tcp::socket& socket,
    asio::io_context& loop,
    std::shared_ptr<void> owner,
    std::move_only_function<void()> then)
    : socket_{socket}, timer_{loop}, owner_{std::move(owner)}, then_{std::move(then)} {}

void lingering_close::start() {
  error_code failed;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, failed);
  timer_.expires_after(linger_time);
  timer_.async_wait([self = shared_from_this()](error_code aborted) {
    if (!aborted) close_now(self->socket_);
  });
  read();
}

void lingering_close::read() {
  socket_.async_read_some(
      asio::buffer(sink_), [self = shared_from_this()](error_code failed, std::size_t size) {
        self->dropped_ += size;
        if (failed || self->dropped_ > dropped_max) {
          self->finish();
        } else {
          self->read();
        }
      });
}

void lingering_close::finish() {
  timer_.cancel();
  close_now(socket_);
  if (then_) std::exchange(then_, nullptr)();
}

}  // namespace callboard::gateway
