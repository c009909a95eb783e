#include "actors/group_companion.hpp"

#include <caf/send.hpp>

#include <chrono>

namespace callboard::actors {

namespace {

/// How precisely holds, retries and waits are kept.
constexpr std::chrono::milliseconds tick_interval{50};

}  // namespace

companion::companion(
    caf::actor_config& config, shard_id shard, const broker_parts& parts, caf::actor parent)
    : event_based_actor{config}, shard_{shard}, parts_{parts}, parent_{std::move(parent)} {}

result<void>
companion::append(std::vector<storage::record_draft> records, bool frees_space, append_done done) {
  if (!activation_) return fail(errc::overloaded, "the shard is not active yet", 100);
  storage::append_request request;
  request.shard = shard_;
  request.activation = *activation_;
  request.records = std::move(records);
  request.frees_space = frees_space;
  request.listener = [self = caf::actor_cast<caf::actor>(this), done = std::move(done)](
                         storage::append_stage,
                         const result<storage::append_receipt>& outcome) mutable {
    resume(self, [done = std::move(done), outcome]() mutable { done(outcome); });
  };
  return parts_.journal.append(std::move(request));
}

void companion::report_failed_append() {
  if (activation_) send(parent_, box(companion_append_failed{*activation_}));
}

bool companion::may_be_offered_again(const error& why) {
  return why.code == errc::overloaded || why.code == errc::stale_term
         || why.code == errc::cancelled;
}

void companion::offer_again(const error& why) {
  if (why.code != errc::overloaded) report_failed_append();
  arm_tick();
}

void companion::answer(const pending_request& to, result<control_answer> outcome) {
  if (to.reply_to) send(to.reply_to, box(control_reply{to.correlation, std::move(outcome)}));
}

void companion::arm_tick() {
  if (std::exchange(tick_armed_, true)) return;
  delayed_send(this, tick_interval, box(companion_tick{}));
}

caf::message_handler companion::common_handlers() {
  return {
      [](const boxed<continuation>& rest) { rest->run(); },
      [this](const boxed<companion_tick>&) {
        tick_armed_ = false;
        on_tick();
      },
      [this](const boxed<shard_activated>& message) {
        const bool first = !activation_;
        activation_ = message->activation;
        on_activated(first);
      },
  };
}

void companion::resume(const caf::actor& self, std::move_only_function<void()> rest) {
  caf::anon_send(self, box(continuation{std::move(rest)}));
}

}  // namespace callboard::actors
