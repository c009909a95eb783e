#include "actors/io_actor.hpp"

#include <boost/asio/post.hpp>
#include <caf/actor_system.hpp>
#include <caf/message.hpp>
#include <caf/system_messages.hpp>

#include <utility>

namespace callboard::actors {

namespace {

/// An inbox that a burst made larger than this is given back to the allocator.
constexpr std::size_t inbox_kept_max = 256;

}  // namespace

io_actor::io_actor(
    caf::actor_config& setup, boost::asio::io_context& loop, std::size_t messages_max)
    : event_based_actor(setup), loop_{loop}, unit_(&home_system()), messages_max_{messages_max} {}

bool io_actor::is_counted(const caf::mailbox_element& message) {
  return !message.mid.is_response() && !message.is_high_priority()
         && !message.content().match_elements<caf::exit_msg>()
         && !message.content().match_elements<caf::down_msg>()
         && !message.content().match_elements<caf::timeout_msg>();
}

void io_actor::bounce(const caf::mailbox_element& message, caf::sec why) {
  if (!message.mid.is_request() || !message.sender) return;
  message.sender->enqueue(
      nullptr, message.mid.response_id(), caf::make_message(caf::make_error(why)), nullptr);
}

void io_actor::enqueue(caf::mailbox_element_ptr message, caf::execution_unit*) {
  if (has_ended()) return bounce(*message, caf::sec::request_receiver_down);
  const bool counted = is_counted(*message);
  bool wake = false;
  {
    const std::lock_guard guard{mutex_};
    if (!counted || counted_ < messages_max_) {
      if (counted) ++counted_;
      inbox_.push_back(std::move(message));
      wake = !std::exchange(scheduled_, true);
    }
  }
  if (message != nullptr) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return bounce(*message, caf::sec::unavailable_or_would_block);
  }
  if (!wake) return;
  boost::asio::post(loop_, [this, keep = caf::strong_actor_ptr{ctrl()}] { drain(); });
}

void io_actor::launch(caf::execution_unit*, bool, bool hide) {
  if (!hide) register_at_system();
  boost::asio::post(loop_, [this, keep = caf::strong_actor_ptr{ctrl()}] { activate(&unit_); });
}

void io_actor::on_exit() {
  ended_.store(true, std::memory_order_release);
  set_aside_.clear();
}

void io_actor::end(caf::error reason) {
  if (has_ended()) return;
  context(&unit_);
  quit(std::move(reason));
  finalize();
}

void io_actor::drain() {
  std::vector<caf::mailbox_element_ptr> burst;
  {
    const std::lock_guard guard{mutex_};
    burst.swap(inbox_);
    counted_ = 0;
    scheduled_ = false;
  }
  for (auto& message : burst)
    handle(std::move(message));
  if (!has_ended()) after_messages();
  burst.clear();
  if (burst.capacity() > inbox_kept_max) return;
  const std::lock_guard guard{mutex_};
  if (inbox_.empty() && inbox_.capacity() < burst.capacity()) inbox_.swap(burst);
}

void io_actor::handle(caf::mailbox_element_ptr message) {
  if (has_ended()) return bounce(*message, caf::sec::request_receiver_down);
  if (activate(&unit_, *message) == activation_result::skipped) {
    set_aside_.push_back(std::move(message));
    return;
  }
  // A response may have ended an await: what was set aside meanwhile is tried again, in order.
  for (std::size_t i = 0; i < set_aside_.size() && !has_ended();) {
    auto waiting = std::move(set_aside_[i]);
    set_aside_.erase(set_aside_.begin() + static_cast<std::ptrdiff_t>(i));
    if (activate(&unit_, *waiting) == activation_result::skipped) {
      set_aside_.insert(set_aside_.begin() + static_cast<std::ptrdiff_t>(i), std::move(waiting));
      ++i;
    } else {
      i = 0;
    }
  }
}

}  // namespace callboard::actors
