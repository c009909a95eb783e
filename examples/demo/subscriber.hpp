// Two kinds of subscribers that remember nothing but a cursor: WebSocket and event stream (SSE).
#pragma once

#include "cli/client/api.hpp"

#include <atomic>
#include <mutex>
#include <string>

#include "examples/demo/publisher.hpp"

namespace callboard::demo {

/// Follows one topic. One thread at a time; `cursor` and `stop` from any.
class subscriber {
public:
  explicit subscriber(stage& where) : stage_{where} {}

  virtual ~subscriber() = default;
  subscriber(const subscriber&) = delete;
  subscriber& operator=(const subscriber&) = delete;

  /// Receives from the cursor on until the node is gone or `stop` was called.
  void run(const client::endpoint& node) {
    follow({.server = node, .tenant = stage_.tenant, .token = {}});
  }

  void stop() { stopped_ = true; }

  /// Where it will resume; empty before the first frame.
  [[nodiscard]] std::string cursor() const;

protected:
  virtual void follow(const client::account& who) = 0;

  void take(const std::string& cursor, const std::string& id);
  void set_cursor(const std::string& cursor);

  [[nodiscard]] bool stopped() const { return stopped_; }

  stage& stage_;

private:
  mutable std::mutex mutex_;
  std::string cursor_;
  std::atomic<bool> stopped_{false};
};

class websocket_subscriber final : public subscriber {
public:
  using subscriber::subscriber;

private:
  void follow(const client::account& who) override;
};

class stream_subscriber final : public subscriber {
public:
  using subscriber::subscriber;

private:
  void follow(const client::account& who) override;
};

}  // namespace callboard::demo
