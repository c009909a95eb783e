#include "tests/support/http2_front.hpp"

#include "tests/support/eventually.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <netinet/in.h>
#include <sstream>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace callboard::testing {

namespace {

/// Not in the path of everybody.
constexpr const char* program = "/usr/sbin/nghttpx";

sockaddr_in address_of(std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  out.sin_port = htons(port);
  return out;
}

/// Free a moment ago: the proxy cannot be asked which one it has.
std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  auto address = address_of(0);
  socklen_t size = sizeof(address);
  const bool known = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0
                     && ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  if (!known) throw std::runtime_error{"no port is free"};
  return ntohs(address.sin_port);
}

std::string text_of(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

http2_front::http2_front(const chat_provider& behind, chat_provider_options certificate)
    : behind_{behind.port()}, certificate_{std::move(certificate)} {
  if (::access(program, X_OK) != 0) {
    throw std::runtime_error{
        "there is no /usr/sbin/nghttpx, so nothing shows that HTTP/2 works: apt-get install "
        "nghttp2-proxy, as ./dev test does"};
  }
  constexpr int tries = 5;
  for (int i = 0; i < tries && pid_ < 0; ++i) {
    port_ = free_port();
    start();
  }
  if (pid_ < 0) {
    throw std::runtime_error{"nghttpx does not start: " + text_of(folder_.str() + "/log")};
  }
}

http2_front::~http2_front() {
  kill();
}

std::string http2_front::base_url() const {
  return "https://localhost:" + std::to_string(port_) + "/v1";
}

std::vector<proxied_request> http2_front::ended() const {
  std::vector<proxied_request> all;
  std::istringstream lines{text_of(folder_.str() + "/requests")};
  proxied_request one;
  while (lines >> one.protocol >> one.client_port >> one.idempotency_key)
    all.push_back(one);
  return all;
}

void http2_front::drain() const {
  ::kill(pid_, SIGQUIT);
}

bool http2_front::has_gone() {
  if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
  return pid_ < 0;
}

void http2_front::kill() {
  if (pid_ < 0) return;
  // Its worker, too.
  ::kill(-pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::vector<std::string> http2_front::command() const {
  return {
      program,
      "--conf=/dev/null",
      "--no-ocsp",
      "--workers=1",
      "--frontend=127.0.0.1," + std::to_string(port_),
      "--backend=127.0.0.1," + std::to_string(behind_),
      "--errorlog-file=" + folder_.str() + "/log",
      "--accesslog-file=" + folder_.str() + "/requests",
      "--accesslog-format=$alpn $remote_port $http_idempotency_key",
      certificate_.key_file,
      certificate_.certificate_file};
}

void http2_front::start() {
  auto arguments = command();
  std::vector<char*> words;
  for (auto& one : arguments)
    words.push_back(one.data());
  words.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::setpgid(0, 0);
    const int nowhere = ::open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd)
      ::dup2(nowhere, fd);
    for (int fd = 3; fd < 256; ++fd)
      ::close(fd);
    ::execv(program, words.data());
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
  if (!eventually([this] { return has_gone() || is_listening(); })) kill();
}

bool http2_front::is_listening() const {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const auto address = address_of(port_);
  const bool listens =
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  ::close(fd);
  return listens;
}

}  // namespace callboard::testing
