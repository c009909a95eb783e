#include "gateway/connection_actor.hpp"

#include "actors/boxed.hpp"
#include "actors/router.hpp"
#include "gateway/control_gate.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/behavior.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::chrono::milliseconds linger_interval{50};
constexpr std::uint32_t overloaded_retry_ms = 100;

/// Keeps the actor until its session is gone, whose pending operations may still name it.
void linger(
    boost::asio::io_context& loop, caf::strong_actor_ptr actor, std::weak_ptr<session> last) {
  auto timer = std::make_shared<boost::asio::steady_timer>(loop, linger_interval);
  timer->async_wait([&loop, timer, actor = std::move(actor), last = std::move(last)](
                        const boost::system::error_code& failed) mutable {
    if (!failed && !last.expired()) linger(loop, std::move(actor), std::move(last));
  });
}

/// What ends or gives back work: refusing it would only make more.
bool gives_back(const actors::control_body& body) {
  return std::holds_alternative<actors::ack_deliveries>(body)
         || std::holds_alternative<actors::nack_deliveries>(body)
         || std::holds_alternative<actors::leave_group>(body)
         || std::holds_alternative<actors::presence_renew>(body)
         || std::holds_alternative<actors::extend_lease>(body)
         || std::holds_alternative<actors::complete_task>(body)
         || std::holds_alternative<actors::fail_task>(body)
         || std::holds_alternative<actors::leave_queue>(body)
         || std::holds_alternative<actors::presence_leave>(body);
}

/// The time tells restarts of the node apart, as actor ids begin anew with each.
std::string connection_name(boot_time now, std::uint64_t number) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  return fmt::format("c{:x}-{:x}", static_cast<std::uint64_t>(ms) & 0xFFFFFFFU, number);
}

}  // namespace

connection_actor::connection_actor(
    caf::actor_config& setup,
    actors::router& broker,
    io_thread& thread,
    session_factory make,
    std::function<void()> on_end)
    : io_actor{setup, thread.context, unbounded},
      broker_{broker},
      thread_{thread},
      make_{std::move(make)},
      on_end_{std::move(on_end)},
      id_{connection_name(thread.hub.now(), io_actor::id())} {}

caf::behavior connection_actor::make_behavior() {
  self_ = caf::strong_actor_ptr{ctrl()};
  thread_.hub.join(*this);
  session_ = std::exchange(make_, nullptr)(*this);
  if (session_ == nullptr) {
    close();
  } else {
    // The node may be on its way out since it was taken in.
    thread_.hub.catch_up(*this);
  }
  return {
      [this](actors::boxed<actors::publish_replies>& message) {
        if (session_) session_->on_publish_replies(*message);
      },
      [this](actors::boxed<actors::control_reply>& message) {
        forget_asked(std::min<std::uint64_t>(asked_, 1));
        if (session_) session_->on_control_reply(*message);
      },
  };
}

void connection_actor::on_exit() {
  io_actor::on_exit();
  thread_.hub.leave(*this);
  forget_asked(asked_);
  if (session_ != nullptr) {
    // Ended from outside: the session must let go of its socket.
    auto last = std::exchange(session_, nullptr);
    last->on_stop();
    linger(thread_.context, caf::strong_actor_ptr{ctrl()}, last);
    boost::asio::post(thread_.context, [last = std::move(last)] {});
  }
  if (auto told = std::exchange(on_end_, nullptr)) told();
  // Let go only after whoever called this has returned.
  boost::asio::post(thread_.context, [self = std::exchange(self_, nullptr)] {});
}

result<void> connection_actor::publish(actors::publish_batch batch) {
  return broker_.publish(std::move(batch), caf::actor_cast<caf::actor>(this));
}

result<void> connection_actor::control(actors::control_request request) {
  if (thread_.gate != nullptr) {
    if (gives_back(request.body)) {
      thread_.gate->pass();
    } else if (!thread_.gate->admit()) {
      return fail(
          errc::overloaded, "too many requests of this node are unanswered", overloaded_retry_ms);
    }
  }
  ++asked_;
  auto sent = broker_.control(std::move(request), caf::actor_cast<caf::actor>(this));
  if (!sent) forget_asked(1);
  return sent;
}

void connection_actor::forget_asked(std::uint64_t count) {
  asked_ -= count;
  if (thread_.gate != nullptr) thread_.gate->release(count);
}

void connection_actor::become(std::shared_ptr<session> next) {
  boost::asio::post(thread_.context, [last = std::exchange(session_, std::move(next))] {});
}

void connection_actor::close() {
  if (has_ended()) return;
  if (auto last = std::exchange(session_, nullptr)) {
    linger(thread_.context, caf::strong_actor_ptr{ctrl()}, last);
    // The caller may be the session itself.
    boost::asio::post(thread_.context, [last = std::move(last)] {});
  }
  end({});
}

void connection_actor::on_tick(boot_time now) {
  if (session_) session_->on_tick(now);
}

void connection_actor::on_drain(std::chrono::milliseconds spread) {
  if (session_) session_->on_drain(spread);
}

void connection_actor::on_stop() {
  end({});
}

void open_connection(
    caf::actor_system& system,
    actors::router& router,
    io_thread& thread,
    const session_factory& make,
    std::function<void()> on_end) {
  system.spawn<connection_actor>(router, thread, make, std::move(on_end));
}

}  // namespace callboard::gateway
