// A server on a free local port that does what a test tells it, one connection at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

namespace callboard::testing {

/// One accepted connection. All reads end after 10 s.
class tiny_connection {
public:
  explicit tiny_connection(int fd) : fd_{fd} {}

  /// Up to and with the blank line; empty when the client is gone.
  [[nodiscard]] std::string read_head();

  /// Exactly `size` bytes, or fewer when the client is gone.
  [[nodiscard]] std::string read(std::size_t size);

  /// The payload of one masked frame, unmasked; `opcode` gets its kind.
  [[nodiscard]] std::string read_frame(int& opcode);

  void write(std::string_view bytes) const;

  /// A final frame of a server.
  void write_frame(int opcode, std::string_view payload) const;

  /// Answers a WebSocket handshake; returns the request's head.
  std::string upgrade(std::string_view subprotocol);

  /// Reads and answers nothing, until the client has gone or the test is over.
  void until_gone(const std::atomic<bool>& over) const;

private:
  bool fill();

  int fd_;
  std::string buffered_;
};

/// 200 with a JSON body and its length.
[[nodiscard]] std::string json_response(std::string_view body, std::string_view status = "200 OK");

class tiny_server {
public:
  using handler = std::function<void(tiny_connection&)>;

  explicit tiny_server(handler serve);
  ~tiny_server();
  tiny_server(const tiny_server&) = delete;
  tiny_server& operator=(const tiny_server&) = delete;

  [[nodiscard]] std::string url() const;

  [[nodiscard]] int accepted() const { return accepted_; }

private:
  void loop();

  handler serve_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> accepted_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace callboard::testing
