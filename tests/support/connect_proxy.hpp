// An HTTP proxy on 127.0.0.1 that makes tunnels (CONNECT) and keeps what it could read of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace callboard::testing {

/// Listens on a free port of 127.0.0.1 until destroyed. Any thread.
class connect_proxy {
public:
  /// `refusal`: the status that every request gets instead of a tunnel; 0 = none.
  explicit connect_proxy(int refusal = 0);
  ~connect_proxy();

  connect_proxy(const connect_proxy&) = delete;
  connect_proxy& operator=(const connect_proxy&) = delete;

  [[nodiscard]] std::string url() const;

  /// Heads of requests to the proxy itself. Whatever host a CONNECT names, its port is looked for
  /// on 127.0.0.1.
  [[nodiscard]] std::vector<std::string> heads() const;

  /// All bytes that went through tunnels, both ways.
  [[nodiscard]] std::string carried() const;

private:
  class server;

  std::unique_ptr<server> server_;
};

}  // namespace callboard::testing
