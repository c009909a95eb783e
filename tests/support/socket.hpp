// A blocking TCP or TLS connection for tests: no library of the product in between, so that tests
// also see what a strict or hostile client would.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace callboard::testing {

using std::chrono::milliseconds;

/// The peer did not answer in time.
struct timed_out : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The peer closed or reset the connection, or refuses it.
struct disconnected : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Where a server is, and whether it speaks TLS (its certificate is not checked).
struct endpoint {
  std::uint16_t port = 0;
  bool tls = false;
  /// Bytes the kernel may hold for a client that does not read; 0 = its default.
  int receive_buffer = 0;
};

/// Throws `disconnected` and `timed_out`. Not for several threads at once, except `cut`.
class socket {
public:
  explicit socket(const endpoint& where);
  ~socket();
  socket(socket&&) noexcept;
  socket& operator=(socket&&) noexcept;

  void write(std::string_view bytes);

  /// Appends at least one byte to `into`; false at the end of the stream.
  bool read_some(std::string& into, milliseconds limit);

  /// Ends the connection both ways at once; a read in another thread returns.
  void cut();

private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace callboard::testing
