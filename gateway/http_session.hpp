// One HTTP/1.x connection: requests one at a time, each answered before the next is looked at,
// until it ends or becomes a WebSocket or an event stream.
#pragma once

#include "gateway/http_auth.hpp"
#include "gateway/http_handlers.hpp"
#include "gateway/origin.hpp"
#include "gateway/rate_limit.hpp"
#include "gateway/request_reader.hpp"
#include "gateway/transport.hpp"

#include <boost/system/error_code.hpp>

#include <memory>
#include <string>

namespace callboard::gateway {

/// Lives on its I/O thread. Bounds: one request, one body, one answer; pipelined requests wait in
/// the socket. Timeouts are looked at with each tick.
class http_session final : public session, public std::enable_shared_from_this<http_session> {
public:
  /// Made and reading. `port` and `environment` outlive it. Beyond the limit of connections only
  /// endpoints that need no token are served, one request each.
  [[nodiscard]] static std::shared_ptr<http_session> open(
      connection_port& port,
      const http_environment& environment,
      std::unique_ptr<transport> stream,
      admission standing = admission::admitted);

  http_session(
      connection_port& port,
      const http_environment& environment,
      std::unique_ptr<transport> stream,
      admission standing);

  void on_publish_replies(actors::publish_replies& replies) override;
  void on_control_reply(actors::control_reply& reply) override;
  void on_drain(std::chrono::milliseconds spread) override;
  void on_tick(boot_time now) override;
  void on_stop() override;

private:
  enum class phase : std::uint8_t {
    reading_head,
    reading_body,
    waiting,
    writing,
    /// Saying goodbye to the socket.
    ending,
    /// The socket is closed or belongs to another session.
    gone,
  };

  // -- reading (http_session.cpp) --
  void read();
  void on_read(boost::system::error_code failed, std::size_t size);
  void on_peer_gone(boost::system::error_code why);
  void proceed();
  /// False: the rest of the request is not wanted now.
  [[nodiscard]] bool on_head();
  [[nodiscard]] std::optional<http_response> check_head();
  [[nodiscard]] std::optional<http_response> check_route();
  /// Sets who asks, or says why they may not.
  [[nodiscard]] std::optional<error> check_client();
  [[nodiscard]] http_response preflight() const;
  [[nodiscard]] bool take_body_charge();
  [[nodiscard]] bool refuse_early(http_response response);
  void send_continue();
  void on_broken(const broken_request& broken);

  // -- answering (http_session_answer.cpp) --
  void dispatch();

  void perform(http_response& response) { respond(std::move(response)); }

  void perform(actors::publish_batch& batch);
  void perform(actors::control_body& body);
  void perform(become_websocket& action);
  void perform(become_event_stream& action);
  void perform(run_backup& action);
  [[nodiscard]] result<void> charge_page(std::uint64_t& bytes_max);
  void fit_page_charge(std::uint64_t size);
  [[nodiscard]] bool charge_handed_out(const actors::control_answer& answer, std::uint64_t size);
  [[nodiscard]] result<byte_charge> charge_payloads(std::uint64_t size);
  [[nodiscard]] bool is_awaited(correlation_id correlation) const;
  [[nodiscard]] struct upgrade_request hand_over();
  void await_answer(std::chrono::milliseconds extra);
  void respond(http_response response);

  void respond_problem(const error& problem) { respond(problem_response(problem)); }

  void count_answer(const http_response& response);
  void log_answer(const http_response& response, boot_time took) const;
  void on_written(boost::system::error_code failed);
  void on_timeout();
  void give_up_poll();
  void end_gracefully();
  void finish();

  [[nodiscard]] boot_time now() const { return environment_.sessions.time.boot(); }

  [[nodiscard]] const config::limits_section& limits() const {
    return environment_.sessions.settings.limits;
  }

  [[nodiscard]] std::uint32_t head_timeout_ms() const;

  void set_deadline(std::uint32_t ms) { deadline_ = now() + std::chrono::milliseconds{ms}; }

  [[nodiscard]] bool is_idle() const {
    return phase_ == phase::reading_head && !reader_.has_begun();
  }

  /// A long poll is under way, or the end of a run or a call is waited for.
  [[nodiscard]] bool is_awaiting() const {
    return phase_ == phase::waiting && exchange_.wait.count() > 0;
  }

  connection_port& port_;
  const http_environment& environment_;
  std::unique_ptr<transport> transport_;
  request_reader reader_;
  rate_limit publish_rate_;
  known_token token_;
  admission standing_;
  phase phase_ = phase::reading_head;
  bool reading_ = false;
  bool draining_ = false;
  /// "100 Continue" is being written.
  bool continuing_ = false;
  /// Nothing more will come from the client.
  bool input_ended_ = false;
  /// The first byte of the request has been seen, so the clock for its head runs.
  bool head_begun_ = false;
  boot_time deadline_{};
  boot_time drain_at_{};

  // Of the request being handled.
  exchange exchange_;
  std::optional<http_response> refusal_;
  byte_charge body_charge_;
  /// A page of history, from the question to the last byte of the answer; leased tasks and
  /// deliveries, from when they are there.
  byte_charge answer_charge_;
  std::string request_id_;
  std::string cors_;
  bool keep_alive_ = true;
  bool old_version_ = false;
  bool head_only_ = false;
  boot_time started_{};
  correlation_id awaited_{};
  std::string output_;
  std::string output_body_;
};

}  // namespace callboard::gateway
