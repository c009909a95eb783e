// The socket side of a WebSocket session: reading, closing, ending.
#include "gateway/websocket_session.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace callboard::gateway {

namespace {

/// Answers that share a frame leave at this size.
constexpr std::size_t joined_bytes_max = 64U << 10;
/// After so many small reads in a row a connection gives its large buffer back.
constexpr std::uint8_t small_reads_max = 8;
constexpr std::chrono::seconds close_wait{2};

std::uint16_t close_code_of(errc why) {
  switch (why) {
  case errc::unauthorized:
    return close_code::token_expired;
  case errc::forbidden:
    return close_code::not_allowed;
  case errc::too_many_connections:
    return close_code::too_many_connections;
  default:
    return close_code::policy;
  }
}

}  // namespace

websocket_session::websocket_session(
    connection_port& port,
    const session_environment& environment,
    std::unique_ptr<transport> stream,
    upgrade_request request,
    const ws_handshake& handshake)
    : port_{port},
      environment_{environment},
      stream_{std::move(stream)},
      who_{std::move(request.who)},
      protocol_{&ws_protocol::of(handshake.protocol)},
      state_{thread_state::of(port.thread().hub, environment.counters)},
      output_{
          port.thread().hub,
          *stream_,
          *this,
          {environment.settings.limits.output_frames_max,
           environment.settings.limits.output_bytes_max}},
      reader_{ws_limits{
          environment.settings.limits.frame_bytes_max,
          environment.settings.limits.inflated_bytes_max,
          handshake.deflate}},
      rate_{environment.settings.limits.publishes_per_s} {
  who_.tenant = std::move(request.tenant);
  if (handshake.protocol == ws_protocol_id::cloudevents) {
    fixed_topic_ = request.query["topic"];
    fixed_from_ = request.query["cursor"];
    if (fixed_from_.empty()) fixed_from_ = request.query["from"];
  }
  state_.connected(1, 0);
}

websocket_session::~websocket_session() {
  state_.connected(-1, 0);
}

void websocket_session::begin(const ws_handshake& handshake, std::string leftover) {
  const auto now = environment_.time.boot();
  last_heard_ = now;
  next_ping_ =
      now + jittered(std::chrono::milliseconds{environment_.settings.limits.ping_interval_ms}, 0);
  output_.push(handshake.response, 1);
  if (handshake.refused) {
    refuse(*handshake.refused);
  } else {
    welcome();
  }
  if (!leftover.empty()) take({leftover.data(), leftover.size()});
  read();
}

void websocket_session::welcome() {
  const auto& limits = environment_.settings.limits;
  answer([&](std::string& out) {
    protocol_->welcome(
        out,
        {.connection = port_.id(),
         .node = environment_.node_id,
         .frame_bytes_max = limits.frame_bytes_max,
         .batch_events_max = limits.batch_events_max,
         .subscriptions_max = limits.subscriptions_max,
         .requests_in_flight_max = limits.requests_in_flight_max,
         .ping_interval_ms = limits.ping_interval_ms});
  });
  if (fixed_topic_.empty() || !who_.may_subscribe(fixed_topic_)) return;
  perform(op_id{}, ops::subscribe{.topic = fixed_topic_, .from = std::move(fixed_from_)});
}

void websocket_session::refuse(const error& why) {
  answer([&](std::string& out) { protocol_->failed(out, {}, why); });
  start_close(close_code_of(why.code), std::string{name_of(why.code)} + ": " + why.detail);
}

// -- reading ---------------------------------------------------------------------------------

void websocket_session::read() {
  if (reading_ || stage_ == stage::ended || peer_closed_) return;
  if (!output_.has_room() && stage_ == stage::open) {
    read_paused_ = true;
    return;
  }
  read_paused_ = false;
  reading_ = true;
  const auto into = large_ ? boost::asio::mutable_buffer{large_->data(), large_->size()}
                           : boost::asio::mutable_buffer{small_.data(), small_.size()};
  stream_->async_read_some(
      into,
      [self = shared_from_this()](const boost::system::error_code& failed, std::size_t count) {
        self->on_read(failed, count);
      });
}

void websocket_session::on_read(const boost::system::error_code& failed, std::size_t count) {
  reading_ = false;
  if (stage_ == stage::ended) return;
  if (failed) return end();
  heard_ = true;
  take(large_ ? std::span{large_->data(), count} : std::span{small_.data(), count});
  if (stage_ == stage::ended) return;
  choose_buffer(count);
  read();
}

/// Busy connections read into a large buffer of the thread's, quiet ones into their own small one.
void websocket_session::choose_buffer(std::size_t count) {
  if (large_ == nullptr) {
    if (count == small_.size()) large_ = state_.take_buffer();
    small_reads_ = 0;
    return;
  }
  small_reads_ =
      count <= small_.size() ? static_cast<std::uint8_t>(small_reads_ + 1) : std::uint8_t{0};
  if (small_reads_ >= small_reads_max) state_.give_back(std::move(large_));
}

