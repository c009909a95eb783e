// What providers have before them: a proxy that speaks TLS and HTTP/2. It is nghttpx, as a child
// process, with the provider of a test behind it.
#pragma once

#include "tests/support/chat_provider.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace callboard::testing {

/// A request that the proxy has ended.
struct proxied_request {
  /// As agreed on in the handshake: "h2".
  std::string protocol;
  /// Tells connections of clients apart.
  std::string client_port;
  std::string idempotency_key;
};

/// Runs until destroyed. Throws where there is no nghttpx, or where it does not start.
class http2_front {
public:
  http2_front(const chat_provider& behind, chat_provider_options certificate);
  ~http2_front();

  http2_front(const http2_front&) = delete;
  http2_front& operator=(const http2_front&) = delete;

  /// For `provider_settings::base_url`.
  [[nodiscard]] std::string base_url() const;

  /// In the order in which they ended.
  [[nodiscard]] std::vector<proxied_request> ended() const;

  /// Tells clients that it goes (GOAWAY), and goes when what they have asked has ended.
  void drain() const;

  /// True once it has gone.
  [[nodiscard]] bool has_gone();

  /// Connections are cut wherever they are.
  void kill();

  /// Again, where it was.
  void start();

private:
  [[nodiscard]] bool is_listening() const;
  [[nodiscard]] std::vector<std::string> command() const;

  const std::uint16_t behind_;
  const chat_provider_options certificate_;
  const temp_dir folder_;
  std::uint16_t port_ = 0;
  int pid_ = -1;
};

}  // namespace callboard::testing
