// What a WebSocket session does by the clock: pings, silence, timeouts, leases, tokens, drain; and
// how it begins.
#include "gateway/websocket_session.hpp"

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

/// How long requests in flight may take after goaway was said.
constexpr std::chrono::seconds drain_patience{5};
constexpr std::uint32_t jitter_percent = 20;

}  // namespace

/// `base` give or take 20 %, differing from connection to connection and from time to time.
boot_time websocket_session::jittered(std::chrono::milliseconds base, std::uint64_t salt) const {
  const auto spread = base.count() * 2 * jitter_percent / 100;
  const auto low = base.count() * (100 - jitter_percent) / 100;
  const auto draw = hash_64(port_.id() + std::to_string(salt));
  const auto extra =
      spread > 0 ? static_cast<std::int64_t>(draw % static_cast<std::uint64_t>(spread)) : 0;
  return std::chrono::milliseconds{low + extra};
}

bool websocket_session::token_has_expired() const {
  return who_.expires && environment_.time.wall() >= *who_.expires;
}

void websocket_session::on_tick(boot_time now) {
  state_.publish(now);
  if (stage_ == stage::ended) return;
  if (stage_ == stage::closing) {
    if (now >= close_deadline_) end();
    return;
  }
  if (std::exchange(heard_, false)) last_heard_ = now;
  const std::chrono::milliseconds silence{environment_.settings.limits.idle_timeout_ms};
  if (now - last_heard_ >= silence) return end();
  if (token_has_expired()) return start_close(close_code::token_expired, "token expired");
  for (const auto sub : std::exchange(ended_subs_, {})) {
    std::erase_if(subscriptions_, [sub](const auto& one) { return one->sub() == sub; });
  }
  sweep(now);
  tick_timers(now);
  let_go(now);
  for (auto& one : consumers_)
    fetch_more(one);
  tick_work(now);
  if (output_.is_empty()) output_.shrink();
  tick_drain(now);
}

/// Requests that were not answered in time.
void websocket_session::sweep(boot_time now) {
  static const error late{
      errc::timeout, "no answer in time; if it was a change, its outcome is unknown", 0};
  for (auto one = pending_.begin(); one != pending_.end();) {
    if (now < one->second.deadline) {
      ++one;
      continue;
    }
    if (one->second.kind == pending_kind::hold_time) {
      // Nobody waits for it.
    } else if (one->second.kind == pending_kind::consume) {
      result<actors::control_answer> nothing = std::unexpected{late};
      on_consumed(one->second.consumer, nothing);
    } else if (one->second.kind == pending_kind::lease) {
      on_lease_late(one->second.consumer, one->first, late);
    } else {
      fail_op(one->second.id, late);
    }
    one = pending_.erase(one);
  }
  const std::chrono::milliseconds patience{environment_.settings.limits.request_timeout_ms};
  std::erase_if(subscriptions_, [&](const auto& one) {
    if (one->is_answered() || now - one->asked_at < patience) return false;
    fail_op(one->asked(), late);
    return true;
  });
}

void websocket_session::tick_timers(boot_time now) {
  if (now >= next_ping_) {
    const auto interval = std::chrono::milliseconds{environment_.settings.limits.ping_interval_ms};
    next_ping_ = now + jittered(interval, static_cast<std::uint64_t>(now.count()));
    before_events();
    output_.push_message(ws_opcode::ping, {});
  }
  if (present_.empty() || now < next_renew_) return;
  next_renew_ = now + std::chrono::milliseconds{environment_.settings.topics.presence_lease_ms / 3};
  for (const auto& one : present_)
    tell_broker(one);
}

// -- drain -----------------------------------------------------------------------------------

void websocket_session::on_drain(std::chrono::milliseconds spread) {
  if (stage_ != stage::open || drain_at_ != boot_time{}) return;
  const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(spread.count(), 1));
  const auto draw = hash_64(port_.id());
  drain_at_ = environment_.time.boot() + std::chrono::milliseconds{draw % ms};
  drain_hint_ms_ = static_cast<std::uint32_t>((draw >> 32U) % ms);
  tick_drain(environment_.time.boot());
}

void websocket_session::tick_drain(boot_time now) {
  if (drain_at_ == boot_time{} || now < drain_at_) return;
  if (!std::exchange(goaway_sent_, true)) {
    node_leaves_ = true;
    flush_publishes();
    answer([&](std::string& out) { protocol_->goaway(out, drain_hint_ms_); });
  }
  const bool idle = std::ranges::none_of(
      pending_, [](const auto& one) { return one.second.kind <= pending_kind::answer; });
  if (idle || now >= drain_at_ + drain_patience) {
    start_close(close_code::going_away, "node is going away");
  }
}

// -- begin -----------------------------------------------------------------------------------

namespace {

/// Sends one HTTP response and ends.
void refuse_upgrade(
    connection_port& port, std::unique_ptr<transport> stream, std::string response) {
  struct farewell {
    std::unique_ptr<transport> stream;
    std::string response;
  };

  auto last = std::make_shared<farewell>(std::move(stream), std::move(response));
  auto* target = last->stream.get();
  target->async_write(
      {boost::asio::buffer(last->response)}, [last](const boost::system::error_code&, std::size_t) {
        auto* ending = last->stream.get();
        ending->async_shutdown([last] { last->stream->close(); });
      });
  port.close();
}

}  // namespace

void start_websocket(
    connection_port& port,
    const session_environment& environment,
    std::unique_ptr<transport> stream,
    upgrade_request request) {
  auto handshake = answer_handshake(request, environment.settings.limits.websocket_deflate);
  if (!handshake) return refuse_upgrade(port, std::move(stream), handshake.error().response);
  auto leftover = std::move(request.leftover);
  auto made = std::make_shared<websocket_session>(
      port, environment, std::move(stream), std::move(request), *handshake);
  port.become(made);
  made->begin(*handshake, std::move(leftover));
}

}  // namespace callboard::gateway
