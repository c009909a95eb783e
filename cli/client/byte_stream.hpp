// A blocking TCP or TLS connection on which every wait has an end.
#pragma once

#include "base/clock.hpp"
#include "base/error.hpp"
#include "cli/client/endpoint.hpp"

#include <chrono>
#include <compare>
#include <memory>
#include <string_view>

namespace callboard::client {

/// The moment at which an operation gives up. Counted on the boot-time clock.
class deadline {
public:
  [[nodiscard]] static deadline after(std::chrono::milliseconds wait);

  /// Whole milliseconds left, 0 when passed; as `poll` takes them.
  [[nodiscard]] int remaining_ms() const;

  [[nodiscard]] bool passed() const { return remaining_ms() == 0; }

  /// The earlier one is less.
  friend auto operator<=>(const deadline&, const deadline&) = default;

private:
  boot_time at_{};
};

/// Owned by one thread. Movable; destroying it closes the socket.
class byte_stream {
public:
  /// Resolves, connects and, for https, verifies the certificate.
  /// Errors: unreachable with the reason.
  [[nodiscard]] static result<byte_stream> connect(const endpoint& to, deadline until);

  byte_stream(byte_stream&&) noexcept;
  byte_stream& operator=(byte_stream&&) noexcept;
  ~byte_stream();

  /// Reads at least one byte; 0 means that the peer has ended the stream.
  /// Errors: timeout (nothing came, the stream is intact), unreachable (it is broken).
  [[nodiscard]] result<std::size_t> read_some(char* into, std::size_t size, deadline until);

  /// Errors: unreachable, also when the peer took no more bytes until the deadline.
  [[nodiscard]] result<void> write_all(std::string_view bytes, deadline until);

  /// True if a read would not wait: bytes are there, or the end of the stream.
  [[nodiscard]] bool is_readable() const;

  /// The socket, for callers that do their own non-blocking I/O on a plaintext stream.
  [[nodiscard]] int fd() const;

  /// Gives the socket away. Precondition: plaintext.
  [[nodiscard]] int release();

private:
  struct state;
  explicit byte_stream(std::unique_ptr<state> state);

  std::unique_ptr<state> state_;
};

}  // namespace callboard::client
