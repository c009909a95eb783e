// One byte stream to a client, TLS or plain, so that sessions are compiled once for both.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace callboard::gateway {

/// Beyond `limits.connections_max` a few connections are taken only to be told so.
enum class admission : std::uint8_t { admitted, beyond_limit };

/// Belongs to one I/O thread; all calls and completions happen there. At most one read and one
/// write are outstanding. Destroying it closes the socket; completions then come with
/// operation_aborted or not at all, so handlers must keep their owner alive themselves.
class transport {
public:
  using on_transfer = std::move_only_function<void(boost::system::error_code, std::size_t)>;

  virtual ~transport() = default;

  /// Reads at least one byte, or fails.
  virtual void async_read_some(boost::asio::mutable_buffer into, on_transfer then) = 0;

  /// Writes all bytes of all buffers, or fails. The memory stays valid until completion.
  virtual void async_write(std::vector<boost::asio::const_buffer> buffers, on_transfer then) = 0;

  /// Ends the stream orderly (TLS close_notify, TCP shutdown), then closes the socket.
  virtual void async_shutdown(std::move_only_function<void()> then) = 0;

  /// Closes the socket at once; outstanding operations are aborted.
  virtual void close() = 0;

  [[nodiscard]] virtual boost::asio::io_context& context() = 0;

  /// For logs, for example "127.0.0.1:51234".
  [[nodiscard]] virtual const std::string& peer() const = 0;
};

}  // namespace callboard::gateway