void websocket_session::take(std::span<char> input) {
  while (stage_ != stage::ended) {
    const auto message = reader_.next(input);
    if (!message) break;
    handle(*message);
  }
  if (stage_ == stage::ended) return;
  flush_publishes();
  if (const auto& violation = reader_.violation(); violation && !peer_closed_) {
    start_close(violation->code, violation->reason);
    // What follows cannot be understood, so there is no close frame to wait for.
    peer_closed_ = true;
    if (output_.is_empty()) finish_close();
  }
}

void websocket_session::handle(const ws_message& message) {
  switch (message.opcode) {
  case ws_opcode::close:
    return handle_close(message);
  case ws_opcode::ping:
    if (stage_ == stage::open) {
      before_events();
      output_.push_message(ws_opcode::pong, message.payload);
    }
    return;
  case ws_opcode::pong:
  case ws_opcode::continuation:
    return;
  case ws_opcode::text:
  case ws_opcode::binary:
    break;
  }
  if (stage_ != stage::open) return;
  if (message.opcode != protocol_->opcode()) {
    return start_close(
        close_code::unsupported_data,
        message.opcode == ws_opcode::binary ? "text frames only" : "binary frames only");
  }
  const auto& limits = environment_.settings.limits;
  protocol_->read(
      message.payload,
      {limits.event_bytes_max, limits.batch_events_max, fixed_topic_},
      [this](received_op received) { on_operation(std::move(received)); });
}

// -- closing ---------------------------------------------------------------------------------

void websocket_session::handle_close(const ws_message& message) {
  peer_closed_ = true;
  flush_publishes();
  if (stage_ == stage::open) {
    start_close(message.close == 1005 ? close_code::normal : message.close, {});
  } else if (output_.is_empty()) {
    finish_close();
  }
}

void websocket_session::start_close(std::uint16_t code, std::string_view reason) {
  if (stage_ != stage::open) return;
  flush_publishes();
  before_events();
  stage_ = stage::closing;
  close_deadline_ = environment_.time.boot() + close_wait;
  std::string frame;
  append_ws_close(frame, code, reason);
  output_.push(frame, 1);
}

void websocket_session::finish_close() {
  if (stage_ == stage::ended) return;
  // The orderly end of the stream outlives this session.
  auto* stream = stream_.get();
  stage_ = stage::ended;
  leave_everything();
  output_.abandon();
  stream->async_shutdown([self = shared_from_this()] { self->stream_->close(); });
  port_.close();
}

void websocket_session::end() {
  if (stage_ == stage::ended) return;
  stage_ = stage::ended;
  leave_everything();
  output_.abandon();
  stream_->close();
  port_.close();
}

void websocket_session::leave_everything() {
  subscriptions_.clear();
  // The client sees nothing of what comes now.
  const auto unseen = unanswered();
  pending_.clear();
  // However it ends: the member may be here with another connection as well, whose next renewal
  // keeps them. Who means to leave says so.
  for (auto& one : present_)
    tell_broker(actors::presence_leave{std::move(one.topic), std::move(one.member), true});
  present_.clear();
  for (const auto& group : groups_)
    tell_broker(actors::leave_group{group, port_.id(), unseen});
  groups_.clear();
  consumers_.clear();
  leave_queues(unseen);
  if (large_) state_.give_back(std::move(large_));
}

void websocket_session::on_stop() {
  node_leaves_ = true;
  end();
}

// -- writing ---------------------------------------------------------------------------------

void websocket_session::on_written() {
  if (stage_ == stage::ended) return;
  if (timed_event_ != time_ms{}) {
    state_.note_latency(environment_.time.wall() - std::exchange(timed_event_, {}));
  }
  if (stage_ == stage::closing) {
    if (peer_closed_ && output_.is_empty()) finish_close();
    return;
  }
  if (!output_.has_drained()) return;
  if (std::exchange(stalled_, false)) {
    for (const auto& one : subscriptions_)
      one->resume();
  }
  for (auto& one : worked_)
    lease_more(one);
  for (auto& one : consumers_)
    fetch_more(one);
  if (read_paused_) read();
}

void websocket_session::on_write_failed(const boost::system::error_code&) {
  end();
}

void websocket_session::answer(answer_call write) {
  if (stage_ != stage::open) return;
  if (protocol_->joins_answers()) {
    write(joined_);
    output_.hold(joined_.size());
    if (joined_.size() >= joined_bytes_max) before_events();
    return;
  }
  thread_local std::string payload;
  payload.clear();
  write(payload);
  if (!payload.empty()) output_.push_message(protocol_->opcode(), payload);
}

void websocket_session::before_events() {
  if (joined_.empty()) return;
  output_.hold(0);
  output_.push_message(protocol_->opcode(), joined_);
  joined_.clear();
  if (joined_.capacity() > joined_bytes_max / 16) joined_ = {};
}

void websocket_session::queued(time_ms event_time) {
  state_.note_queue(output_.bytes());
  if (timed_event_ == time_ms{} && state_.wants_latency()) timed_event_ = event_time;
}

void websocket_session::subscription_ended(std::uint64_t sub) {
  ended_subs_.push_back(sub);
}

void websocket_session::disconnect_slow() {
  start_close(close_code::policy, "slow_consumer: resume by cursor");
}

}  // namespace callboard::gateway
