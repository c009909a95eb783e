// Prints events as they come, and goes on where it was after every loss of the connection.
#pragma once

#include "cli/backoff.hpp"
#include "cli/client/api.hpp"
#include "cli/client/pattern_place.hpp"
#include "cli/command.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::cli {

struct subscribe_options {
  std::string topic;
  std::string from = "now";
  std::uint64_t limit = 0;
  std::uint32_t wait_s = 0;
  std::string slow;
  bool over_sse = false;
  std::uint32_t retry_for_s = 3600;
};

/// Where a subscription is to go on: by cursor once there is one, for each topic of a pattern.
class resume_point {
public:
  explicit resume_point(const subscribe_options& options);

  /// The members of a `subscribe` operation that say so.
  [[nodiscard]] std::string members() const;

  void passed(const std::string& topic, const std::string& cursor);

  /// The answer to a subscribe operation names where "now" is.
  void begins_at(const std::string& cursor);

  /// Of a pattern.
  [[nodiscard]] bool is_pattern() const { return is_pattern_; }

  [[nodiscard]] client::pattern_place& places() { return places_; }

  [[nodiscard]] const std::string& last_cursor() const { return last_cursor_; }

private:
  bool is_pattern_;
  std::string from_;
  std::string last_cursor_;
  client::pattern_place places_;
};

/// One run over a WebSocket.
class subscriber {
public:
  subscriber(const context& run, client::account who, const subscribe_options& options);

  [[nodiscard]] exit_code run_to_end();

private:
  enum class step { more, reconnect, end };

  [[nodiscard]] result<void> subscribe();
  [[nodiscard]] result<step> receive();
  [[nodiscard]] result<step> take(std::string_view frame);
  [[nodiscard]] step print(std::string_view topic, std::string_view delivery);
  [[nodiscard]] bool wait_to_reconnect();

  const context& run_;
  client::api api_;
  const subscribe_options& options_;
  resume_point resume_;
  backoff backoff_;
  std::optional<client::websocket> socket_;
  bool was_subscribed_ = false;
  std::uint64_t printed_ = 0;
  std::optional<client::deadline> give_up_;
  /// As the server asked.
  std::chrono::milliseconds retry_after_{0};
};

/// The same over `text/event-stream`, resuming with Last-Event-ID.
[[nodiscard]] exit_code
subscribe_over_sse(const context& run, client::account who, const subscribe_options& options);

}  // namespace callboard::cli
