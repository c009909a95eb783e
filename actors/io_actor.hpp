// A CAF actor that lives on an Asio event loop run by one thread, beside the sockets it serves:
// its messages are handled there, so it may touch everything else of that thread directly.
#pragma once

#include <boost/asio/io_context.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_execution_unit.hpp>

#include <atomic>
#include <cstddef>
#include <limits>
#include <mutex>
#include <vector>

namespace callboard::actors {

/// Precondition: exactly one thread runs `loop`. Spawn it from any thread; everything but `enqueue`
/// then happens on the loop. `loop` must be stopped only after the actor ended, or be destroyed
/// before the actor system.
///
/// Messages that come in one burst cost one wake-up of the loop; `after_messages` follows each
/// burst. Ordinary messages beyond `messages_max` are refused (asynchronous ones are dropped and
/// counted, requests are answered); replies, urgent and system messages always pass.
class io_actor : public caf::event_based_actor {
public:
  static constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

  io_actor(caf::actor_config& setup, boost::asio::io_context& loop, std::size_t messages_max);

  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* caller) override;
  void launch(caf::execution_unit* caller, bool lazy, bool hide) override;
  void on_exit() override;

  /// Ordinary messages that were refused since the start. Any thread.
  [[nodiscard]] std::size_t refused_count() const { return refused_.load(); }

protected:
  [[nodiscard]] boost::asio::io_context& loop() { return loop_; }

  /// Needed before the actor sends from a completion handler, that is, outside a message.
  void enter() { context(&unit_); }

  /// Ends the actor from a completion handler. Idempotent.
  void end(caf::error reason);

  [[nodiscard]] bool has_ended() const { return ended_.load(std::memory_order_acquire); }

  /// Called on the loop when all messages that were there have been handled.
  virtual void after_messages() {}

private:
  static bool is_counted(const caf::mailbox_element& message);
  static void bounce(const caf::mailbox_element& message, caf::sec why);
  void drain();
  void handle(caf::mailbox_element_ptr message);

  boost::asio::io_context& loop_;
  caf::scoped_execution_unit unit_;
  const std::size_t messages_max_;
  std::mutex mutex_;
  std::vector<caf::mailbox_element_ptr> inbox_;
  std::size_t counted_ = 0;
  bool scheduled_ = false;
  /// What an awaiting actor set aside; loop only.
  std::vector<caf::mailbox_element_ptr> set_aside_;
  std::atomic<std::size_t> refused_{0};
  std::atomic<bool> ended_{false};
};

}  // namespace callboard::actors
