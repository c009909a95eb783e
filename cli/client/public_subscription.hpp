// What a `callboard::subscription` is made of: a WebSocket, and where to go on.
#pragma once

#include "cli/backoff.hpp"
#include "cli/client/api.hpp"
#include "cli/client/byte_stream.hpp"
#include "cli/client/pattern_place.hpp"

#include <boost/json/object.hpp>

#include <callboard/client.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <string>

namespace callboard {

struct subscription::state {
  state(client::account who, std::string topic, subscribe_options options);

  /// Until the node has taken the subscription. Errors: what it refuses it with; unreachable.
  [[nodiscard]] result<void> open(client::deadline until);

  [[nodiscard]] outcome<std::optional<received_event>> next(std::chrono::milliseconds wait);

  /// Of the event that was given last, or where the subscription began.
  std::string cursor;

private:
  /// Does not wait for the node's answer.
  [[nodiscard]] result<void> connect(client::deadline until);
  /// Takes one message: whether there was one before `until`.
  [[nodiscard]] result<bool> receive(client::deadline until);
  /// Events of a frame go to `ready_`. Errors: what the server refused; draining for a goaway.
  [[nodiscard]] result<void> take(const boost::json::object& frame);
  /// `ok` of the subscription.
  void begin_at(const boost::json::object& ok);
  [[nodiscard]] std::optional<received_event> take_ready();
  [[nodiscard]] std::string subscribe_frame() const;

  client::api api_;
  std::string topic_;
  subscribe_options options_;
  bool is_pattern_;
  client::pattern_place places_;
  bool has_begun_ = false;
  std::optional<client::websocket> socket_;
  std::deque<received_event> ready_;
  /// Told once, after what was read before it.
  std::optional<failure> gap_;
  cli::backoff backoff_;
  /// When to stop looking for the node, and when to look again; set while it is away.
  std::optional<client::deadline> give_up_;
  std::optional<client::deadline> look_again_;
};

}  // namespace callboard
