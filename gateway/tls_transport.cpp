// The transport of a TLS connection.
#include "gateway/socket_state.hpp"
#include "gateway/transports.hpp"

#include <boost/asio/ssl.hpp>
#include <fmt/format.h>

#include <string_view>

namespace callboard::gateway {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;

namespace {

constexpr std::chrono::seconds goodbye_time{1};

struct tls_state {
  std::shared_ptr<tls_identity> identity;
  ssl::stream<asio::ip::tcp::socket> stream;
  asio::io_context& loop;
  std::string peer;
  /// Bounds the handshake, and later the exchange of goodbyes.
  asio::steady_timer timer;

  tls_state(asio::ip::tcp::socket socket, asio::io_context& on, std::shared_ptr<tls_identity> with)
      : identity{std::move(with)},
        stream{std::move(socket), identity->context()},
        loop{on},
        peer{peer_name(stream.next_layer())},
        timer{on} {}
};

void close_after(const std::shared_ptr<tls_state>& state, std::chrono::milliseconds time) {
  state->timer.expires_after(time);
  state->timer.async_wait([state](error_code aborted) {
    if (!aborted) close_now(state->stream.next_layer());
  });
}

class tls_transport final : public transport {
public:
  explicit tls_transport(std::shared_ptr<tls_state> state) : state_{std::move(state)} {}

  ~tls_transport() override {
    if (!handed_on_) close_now(state_->stream.next_layer());
  }

  void async_read_some(asio::mutable_buffer into, on_transfer then) override {
    state_->stream.async_read_some(
        into, [state = state_, then = std::move(then)](auto failed, std::size_t size) mutable {
          then(failed, size);
        });
  }

  void async_write(std::vector<asio::const_buffer> buffers, on_transfer then) override {
    asio::async_write(
        state_->stream,
        std::move(buffers),
        [state = state_, then = std::move(then)](auto failed, std::size_t size) mutable {
          then(failed, size);
        });
  }

  void async_shutdown(std::move_only_function<void()> then) override {
    handed_on_ = true;
    close_after(state_, goodbye_time);
    state_->stream.async_shutdown(
        [state = state_, then = std::move(then)](error_code failed) mutable {
          state->timer.cancel();
          if (failed) {
            close_now(state->stream.next_layer());
            then();
            return;
          }
          std::make_shared<lingering_close>(
              state->stream.next_layer(), state->loop, state, std::move(then))
              ->start();
        });
  }

  void close() override { close_now(state_->stream.next_layer()); }

  [[nodiscard]] asio::io_context& context() override { return state_->loop; }

  [[nodiscard]] const std::string& peer() const override { return state_->peer; }

private:
  std::shared_ptr<tls_state> state_;
  bool handed_on_ = false;
};

/// ALPN: we speak HTTP/1.1; a client that offers other protocols only is answered without ALPN.
int choose_protocol(
    SSL* /*connection*/,
    const unsigned char** chosen,
    unsigned char* chosen_size,
    const unsigned char* offered,
    unsigned offered_size,
    void* /*unused*/) {
  constexpr std::string_view ours = "http/1.1";
  const std::string_view all{reinterpret_cast<const char*>(offered), offered_size};
  for (std::size_t at = 0; at < all.size();) {
    const auto size = static_cast<unsigned char>(all[at]);
    if (all.substr(at + 1, size) == ours) {
      *chosen = offered + at + 1;
      *chosen_size = size;
      return SSL_TLSEXT_ERR_OK;
    }
    at += std::size_t{1} + size;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

tls_identity::tls_identity(std::unique_ptr<ssl::context> context) : context_{std::move(context)} {}

tls_identity::~tls_identity() = default;

result<std::shared_ptr<tls_identity>>
tls_identity::load(const std::string& certificate_file, const std::string& key_file) {
  auto context = std::make_unique<ssl::context>(ssl::context::tls_server);
  error_code failed;
  context->set_options(
      ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3
          | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
      failed);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_alpn_select_cb(context->native_handle(), choose_protocol, nullptr);
  // Idle TLS connections give their record buffers back.
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  context->use_certificate_chain_file(certificate_file, failed);
  if (failed) {
    return fail(
        errc::io_error,
        fmt::format("cannot use the certificate {}: {}", certificate_file, failed.message()));
  }
  context->use_private_key_file(key_file, ssl::context::pem, failed);
  if (failed) {
    return fail(
        errc::io_error, fmt::format("cannot use the key {}: {}", key_file, failed.message()));
  }
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return fail(
        errc::io_error,
        fmt::format("the key {} does not belong to {}", key_file, certificate_file));
  }
  return std::make_shared<tls_identity>(std::move(context));
}

void accept_tls(
    asio::ip::tcp::socket socket,
    asio::io_context& loop,
    const std::shared_ptr<tls_identity>& identity,
    std::chrono::milliseconds timeout,
    std::move_only_function<void(std::unique_ptr<transport>)> then) {
  auto state = std::make_shared<tls_state>(std::move(socket), loop, identity);
  close_after(state, timeout);
  auto& stream = state->stream;
  stream.async_handshake(
      ssl::stream_base::server,
      [state = std::move(state), then = std::move(then)](error_code failed) mutable {
        state->timer.cancel();
        then(failed ? nullptr : std::make_unique<tls_transport>(std::move(state)));
      });
}

}  // namespace callboard::gateway
