#include "cli/client/byte_stream.hpp"

#include "base/time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace callboard::client {

deadline deadline::after(std::chrono::milliseconds wait) {
  deadline made;
  made.at_ = later(system_clock{}.boot(), wait);
  return made;
}

int deadline::remaining_ms() const {
  const auto left = at_ - system_clock{}.boot();
  if (left <= boot_time::zero()) return 0;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::min<std::int64_t>(ms, 1'000'000'000));
}

struct byte_stream::state {
  int fd = -1;
  SSL_CTX* context = nullptr;
  SSL* tls = nullptr;

  state() = default;
  state(const state&) = delete;
  state& operator=(const state&) = delete;

  ~state() {
    if (tls != nullptr) {
      SSL_shutdown(tls);
      SSL_free(tls);
    }
    if (context != nullptr) SSL_CTX_free(context);
    if (fd >= 0) ::close(fd);
  }
};

namespace {

std::string system_error(int code) {
  return std::strerror(code);  // NOLINT(concurrency-mt-unsafe): glibc's is safe for known codes
}

std::string tls_error() {
  char text[256] = "unknown TLS error";
  if (const auto code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

/// True once `events` are there; false when the deadline has passed.
bool wait_for(int fd, short events, deadline until) {
  for (;;) {
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&entry, 1, until.remaining_ms());
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return true;
  }
}

/// How soon the kernel finds out that the other machine is gone, for whoever only reads.
constexpr std::array keepalive{
    std::pair{TCP_KEEPIDLE, 30}, std::pair{TCP_KEEPINTVL, 10}, std::pair{TCP_KEEPCNT, 4}};

void keep_alive(int fd) {
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  for (const auto& [option, value] : keepalive) {
    ::setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value);
  }
}

result<int> connect_address(const addrinfo& address, deadline until) {
  const int fd = ::socket(
      address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
  if (fd < 0) return fail(errc::unreachable, system_error(errno));
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  keep_alive(fd);
  int problem = 0;
  if (::connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
    problem = errno;
    if (problem == EINPROGRESS) {
      if (wait_for(fd, POLLOUT, until)) {
        socklen_t size = sizeof problem;
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
      } else {
        problem = ETIMEDOUT;
      }
    }
  }
  if (problem == 0) return fd;
  ::close(fd);
  return fail(errc::unreachable, system_error(problem));
}

/// The addresses of a host; shared by who waits for them and who looks them up, for the resolver
/// knows no deadline.
struct address_search {
  std::mutex guard;
  std::condition_variable answered;
  std::optional<int> code;
  addrinfo* found = nullptr;

  ~address_search() {
    if (found != nullptr) ::freeaddrinfo(found);
  }
};

int look_up(address_search& into, const endpoint& to, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  return ::getaddrinfo(to.host.c_str(), fmt::format("{}", to.port).c_str(), &hints, &into.found);
}

/// Errors: unreachable, also when the resolver has not answered in time.
result<std::shared_ptr<address_search>> find_addresses(const endpoint& to, deadline until) {
  auto search = std::make_shared<address_search>();
  // No name, nobody to ask.
  if (look_up(*search, to, AI_NUMERICHOST) == 0) return search;
  std::thread{[search, to] {
    const int code = look_up(*search, to, 0);
    const std::scoped_lock lock{search->guard};
    search->code = code;
    search->answered.notify_one();
  }}.detach();
  std::unique_lock lock{search->guard};
  search->answered.wait_for(lock, std::chrono::milliseconds{until.remaining_ms()}, [&] {
    return search->code.has_value();
  });
  if (search->code == 0) return search;
  return fail(
      errc::unreachable,
      fmt::format(
          "cannot resolve {}: {}",
          to.host,
          search->code ? gai_strerror(*search->code) : "the resolver did not answer in time"));
}

result<int> connect_host(const endpoint& to, deadline until) {
  const auto search = find_addresses(to, until);
  if (!search) return std::unexpected{search.error()};
  std::unexpected<error> last = fail(errc::unreachable, "no address");
  for (const auto* address = (*search)->found; address != nullptr; address = address->ai_next) {
    auto connected = connect_address(*address, until);
    if (connected) return *connected;
    last = std::unexpected{connected.error()};
  }
  return fail(
      errc::unreachable, fmt::format("cannot connect to {}: {}", to.url(), last.error().detail));
}

/// Waits for what TLS asks for after `code`; false when it failed for good or time is up.
bool wait_for_tls(SSL* tls, int fd, int code, deadline until) {
  const int wanted = SSL_get_error(tls, code);
  if (wanted == SSL_ERROR_WANT_READ) return wait_for(fd, POLLIN, until);
  if (wanted == SSL_ERROR_WANT_WRITE) return wait_for(fd, POLLOUT, until);
  return false;
}

result<void> trust(SSL_CTX* context, const endpoint& to) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (to.tls_insecure) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
    return {};
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  const int loaded = to.tls_ca_file.empty()
                         ? SSL_CTX_set_default_verify_paths(context)
                         : SSL_CTX_load_verify_locations(context, to.tls_ca_file.c_str(), nullptr);
  if (loaded != 1) {
    return fail(
        errc::unreachable,
        fmt::format("cannot read certificates of {}: {}", to.tls_ca_file, tls_error()));
  }
  return {};
}

}  // namespace

byte_stream::byte_stream(std::unique_ptr<state> state) : state_{std::move(state)} {}

byte_stream::byte_stream(byte_stream&&) noexcept = default;
byte_stream& byte_stream::operator=(byte_stream&&) noexcept = default;
byte_stream::~byte_stream() = default;

result<byte_stream> byte_stream::connect(const endpoint& to, deadline until) {
  auto connected = connect_host(to, until);
  if (!connected) return std::unexpected{connected.error()};
  auto made = std::make_unique<state>();
  made->fd = *connected;
  if (!to.tls) return byte_stream{std::move(made)};
  // OpenSSL writes without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  made->context = SSL_CTX_new(TLS_client_method());
  if (auto trusted = trust(made->context, to); !trusted) return std::unexpected{trusted.error()};
  made->tls = SSL_new(made->context);
  SSL_set_fd(made->tls, made->fd);
  SSL_set_tlsext_host_name(made->tls, to.host.c_str());
  auto* checks = SSL_get0_param(made->tls);
  if (X509_VERIFY_PARAM_set1_ip_asc(checks, to.host.c_str()) != 1) {
    ERR_clear_error();
    SSL_set1_host(made->tls, to.host.c_str());
  }
  for (;;) {
    const int code = SSL_connect(made->tls);
    if (code == 1) return byte_stream{std::move(made)};
    if (!wait_for_tls(made->tls, made->fd, code, until)) {
      const auto verified = SSL_get_verify_result(made->tls);
      const std::string reason =
          verified != X509_V_OK ? X509_verify_cert_error_string(verified) : tls_error();
      return fail(errc::unreachable, fmt::format("TLS with {} failed: {}", to.url(), reason));
    }
  }
}

result<std::size_t> byte_stream::read_some(char* into, std::size_t size, deadline until) {
  for (;;) {
    if (state_->tls != nullptr) {
      const int count = SSL_read(state_->tls, into, static_cast<int>(size));
      if (count > 0) return static_cast<std::size_t>(count);
      const int wanted = SSL_get_error(state_->tls, count);
      if (wanted == SSL_ERROR_ZERO_RETURN) return 0;
      if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) {
        return fail(errc::unreachable, fmt::format("connection lost: {}", tls_error()));
      }
      if (!wait_for(state_->fd, wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until)) {
        return fail(errc::timeout, "nothing was received in time");
      }
      continue;
    }
    const auto count = ::recv(state_->fd, into, size, 0);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      return fail(errc::unreachable, fmt::format("connection lost: {}", system_error(errno)));
    }
    if (!wait_for(state_->fd, POLLIN, until)) {
      return fail(errc::timeout, "nothing was received in time");
    }
  }
}

result<void> byte_stream::write_all(std::string_view bytes, deadline until) {
  while (!bytes.empty()) {
    if (state_->tls != nullptr) {
      const int count = SSL_write(
          state_->tls,
          bytes.data(),
          static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20)));
      if (count > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(count));
      } else if (!wait_for_tls(state_->tls, state_->fd, count, until)) {
        return fail(errc::unreachable, fmt::format("cannot send: {}", tls_error()));
      }
      continue;
    }
    const auto count = ::send(state_->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (!wait_for(state_->fd, POLLOUT, until)) {
        return fail(errc::unreachable, "cannot send: the server takes no more bytes");
      }
    } else if (errno != EINTR) {
      return fail(errc::unreachable, fmt::format("cannot send: {}", system_error(errno)));
    }
  }
  return {};
}

bool byte_stream::is_readable() const {
  if (state_->tls != nullptr && SSL_pending(state_->tls) > 0) return true;
  pollfd entry{.fd = state_->fd, .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) > 0;
}

int byte_stream::fd() const {
  return state_->fd;
}

int byte_stream::release() {
  return std::exchange(state_->fd, -1);
}

}  // namespace callboard::client
