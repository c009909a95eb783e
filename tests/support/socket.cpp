#include "tests/support/socket.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace callboard::testing {

namespace {

int connect_to(const endpoint& where) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw std::runtime_error{"socket failed"};
  if (where.receive_buffer > 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &where.receive_buffer, sizeof where.receive_buffer);
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(where.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const std::string why = std::strerror(errno);
    ::close(fd);
    throw disconnected{"connect: " + why};
  }
  return fd;
}

}  // namespace

struct socket::state {
  int fd = -1;
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;

  ~state() {
    if (ssl != nullptr) SSL_free(ssl);
    if (context != nullptr) SSL_CTX_free(context);
    if (fd >= 0) ::close(fd);
  }
};

socket::socket(const endpoint& where) : state_{std::make_unique<state>()} {
  state_->fd = connect_to(where);
  if (!where.tls) return;
  state_->context = SSL_CTX_new(TLS_client_method());
  state_->ssl = SSL_new(state_->context);
  SSL_set_fd(state_->ssl, state_->fd);
  if (SSL_connect(state_->ssl) != 1) throw disconnected{"TLS handshake failed"};
}

socket::~socket() = default;
socket::socket(socket&&) noexcept = default;
socket& socket::operator=(socket&&) noexcept = default;

void socket::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = state_->ssl != nullptr
                          ? SSL_write(state_->ssl, bytes.data(), static_cast<int>(bytes.size()))
                          : ::send(state_->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) throw disconnected{std::string{"write: "} + std::strerror(errno)};
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool socket::read_some(std::string& into, milliseconds limit) {
  const bool buffered = state_->ssl != nullptr && SSL_pending(state_->ssl) > 0;
  if (!buffered) {
    pollfd wait{.fd = state_->fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(limit.count()));
    if (ready == 0) throw timed_out{"no bytes in " + std::to_string(limit.count()) + " ms"};
  }
  char bytes[65536];
  const auto got = state_->ssl != nullptr ? SSL_read(state_->ssl, bytes, sizeof bytes)
                                          : ::recv(state_->fd, bytes, sizeof bytes, 0);
  if (got == 0) return false;
  if (got < 0) {
    if (state_->ssl != nullptr) return false;
    throw disconnected{std::string{"read: "} + std::strerror(errno)};
  }
  into.append(bytes, static_cast<std::size_t>(got));
  return true;
}

void socket::cut() {
  ::shutdown(state_->fd, SHUT_RDWR);
}

}  // namespace callboard::testing
