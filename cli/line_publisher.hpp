// Publishes the lines of standard input over a WebSocket, many in flight, through restarts of the
// server and refusals that pass: ids are made here before the first attempt, so a repeated attempt
// is no second event.
#pragma once

#include "cli/backoff.hpp"
#include "cli/client/api.hpp"
#include "cli/command.hpp"
#include "cli/line_source.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace callboard::cli {

struct publish_options {
  std::string topic;
  std::string type = "callboard.event";
  std::string source = "/callboard/cli";
  std::string subject;
  std::string durability;
  std::uint32_t in_flight_max = 64;
  std::uint32_t retry_for_s = 60;
};

/// One run over one input. Holds at most `in_flight_max` unanswered events.
class line_publisher {
public:
  line_publisher(const context& run, client::account who, const publish_options& options);

  [[nodiscard]] exit_code publish_all();

private:
  struct pending {
    std::string event;
    std::string id;
    /// Of the input.
    std::uint64_t line = 0;
  };

  [[nodiscard]] result<void> connect();
  [[nodiscard]] result<void> read_input();
  [[nodiscard]] result<void> send(pending event);
  [[nodiscard]] result<void> receive(std::chrono::milliseconds wait);
  void take_answer(std::string_view frame);
  void take_refusal(pending event, const error& problem);
  void refuse(const pending& event, const error& why);
  /// Puts what was not answered back in line, in the order it was sent.
  void requeue_unanswered();
  [[nodiscard]] std::optional<pending> event_of(const input_line& from);
  /// False: give up.
  [[nodiscard]] bool wait_to_reconnect(const error& why);
  /// Says what became of the input, if not all of it is stored.
  exit_code end_with(exit_code code) const;

  const context& run_;
  client::api api_;
  const publish_options& options_;
  line_source input_;
  backoff backoff_;
  std::optional<client::websocket> socket_;
  std::uint64_t next_op_ = 1;
  std::map<std::uint64_t, pending> in_flight_;
  std::deque<pending> waiting_;
  /// While the server is overloaded nothing is sent until then.
  std::optional<client::deadline> paused_;
  std::optional<client::deadline> give_up_;
  /// Of this connection, once its server has said so.
  std::optional<std::uint64_t> frame_bytes_max_;
  bool is_wait_told_ = false;
  std::chrono::milliseconds reconnect_after_{0};  // As the server asked.
  bool was_connected_ = false;
  std::uint64_t stored_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace callboard::cli
