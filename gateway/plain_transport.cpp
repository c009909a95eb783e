// The transport of a plain TCP connection.
#include "gateway/socket_state.hpp"
#include "gateway/transports.hpp"

namespace callboard::gateway {

namespace asio = boost::asio;

namespace {

struct plain_state {
  asio::ip::tcp::socket socket;
  asio::io_context& loop;
  std::string peer;
};

class plain_transport final : public transport {
public:
  explicit plain_transport(std::shared_ptr<plain_state> state) : state_{std::move(state)} {}

  ~plain_transport() override {
    if (!handed_on_) close_now(state_->socket);
  }

  void async_read_some(asio::mutable_buffer into, on_transfer then) override {
    state_->socket.async_read_some(
        into, [state = state_, then = std::move(then)](auto failed, std::size_t size) mutable {
          then(failed, size);
        });
  }

  void async_write(std::vector<asio::const_buffer> buffers, on_transfer then) override {
    asio::async_write(
        state_->socket,
        std::move(buffers),
        [state = state_, then = std::move(then)](auto failed, std::size_t size) mutable {
          then(failed, size);
        });
  }

  void async_shutdown(std::move_only_function<void()> then) override {
    handed_on_ = true;
    std::make_shared<lingering_close>(state_->socket, state_->loop, state_, std::move(then))
        ->start();
  }

  void close() override { close_now(state_->socket); }

  [[nodiscard]] asio::io_context& context() override { return state_->loop; }

  [[nodiscard]] const std::string& peer() const override { return state_->peer; }

private:
  std::shared_ptr<plain_state> state_;
  /// The socket closes itself when its lingering end is over.
  bool handed_on_ = false;
};

}  // namespace

std::unique_ptr<transport>
make_plain_transport(asio::ip::tcp::socket socket, asio::io_context& loop) {
  auto peer = peer_name(socket);
  return std::make_unique<plain_transport>(
      std::make_shared<plain_state>(std::move(socket), loop, std::move(peer)));
}

}  // namespace callboard::gateway
