// Two kinds of publishers: one request at a time over HTTP, many in flight over a WebSocket.
#pragma once

#include "cli/client/api.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "examples/demo/score.hpp"

namespace callboard::demo {

/// A topic of a tenant, and what happened on it.
struct stage {
  std::string tenant;
  std::string topic;
  score counts;
};

/// Publishes events `<name>-1`, `<name>-2`, … at a steady pace. One thread at a time.
/// What has no answer when the node dies is sent again, under the same id, by the next `run`.
class publisher {
public:
  publisher(std::string name, stage& where) : name_{std::move(name)}, stage_{where} {}

  virtual ~publisher() = default;
  publisher(const publisher&) = delete;
  publisher& operator=(const publisher&) = delete;

  /// Until `last` events have been acked or the node is gone.
  void run(const client::endpoint& node, std::uint64_t last);

protected:
  /// Sends and settles what is in `open_` and new events; returns when the connection breaks or
  /// all is done.
  virtual void publish(const client::account& who, std::uint64_t last) = 0;

  std::string draw();
  void settle(const std::string& id, bool duplicate);
  [[nodiscard]] std::string event_of(const std::string& id) const;

  [[nodiscard]] bool done(std::uint64_t last) const { return acked_ >= last; }

  std::string name_;
  stage& stage_;
  std::vector<std::string> open_;
  std::uint64_t drawn_ = 0;
  std::uint64_t acked_ = 0;
};

class http_publisher final : public publisher {
public:
  using publisher::publisher;

private:
  void publish(const client::account& who, std::uint64_t last) override;
};

class websocket_publisher final : public publisher {
public:
  using publisher::publisher;

private:
  void publish(const client::account& who, std::uint64_t last) override;
};

}  // namespace callboard::demo
