// A WebSocket client: frames in, operations to the broker, answers and events out. One object per
// connection; all calls come on its I/O thread.
#pragma once

#include "gateway/client_subscription.hpp"
#include "gateway/output_queue.hpp"
#include "gateway/rate_limit.hpp"
#include "gateway/sessions.hpp"
#include "gateway/thread_state.hpp"
#include "gateway/websocket_handshake.hpp"
#include "gateway/websocket_wire.hpp"
#include "gateway/ws_protocol.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace callboard::gateway {

/// Lifecycle: `begin` sends the handshake's answer and `welcome`; ends by close frames of either
/// side, a dead socket, silence, an expired token, or the node's stop. Bounds: requests in flight,
/// subscriptions, the output queue (while it is full nothing more is read), one message being read.
class websocket_session final : public session,
                                public std::enable_shared_from_this<websocket_session>,
                                private output_queue::listener,
                                private subscription_owner {
public:
  websocket_session(
      connection_port& port,
      const session_environment& environment,
      std::unique_ptr<transport> stream,
      upgrade_request request,
      const ws_handshake& handshake);
  ~websocket_session() override;

  /// Call once, when owned by a shared_ptr. `leftover` came after the handshake's head.
  /// A handshake that is refused ends with its close code, after an error that says all.
  void begin(const ws_handshake& handshake, std::string leftover);

  void on_publish_replies(actors::publish_replies& replies) override;
  void on_control_reply(actors::control_reply& reply) override;
  void on_drain(std::chrono::milliseconds spread) override;
  void on_tick(boot_time now) override;
  void on_stop() override;

private:
  enum class stage : std::uint8_t { open, closing, ended };

  enum class pending_kind : std::uint8_t { publish, answer, consume, hold_time, lease };

  /// A request that the broker has not answered yet.
  struct pending_op {
    pending_kind kind = pending_kind::answer;
    bool together = false;
    op_id id;
    std::shared_ptr<const std::string> topic;
    std::vector<std::string> event_ids;
    boot_time deadline{};
    /// Of a consumer, or of a queue worked on.
    std::uint64_t consumer = 0;
    byte_charge charge;
  };

  /// Publishes of one read to one topic.
  struct gathered_publish {
    std::shared_ptr<const std::string> topic;
    actors::publish_batch batch;
    std::uint64_t bytes = 0;
    std::size_t events = 0;
  };

  struct in_hand {
    sequence seq{};
    boot_time since{};
  };

  struct consumer {
    std::uint64_t number = 0;
    actors::group_ref group;
    std::uint64_t credits = 0;
    bool fetching = false;
    /// The broker has no room for it until then.
    boot_time not_before{};
    /// How long the group leaves a delivery with its member; 0: not known yet.
    std::chrono::milliseconds hold{0};
    /// What the client has and the group still counts as its own, by token.
    std::unordered_map<std::string, in_hand> held;
  };

  /// A queue that the client works on.
  struct worked_queue {
    std::uint64_t number = 0;
    queue_ref queue;
    /// As the queue knows it: another for each connection, whatever name the client gave.
    std::string worker;
    std::uint64_t credits = 0;
    std::uint32_t lease_ms = 0;
    bool asking = false;
    /// The broker has no room for it until then.
    boot_time not_before{};
    /// Leases that the client has, with when they end unless they are extended, and how long each
    /// is.
    std::unordered_map<std::string, std::pair<boot_time, std::uint32_t>> held;
  };

  // websocket_session.cpp: the socket.
  void read();
  void on_read(const boost::system::error_code& failed, std::size_t count);
  void take(std::span<char> input);
  void handle(const ws_message& message);
  void handle_close(const ws_message& message);
  void welcome();
  void refuse(const error& why);
  void choose_buffer(std::size_t count);
  void start_close(std::uint16_t code, std::string_view reason);
  void finish_close();
  void end();
  void leave_everything();

  void on_written() override;
  void on_write_failed(const boost::system::error_code& why) override;

  void before_flush() override { before_events(); }

  std::shared_ptr<void> keep_alive() override { return shared_from_this(); }

  // What subscriptions need.
  output_queue& output() override { return output_; }

  const ws_protocol& protocol() const override { return *protocol_; }

  thread_state& state() override { return state_; }

  void answer(answer_call write) override;
  void before_events() override;

  void output_was_full() override { stalled_ = true; }

  void queued(time_ms event_time) override;
  void subscription_ended(std::uint64_t sub) override;
  void disconnect_slow() override;

  // websocket_operations.cpp: operations.
  void on_operation(received_op received);
  void fail_op(const op_id& id, const error& why);
  [[nodiscard]] result<topic_ref> topic_of(const std::string& name) const;
  [[nodiscard]] result<actors::group_ref>
  group_of(const std::string& topic, const std::string& group) const;
  [[nodiscard]] bool has_room_for_request(const op_id& id);
  /// False: refused, and the client was told.
  bool ask(const op_id& id, actors::control_body body, std::uint32_t wait_ms = 0);
  /// Without an answer to the client.
  void tell_broker(actors::control_body body);
  /// What of the broker's answers the client has seen nothing of.
  [[nodiscard]] std::vector<std::uint64_t> unanswered() const;
  /// Tasks and deliveries that came when nobody waited for them any more.
  void give_back(const actors::control_answer& answer);

  void perform(const op_id& id, ops::publish op);
  void perform(const op_id& id, const ops::subscribe& op);
  void perform(const op_id& id, const ops::unsubscribe& op);
  void perform(const op_id& id, const ops::credit& op);
  void perform(const op_id& id, ops::presence op);
  void perform(const op_id& id, const ops::auth& op);
  void perform(const op_id& id, const ops::ping& op);
  void perform(const op_id& id, const ops::fetch& op);
  void perform(const op_id& id, const ops::consume& op);
  void perform(const op_id& id, ops::ack op);
  void perform(const op_id& id, ops::nack op);
  void perform(const op_id& id, const ops::work& op);
  void perform(const op_id& id, ops::complete op);
  void perform(const op_id& id, ops::fail op);
  void perform(const op_id& id, ops::extend op);

  /// Ends what a renewed token no longer allows.
  void end_forbidden();
  [[nodiscard]] result<std::size_t> gather_slot(const std::string& topic);
  void flush_publishes();
  void send_gathered(gathered_publish& gathered);
  [[nodiscard]] result<void> start_subscription(client_subscription& one, const ops::subscribe& op);
  void fetch_more(consumer& one);
  void return_credits(
      const actors::group_ref& group,
      const std::vector<std::string>& deliveries,
      std::optional<sequence> up_to);
  void let_go(boot_time now);
  void ask_hold_time(const consumer& one);
  void on_hold_time(std::uint64_t number, const result<actors::control_answer>& outcome);
  void on_consumed(std::uint64_t number, result<actors::control_answer>& outcome);
  /// False: none fits, and the client was told.
  [[nodiscard]] bool has_room_for_fetched(const op_id& id, actors::control_answer& answer);
  /// Leaves as many in the list as the output has room for; the rest is given back.
  void keep_what_fits(actors::delivery_list& list);
  /// False: there are too many, and the client was told.
  [[nodiscard]] bool remember_group(const op_id& id, const actors::group_ref& group);

  // websocket_work.cpp: task queues.
  [[nodiscard]] bool may_end(const op_id& id, const std::string& lease);
  void lease_more(worked_queue& one);
  void on_leased(std::uint64_t number, result<actors::control_answer>& outcome);
  void on_lease_late(std::uint64_t number, std::uint64_t poll, const error& late);
  /// Gives back what came after the client had stopped, or while it does not read.
  void decline(const actors::leased_task& task);
  void return_credit(const std::string& lease);
  void tick_work(boot_time now);
  void leave_queues(const std::vector<std::uint64_t>& unseen);
  void end_forbidden_work();

  // websocket_ticks.cpp: what happens by the clock.
  void sweep(boot_time now);
  void tick_timers(boot_time now);
  void tick_drain(boot_time now);
  [[nodiscard]] bool token_has_expired() const;
  [[nodiscard]] boot_time jittered(std::chrono::milliseconds base, std::uint64_t salt) const;

  connection_port& port_;
  const session_environment& environment_;
  std::unique_ptr<transport> stream_;
  principal who_;
  const ws_protocol* protocol_;
  thread_state& state_;
  output_queue output_;
  ws_reader reader_;
  rate_limit rate_;

  stage stage_ = stage::open;
  bool reading_ = false;
  bool read_paused_ = false;
  bool peer_closed_ = false;
  bool stalled_ = false;
  bool heard_ = false;
  bool goaway_sent_ = false;
  /// The node said so, or ends the connection without a word.
  bool node_leaves_ = false;
  std::uint8_t small_reads_ = 0;
  std::array<char, 512> small_;
  thread_state::buffer large_;
  /// Answers that share one frame, not yet framed.
  std::string joined_;
  /// cloudevents.json: the topic of the address, and where its one subscription begins.
  std::string fixed_topic_;
  std::string fixed_from_;

  std::unordered_map<std::uint64_t, pending_op> pending_;
  std::vector<gathered_publish> gathered_;
  std::vector<std::unique_ptr<client_subscription>> subscriptions_;
  std::uint64_t last_sub_ = 0;
  std::vector<std::uint64_t> ended_subs_;
  std::vector<actors::presence_renew> present_;
  /// That the client took from, at most limits.subscriptions_max; left when it goes.
  std::set<actors::group_ref> groups_;
  std::vector<consumer> consumers_;
  std::uint64_t last_consumer_ = 0;
  std::vector<worked_queue> worked_;

  boot_time last_heard_{};
  boot_time next_ping_{};
  boot_time next_renew_{};
  boot_time close_deadline_{};
  boot_time drain_at_{};
  std::uint32_t drain_hint_ms_ = 0;
  time_ms timed_event_{};
};

}  // namespace callboard::gateway
