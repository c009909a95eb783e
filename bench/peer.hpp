// One non-blocking WebSocket of the load generator, and the loop that drives thousands of them.
#pragma once

#include "cli/client/api.hpp"
#include "cli/client/ws_frame.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <vector>

namespace callboard::bench {

/// Owns its socket. Frames go out with a mask of zero, so that the generator does no work that
/// says nothing about the server.
class peer {
public:
  /// Connects and upgrades, blocking, then turns non-blocking. Plaintext only.
  [[nodiscard]] static result<peer> connect(const client::api& to, std::string_view subprotocol);

  peer(peer&& other) noexcept;
  peer& operator=(peer&& other) noexcept;
  peer(const peer&) = delete;
  peer& operator=(const peer&) = delete;
  ~peer();

  [[nodiscard]] int fd() const { return fd_; }

  [[nodiscard]] bool is_open() const { return open_; }

  void queue(client::ws_opcode opcode, std::string_view payload);

  /// Sends what is queued as far as the socket takes it. True if nothing is left.
  bool flush();

  [[nodiscard]] std::size_t queued_bytes() const { return out_.size() - out_begin_; }

  /// Reads what there is and calls `on_message(payload)` for every complete message. Pings are
  /// answered. False when the connection has ended.
  template <class OnMessage>
  bool receive(OnMessage&& on_message) {
    return receive_all(
        [](void* context, std::string_view payload) {
          (*static_cast<std::remove_reference_t<OnMessage>*>(context))(payload);
        },
        &on_message);
  }

private:
  peer(int fd, std::string leftover);

  using message_callback = void (*)(void* context, std::string_view payload);
  bool receive_all(message_callback on_message, void* context);
  /// Handles the complete frames at the front of `bytes`; returns how many bytes they took.
  std::size_t take_frames(std::string_view bytes, message_callback on_message, void* context);

  int fd_ = -1;
  bool open_ = true;
  std::string out_;
  std::size_t out_begin_ = 0;
  /// Beginning of a frame that is not complete.
  std::string in_;
  /// Beginning of a message that came in several frames.
  std::string partial_;
};

/// epoll with waits in nanoseconds.
class poller {
public:
  poller();
  ~poller();
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;

  void add(int fd, std::uint64_t tag);
  void remove(int fd);

  /// Also wake when the socket takes bytes again.
  void watch_writes(int fd, std::uint64_t tag, bool enabled);

  /// Waits up to `timeout_ns` (0: not at all) and calls `on_ready(tag, events)`.
  template <class OnReady>
  void wait(std::int64_t timeout_ns, OnReady&& on_ready) {
    const int count = wait_some(timeout_ns);
    for (int i = 0; i < count; ++i)
      on_ready(events_[i].data.u64, events_[i].events);
  }

private:
  int wait_some(std::int64_t timeout_ns);

  int epoll_ = -1;
  std::vector<epoll_event> events_;
};

/// Raises the limit of open files as far as allowed; the new limit.
std::uint64_t raise_file_limit();

}  // namespace callboard::bench
