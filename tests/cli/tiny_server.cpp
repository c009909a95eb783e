#include "tests/cli/tiny_server.hpp"

#include "cli/client/ws_frame.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace callboard::testing {

bool tiny_connection::fill() {
  pollfd entry{.fd = fd_, .events = POLLIN, .revents = 0};
  if (::poll(&entry, 1, 10'000) <= 0) return false;
  char chunk[4096];
  const auto count = ::recv(fd_, chunk, sizeof chunk, 0);
  if (count <= 0) return false;
  buffered_.append(chunk, static_cast<std::size_t>(count));
  return true;
}

std::string tiny_connection::read_head() {
  for (;;) {
    const auto end = buffered_.find("\r\n\r\n");
    if (end != std::string::npos) {
      auto head = buffered_.substr(0, end + 4);
      buffered_.erase(0, end + 4);
      return head;
    }
    if (!fill()) return {};
  }
}

std::string tiny_connection::read(std::size_t size) {
  while (buffered_.size() < size && fill()) {
  }
  auto bytes = buffered_.substr(0, size);
  buffered_.erase(0, size);
  return bytes;
}

std::string tiny_connection::read_frame(int& opcode) {
  opcode = -1;
  const auto head = read(2);
  if (head.size() < 2) return {};
  opcode = head[0] & 0x0f;
  std::size_t size = head[1] & 0x7f;
  if (size == 126) {
    const auto more = read(2);
    size = static_cast<std::size_t>(
        static_cast<unsigned char>(more[0]) << 8 | static_cast<unsigned char>(more[1]));
  }
  const auto mask = read(4);
  auto payload = read(size);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    payload[i] = static_cast<char>(payload[i] ^ mask[i & 3]);
  }
  return payload;
}

void tiny_connection::until_gone(const std::atomic<bool>& over) const {
  while (!over) {
    pollfd entry{.fd = fd_, .events = POLLIN, .revents = 0};
    char chunk[4096];
    if (::poll(&entry, 1, 10) > 0 && ::recv(fd_, chunk, sizeof chunk, 0) <= 0) return;
  }
}

void tiny_connection::write(std::string_view bytes) const {
  (void)::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void tiny_connection::write_frame(int opcode, std::string_view payload) const {
  std::string frame{static_cast<char>(0x80 | opcode)};
  if (payload.size() < 126) {
    frame.push_back(static_cast<char>(payload.size()));
  } else {
    frame.push_back(126);
    frame.push_back(static_cast<char>(payload.size() >> 8));
    frame.push_back(static_cast<char>(payload.size()));
  }
  write(frame.append(payload));
}

std::string tiny_connection::upgrade(std::string_view subprotocol) {
  auto head = read_head();
  constexpr std::string_view name = "Sec-WebSocket-Key: ";
  const auto at = head.find(name);
  if (at == std::string::npos) return head;
  const auto key = head.substr(at + name.size(), head.find('\r', at) - at - name.size());
  write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: "
      + client::websocket_accept(key) + "\r\nSec-WebSocket-Protocol: " + std::string{subprotocol}
      + "\r\n\r\n");
  return head;
}

std::string json_response(std::string_view body, std::string_view status) {
  return "HTTP/1.1 " + std::string{status}
         + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size())
         + "\r\n\r\n" + std::string{body};
}

tiny_server::tiny_server(handler serve) : serve_{std::move(serve)} {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::listen(listener_, 16);
  socklen_t size = sizeof address;
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread{[this] { loop(); }};
}

tiny_server::~tiny_server() {
  stop_ = true;
  thread_.join();
  ::close(listener_);
}

void tiny_server::loop() {
  while (!stop_) {
    pollfd entry{.fd = listener_, .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, 10) <= 0) continue;
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ++accepted_;
    tiny_connection connection{fd};
    serve_(connection);
    ::close(fd);
  }
}

std::string tiny_server::url() const {
  return "http://127.0.0.1:" + std::to_string(port_);
}

}  // namespace callboard::testing
