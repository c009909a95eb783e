#include "bench/peer.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace callboard::bench {

namespace {

constexpr std::uint64_t message_bytes_max = 256ULL << 20;

/// Shared by all peers: the generator is one thread, and thousands of buffers would only cost
/// cache.
std::string& scratch() {
  thread_local std::string buffer(256 << 10, '\0');
  return buffer;
}

}  // namespace

result<peer> peer::connect(const client::api& to, std::string_view subprotocol) {
  auto options = to.websocket_for(std::string{subprotocol});
  options.timeout = std::chrono::seconds{30};
  auto socket = client::websocket::connect(to.who().server, options);
  if (!socket) return std::unexpected{socket.error()};
  if (socket->subprotocol() != subprotocol) {
    return fail(errc::bad_request, "the server does not speak " + std::string{subprotocol});
  }
  auto [fd, leftover] = std::move(*socket).release();
  return peer{fd, std::move(leftover)};
}

peer::peer(int fd, std::string leftover) : fd_{fd}, in_{std::move(leftover)} {}

peer::peer(peer&& other) noexcept
    : fd_{std::exchange(other.fd_, -1)},
      open_{other.open_},
      out_{std::move(other.out_)},
      out_begin_{other.out_begin_},
      in_{std::move(other.in_)},
      partial_{std::move(other.partial_)} {}

peer& peer::operator=(peer&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = std::exchange(other.fd_, -1);
  open_ = other.open_;
  out_ = std::move(other.out_);
  out_begin_ = other.out_begin_;
  in_ = std::move(other.in_);
  partial_ = std::move(other.partial_);
  return *this;
}

peer::~peer() {
  if (fd_ >= 0) ::close(fd_);
}

void peer::queue(client::ws_opcode opcode, std::string_view payload) {
  client::append_client_frame(out_, opcode, payload, 0);
}

bool peer::flush() {
  while (open_ && out_begin_ < out_.size()) {
    const auto sent = ::send(fd_, out_.data() + out_begin_, out_.size() - out_begin_, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) open_ = false;
      return false;
    }
    out_begin_ += static_cast<std::size_t>(sent);
  }
  out_.clear();
  out_begin_ = 0;
  return true;
}

std::size_t peer::take_frames(std::string_view bytes, message_callback on_message, void* context) {
  std::size_t used = 0;
  while (open_) {
    const auto frame = client::parse_server_frame(bytes.substr(used), message_bytes_max);
    if (!frame) {
      open_ = false;
      break;
    }
    if (!*frame) break;
    const auto& f = **frame;
    used += f.size;
    if (f.opcode == client::ws_opcode::ping) {
      queue(client::ws_opcode::pong, f.payload);
      flush();
    } else if (f.opcode == client::ws_opcode::close) {
      open_ = false;
    } else if (f.opcode != client::ws_opcode::pong) {
      if (f.is_final && partial_.empty()) {
        on_message(context, f.payload);
      } else {
        partial_ += f.payload;
        if (f.is_final) on_message(context, std::exchange(partial_, {}));
      }
    }
  }
  return used;
}

bool peer::receive_all(message_callback on_message, void* context) {
  auto& buffer = scratch();
  if (!in_.empty()) in_.erase(0, take_frames(in_, on_message, context));
  while (open_) {
    const auto count = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count <= 0) {
      open_ = false;
      break;
    }
    const auto size = static_cast<std::size_t>(count);
    if (in_.empty()) {
      const auto used = take_frames({buffer.data(), size}, on_message, context);
      in_.assign(buffer.data() + used, size - used);
    } else {
      in_.append(buffer.data(), size);
      in_.erase(0, take_frames(in_, on_message, context));
    }
    // A short read has emptied the socket; asking again would only cost a system call.
    if (size < buffer.size()) return open_;
  }
  return false;
}

poller::poller() : epoll_{::epoll_create1(EPOLL_CLOEXEC)}, events_(1024) {
  // The default of 50 us would show up in every latency.
  ::prctl(PR_SET_TIMERSLACK, 1);
}

poller::~poller() {
  ::close(epoll_);
}

void poller::add(int fd, std::uint64_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

void poller::remove(int fd) {
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void poller::watch_writes(int fd, std::uint64_t tag, bool enabled) {
  epoll_event event{};
  event.events = enabled ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u64 = tag;
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

int poller::wait_some(std::int64_t timeout_ns) {
  const auto size = static_cast<int>(events_.size());
  timeout_ns = std::max<std::int64_t>(timeout_ns, 0);
  const timespec timeout{
      .tv_sec = timeout_ns / 1'000'000'000, .tv_nsec = timeout_ns % 1'000'000'000};
  int count = ::epoll_pwait2(epoll_, events_.data(), size, &timeout, nullptr);
  if (count < 0 && errno == ENOSYS) {
    count = ::epoll_wait(
        epoll_, events_.data(), size, static_cast<int>((timeout_ns + 999'999) / 1'000'000));
  }
  return std::max(count, 0);
}

std::uint64_t raise_file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace callboard::bench
