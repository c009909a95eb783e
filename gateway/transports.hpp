// The two kinds of transport. Asio only; no Beast.
#pragma once

#include "base/error.hpp"
#include "gateway/transport.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace boost::asio::ssl {
class context;
}  // namespace boost::asio::ssl

namespace callboard::gateway {

/// TCP without encryption. `socket` belongs to `loop`.
[[nodiscard]] std::unique_ptr<transport>
make_plain_transport(boost::asio::ip::tcp::socket socket, boost::asio::io_context& loop);

/// Certificate and key of the listener; TLS 1.2 or later.
class tls_identity {
public:
  /// Reads both PEM files. Errors: io_error (names the file and the reason).
  [[nodiscard]] static result<std::shared_ptr<tls_identity>>
  load(const std::string& certificate_file, const std::string& key_file);

  explicit tls_identity(std::unique_ptr<boost::asio::ssl::context> context);
  ~tls_identity();

  [[nodiscard]] boost::asio::ssl::context& context() { return *context_; }

private:
  std::unique_ptr<boost::asio::ssl::context> context_;
};

/// Does the handshake of a TLS server, then hands over the transport; null if the client failed
/// or took longer than `timeout`.
void accept_tls(
    boost::asio::ip::tcp::socket socket,
    boost::asio::io_context& loop,
    const std::shared_ptr<tls_identity>& identity,
    std::chrono::milliseconds timeout,
    std::move_only_function<void(std::unique_ptr<transport>)> then);

}  // namespace callboard::gateway
