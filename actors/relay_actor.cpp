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
  released_ = false;
  shared_.broker.attach({relay_.topic(), shared_.credits}, caf::actor_cast<caf::actor>(this));
}

void relay_actor::leave_topic() {
  if (has_ended()) return;
  enter();
  shared_.broker.detach({relay_.topic()}, caf::actor_cast<caf::actor>(this));
  end({});
}

void relay_actor::let_go() {
  const auto& head = relay_.head();
  if (!let_go_at_) let_go_at_ = runtime::cursor{head.epoch, head.last_seq};
}

bool relay_actor::try_to_leave() {
  if (let_go_at_ && !has_ended()) {
    // The next actor of the topic is asked once it has said what it has.
    if (topic_ == nullptr) return false;
    enter();
    caf::anon_send(topic_, box(release_relay{let_go_at_->seq}), caf::actor_cast<caf::actor>(this));
    return false;
  }
  leave_topic();
  return true;
}

void relay_actor::tell_news(const std::optional<topic_active>& of) {
  if (!let_go_at_ && !of) return;
  auto news = of.value_or(topic_active{.topic = relay_.topic()});
  // They have had no more than this.
  if (const auto at = std::exchange(let_go_at_, std::nullopt)) {
    news.epoch = at->epoch;
    news.last_seq = at->seq;
  }
  shared_.on_news(news);
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
    attach_again_ = !released_;
  });
  return {
      [this](boxed<relay_attached>& message) {
        if (message->exists) note_sender();
        if (message->ask_again) attach_again_ = true;
        // What came between two of its lives.
        if (let_go_at_ && message->exists && message->last_seq != let_go_at_->seq) tell_news();
        if (!message->exists && !message->is_unknown) let_go_at_.reset();
        relay_.on_attached(*message);
      },
      [this](boxed<unheard_since>& message) {
        tell_news(message->news);
        relay_.on_unheard(*message, shared_.time.boot());
      },
      [this](boxed<topic_active>& message) { tell_news(*message); },
      [this](boxed<relay_released>&) {
        if (relay_.subscription_count() != 0) return attach_to_topic();
        released_ = true;
        let_go_at_.reset();
      },
      [this](boxed<deliver>& message) {
        note_sender();
        ++owed_credits_;
        tell_news();
        relay_.on_deliver(std::move(message->batch), shared_.time.boot());
      },
      [this](boxed<relay_skipped>& message) {
        note_sender();
        tell_news();
        relay_.on_skipped(*message);
      },
      [this](boxed<topic_gone>&) {
        let_go_at_.reset();
        relay_.on_gone();
      },
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
