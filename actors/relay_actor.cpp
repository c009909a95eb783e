#include "actors/relay_actor.hpp"

#include "actors/boxed.hpp"
#include "actors/router.hpp"

#include <caf/actor_cast.hpp>
#include <caf/behavior.hpp>
#include <caf/send.hpp>
#include <caf/system_messages.hpp>

namespace callboard::actors {

relay_actor::relay_actor(
    caf::actor_config& setup, boost::asio::io_context& loop, relay_setup shared, topic_ref topic)
    : io_actor{setup, loop, unbounded},
      shared_{shared},
      relay_{std::move(topic), shared.limits, *this, shared.counts} {}

void relay_actor::attach_to_topic() {
  enter();
  owed_credits_ = 0;
  shared_.broker.attach({relay_.topic(), shared_.credits}, caf::actor_cast<caf::actor>(this));
}

void relay_actor::leave_topic() {
  if (has_ended()) return;
  enter();
  shared_.broker.detach({relay_.topic()}, caf::actor_cast<caf::actor>(this));
  end({});
}

void relay_actor::on_tick(boot_time now) {
  if (has_ended()) return;
  enter();
  if (std::exchange(attach_again_, false)) attach_to_topic();
  relay_.on_tick(now);
}

void relay_actor::on_exit() {
  relay_.abandon();
  topic_ = nullptr;
  io_actor::on_exit();
}

result<void> relay_actor::read(std::uint64_t read, const runtime::position& from) {
  return shared_.broker.control(
      {correlation_id{read},
       read_events{relay_.topic(), from, shared_.page_events_max, shared_.page_bytes_max}},
      caf::actor_cast<caf::actor>(this));
}

void relay_actor::ask_snapshot() {
  // One that has ended is asked once it is back.
  if (topic_ == nullptr) return;
  caf::anon_send(topic_, box(actors::ask_snapshot{}), caf::actor_cast<caf::actor>(this));
}

void relay_actor::note_sender() {
  const auto& sender = current_sender();
  if (sender == nullptr || topic_ == sender) return;
  topic_ = caf::actor_cast<caf::actor>(sender);
  owed_credits_ = 0;
  monitor(topic_);
}

caf::behavior relay_actor::make_behavior() {
  // The topic's actor ended without a word: its shard loads it again, or has failed.
  set_down_handler([this](caf::down_msg& down) {
    if (topic_ == nullptr || down.source != topic_.address()) return;
    topic_ = nullptr;
    attach_again_ = true;
  });
  return {
      [this](boxed<relay_attached>& message) {
        if (message->exists) note_sender();
        if (message->ask_again) attach_again_ = true;
        relay_.on_attached(*message);
      },
      [this](boxed<deliver>& message) {
        note_sender();
        ++owed_credits_;
        relay_.on_deliver(std::move(message->batch), shared_.time.boot());
      },
      [this](boxed<relay_skipped>& message) {
        note_sender();
        relay_.on_skipped(*message);
      },
      [this](boxed<topic_gone>&) { relay_.on_gone(); },
      [this](boxed<control_reply>& message) {
        if (!message->outcome) {
          return relay_.on_page(
              message->correlation.raw(), std::unexpected{message->outcome.error()});
        }
        auto* page = std::get_if<event_page>(&*message->outcome);
        if (page != nullptr) relay_.on_page(message->correlation.raw(), std::move(*page));
      },
  };
}

void relay_actor::after_messages() {
  if (owed_credits_ == 0 || topic_ == nullptr) return;
  send(topic_, box(relay_credit{std::exchange(owed_credits_, 0)}));
}

}  // namespace callboard::actors
