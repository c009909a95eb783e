// The composition root: builds one node from its settings, in order, and takes it down in reverse.
#pragma once

#include "base/config.hpp"
#include "base/error.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace callboard::runtime {
class workflow_registry;
}  // namespace callboard::runtime

namespace callboard::node {

/// One running node: journal, reader pool, actors, gateway. Lifecycle: `start`, serve, `drain`,
/// `stop`. Not copyable, not movable; destroying it stops it.
class node {
public:
  /// Builds everything and serves clients when it returns. Errors: locked, incompatible,
  /// corruption (journal), io_error (port, certificate), invalid_setting.
  /// `workflows` outlives the node; null: it runs none.
  [[nodiscard]] static result<std::unique_ptr<node>>
  start(const config& settings, const runtime::workflow_registry* workflows = nullptr);

  virtual ~node() = default;

  /// The port that clients connect to.
  [[nodiscard]] virtual std::uint16_t port() const = 0;

  /// The base URL, for example "http://127.0.0.1:8700".
  [[nodiscard]] virtual std::string url() const = 0;

  /// Sends clients away gently and finishes work in flight; returns when done or after
  /// `node.drain_timeout_ms`.
  virtual void drain() = 0;

  /// Stops gateway, actors, readers and journal, in this order. Idempotent. False: model calls, or
  /// code of workflows or steps, have not ended within `patience`. The journal is closed then, but
  /// the node cannot be destroyed: all that is left is to end the process.
  [[nodiscard]] virtual bool stop(std::chrono::milliseconds patience) = 0;
};

enum class run_end : std::uint8_t {
  stopped,
  /// Model calls, or code of workflows or steps, still run: the process must end without destroying
  /// anything.
  code_left_running
};

/// Runs a node until SIGTERM or SIGINT, then drains and stops it; a second signal stops at once.
/// `on_ready` is called once with the URL when it takes traffic. Blocks these signals in all
/// threads, so call it from main before any thread is started.
/// Errors: those of `node::start`.
[[nodiscard]] result<run_end> run_until_signal(
    const config& settings,
    const std::function<void(const std::string& url)>& on_ready,
    const runtime::workflow_registry* workflows = nullptr);

/// True if `address` can only be reached from this machine (127.0.0.0/8, ::1, localhost).
[[nodiscard]] bool is_loopback(const std::string& address);

}  // namespace callboard::node
