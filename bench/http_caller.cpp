#include "bench/http_caller.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace callboard::bench {

namespace {

/// The value of a header of `head`; nothing if it is missing. Names are compared without case.
std::string_view header(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;) {
    const auto begin = at + 2;
    const auto end = head.find("\r\n", begin);
    const auto line = head.substr(begin, end - begin);
    const auto colon = line.find(':');
    const bool is_it =
        colon == name.size()
        && std::ranges::equal(line.substr(0, colon), name, [](unsigned char a, unsigned char b) {
             return std::tolower(a) == std::tolower(b);
           });
    if (is_it) {
      const auto value = line.substr(colon + 1);
      return value.substr(std::min(value.find_first_not_of(' '), value.size()));
    }
    at = end;
  }
  return {};
}

template <class Number>
Number number_of(std::string_view text) {
  Number value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

result<http_caller> http_caller::connect(const client::api& to) {
  const auto& server = to.who().server;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const auto port = std::to_string(server.port);
  if (::getaddrinfo(server.host.c_str(), port.c_str(), &hints, &found) != 0) {
    return fail(errc::unreachable, "cannot resolve " + server.host);
  }
  int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool is_connected = fd >= 0 && ::connect(fd, found->ai_addr, found->ai_addrlen) == 0;
  ::freeaddrinfo(found);
  if (!is_connected) {
    const auto why = std::string{std::strerror(errno)};
    if (fd >= 0) ::close(fd);
    return fail(errc::unreachable, fmt::format("cannot connect to {}: {}", server.host, why));
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return http_caller{fd, to.who().token};
}

http_caller::http_caller(http_caller&& other) noexcept
    : fd_{std::exchange(other.fd_, -1)},
      token_{std::move(other.token_)},
      in_{std::move(other.in_)} {}

http_caller& http_caller::operator=(http_caller&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = std::exchange(other.fd_, -1);
  token_ = std::move(other.token_);
  in_ = std::move(other.in_);
  return *this;
}

http_caller::~http_caller() {
  if (fd_ >= 0) ::close(fd_);
}

void http_caller::send(std::string_view method, std::string_view target, std::string_view body) {
  auto request = fmt::format("{} {} HTTP/1.1\r\nHost: bench\r\n", method, target);
  if (!token_.empty()) request += fmt::format("Authorization: Bearer {}\r\n", token_);
  if (!body.empty()) request += "Content-Type: application/json\r\n";
  request += fmt::format("Content-Length: {}\r\n\r\n{}", body.size(), body);
  // Small enough for the socket's buffer, which is empty: the last request is answered.
  (void)!::send(fd_, request.data(), request.size(), MSG_NOSIGNAL);
}

http_caller::progress http_caller::receive(answer& to) {
  char buffer[16 << 10];
  for (;;) {
    const auto count = ::recv(fd_, buffer, sizeof buffer, 0);
    if (count == 0 || (count < 0 && errno != EAGAIN)) return progress::closed;
    if (count < 0) break;
    in_.append(buffer, static_cast<std::size_t>(count));
  }
  const auto end = in_.find("\r\n\r\n");
  if (end == std::string::npos) return progress::waiting;
  const auto head = std::string_view{in_}.substr(0, end + 2);
  to.status = number_of<unsigned>(head.substr(std::min(head.find(' ') + 1, head.size())));
  const auto length = header(head, "content-length");
  constexpr unsigned no_content = 204;
  if (length.empty() && to.status != no_content) return progress::closed;
  const auto size = number_of<std::size_t>(length);
  if (in_.size() < end + 4 + size) return progress::waiting;
  to.body = in_.substr(end + 4, size);
  in_.erase(0, end + 4 + size);
  return progress::answered;
}

}  // namespace callboard::bench
