// One non-blocking HTTP connection of the load generator, with one request at a time.
#pragma once

#include "cli/client/api.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::bench {

/// Owns its socket.
class http_caller {
public:
  /// Connects, blocking, then turns non-blocking. Plaintext only. Errors: unreachable.
  [[nodiscard]] static result<http_caller> connect(const client::api& to);

  http_caller(http_caller&& other) noexcept;
  http_caller& operator=(http_caller&& other) noexcept;
  http_caller(const http_caller&) = delete;
  http_caller& operator=(const http_caller&) = delete;
  ~http_caller();

  [[nodiscard]] int fd() const { return fd_; }

  /// Sends a request with a JSON body (empty: none). Precondition: the last one is answered.
  void send(std::string_view method, std::string_view target, std::string_view body);

  struct answer {
    unsigned status = 0;
    std::string body;
  };

  enum class progress : std::uint8_t { waiting, answered, closed };

  /// Reads what there is; with `answered`, `to` is the whole answer. Answers without
  /// Content-Length are not understood and close.
  [[nodiscard]] progress receive(answer& to);

private:
  http_caller(int fd, std::string token) : fd_{fd}, token_{std::move(token)} {}

  int fd_ = -1;
  std::string token_;
  std::string in_;
};

}  // namespace callboard::bench
