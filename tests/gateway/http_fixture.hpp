// HTTP sessions on real loopback sockets, with a broker that does what the test says and a clock
// that the test moves. The client writes raw bytes.
#pragma once

#include "gateway/http_session.hpp"
#include "gateway/sessions.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace callboard::testing {

struct answer {
  unsigned status = 0;
  /// Lower-case names.
  std::map<std::string, std::string> headers;
  std::string body;
};

/// A blocking client that gives up after some seconds.
class raw_client {
public:
  explicit raw_client(std::uint16_t port);
  ~raw_client();
  raw_client(raw_client&& other) noexcept;

  void send(std::string_view bytes);
  /// Ends our side; the server may still answer.
  void end_input();
  void close();

  /// Reads one answer; fails the test if there is none. `head_only` after HEAD.
  [[nodiscard]] answer read(bool head_only = false);
  /// Reads so many bytes; fails the test if the stream ends before.
  [[nodiscard]] std::string read_exactly(std::size_t size);
  /// Reads until the end of the stream.
  [[nodiscard]] std::string read_all();
  /// True if the server has closed and sent nothing more.
  [[nodiscard]] bool is_closed();

  [[nodiscard]] answer ask(std::string_view bytes) {
    send(bytes);
    return read();
  }

private:
  bool fill();

  int socket_ = -1;
  std::string buffer_;
};

/// The broker and the actor of one connection.
class fake_port final : public gateway::connection_port {
public:
  explicit fake_port(class http_fixture& fixture) : fixture_{fixture} {}

  result<void> publish(actors::publish_batch batch) override;
  result<void> control(actors::control_request request) override;

  correlation_id next_correlation() override { return correlation_id{++correlation_}; }

  void become(std::shared_ptr<gateway::session> next) override { owner = std::move(next); }

  void close() override;
  gateway::io_thread& thread() override;

  const std::string& id() const override { return id_; }

  std::shared_ptr<gateway::session> owner;

private:
  class http_fixture& fixture_;
  std::uint64_t correlation_ = 0;
  std::string id_ = "c1";
};

class http_fixture {
public:
  explicit http_fixture(const std::function<void(config&)>& change = {});
  ~http_fixture();

  [[nodiscard]] raw_client connect() { return raw_client{port_}; }

  /// Moves the clock and ticks every session.
  void advance(std::chrono::milliseconds by);
  void drain(std::chrono::milliseconds spread);
  /// Runs on the loop and waits.
  void run(const std::function<void()>& work);
  /// From now on whoever leases gets these; all else that the broker is asked is done.
  void answer_leases(const actors::leased_tasks& tasks);
  /// Waits until `condition`, evaluated on the loop, holds; false after some seconds.
  [[nodiscard]] bool eventually(const std::function<bool()>& condition);

  config settings;
  manual_clock time;
  metrics counters;
  byte_budget budget{1 << 20};
  std::string node_id = "n1";
  std::unique_ptr<gateway::session_environment> sessions;
  std::unique_ptr<gateway::http_metrics> http_counters;
  std::unique_ptr<gateway::http_environment> environment;
  std::atomic<bool> draining{false};
  std::optional<error> not_ready;
  gateway::admission standing = gateway::admission::admitted;

  // What the broker was asked and what it says; on the loop only.
  std::vector<actors::publish_batch> published;
  std::vector<actors::control_body> asked;
  std::function<std::optional<result<actors::publish_outcome>>(const actors::publish_request&)>
      on_publish;
  std::function<std::optional<result<actors::control_answer>>(const actors::control_body&)>
      on_control;
  std::vector<std::function<void()>> held_replies;
  std::vector<std::shared_ptr<fake_port>> ports;

private:
  void accept();

  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{
      loop_.get_executor()};
  boost::asio::ip::tcp::acceptor acceptor_;
  std::uint16_t port_ = 0;
  std::jthread thread_;

  friend fake_port;
};

/// What the stand-ins of start_websocket and start_event_stream were called with last.
struct upgrade_seen {
  std::optional<gateway::upgrade_request> request;
  std::string topic;
};

[[nodiscard]] upgrade_seen take_upgrade();

}  // namespace callboard::testing
