#include "actors/group_companion.hpp"

#include <caf/send.hpp>

#include <chrono>

namespace callboard::actors {

namespace {

/// How precisely holds, retries and waits are kept.
constexpr std::chrono::milliseconds tick_interval{50};
/// A tick that is later than that tells that the node stood still.
constexpr boot_time pause_min = std::chrono::seconds{1};

}  // namespace

companion::companion(
    caf::actor_config& config, shard_id shard, const broker_parts& parts, caf::actor parent)
    : event_based_actor{config}, shard_{shard}, parts_{parts}, parent_{std::move(parent)} {
  set_exit_handler([this](caf::exit_msg& message) { on_exit_asked(message); });
}

void companion::on_exit_asked(const caf::exit_msg& message) {
  is_stopping_ = true;
  if (under_way_ == 0 || message.reason == caf::exit_reason::kill) quit(message.reason);
}

void companion::on_continuation(continuation& rest) {
  rest.run();
  // What it holds goes with it, not with the message.
  rest.run = nullptr;
  --under_way_;
  if (is_stopping_ && under_way_ == 0) quit(caf::exit_reason::user_shutdown);
}

result<void>
companion::append(std::vector<storage::record_draft> records, bool frees_space, append_done done) {
  if (is_stopping_) return stopping();
  if (!activation_) return fail(errc::overloaded, "the shard is not active yet", 100);
  storage::append_request request;
  request.shard = shard_;
  request.activation = *activation_;
  request.records = std::move(records);
  request.frees_space = frees_space;
  request.listener = [this,
                      self = caf::actor_cast<caf::actor>(this),
                      activation = *activation_,
                      done = std::move(done)](
                         storage::append_stage,
                         const result<storage::append_receipt>& outcome) mutable {
    resume(std::move(self), [this, activation, done = std::move(done), outcome]() mutable {
      if (!outcome) report_failed_append(activation);
      done(outcome);
    });
  };
  auto queued = parts_.journal.append(std::move(request));
  if (queued) ++under_way_;
  return queued;
}

void companion::report_failed_append(activation_id failed) {
  send(parent_, box(companion_append_failed{failed}));
}

bool companion::may_be_offered_again(const error& why) {
  return why.code == errc::overloaded || why.code == errc::stale_term
         || why.code == errc::cancelled;
}

void companion::offer_again(const error& why) {
  if (activation_ && why.code != errc::overloaded) report_failed_append(*activation_);
  arm_tick();
}

void companion::answer(const pending_request& to, result<control_answer> outcome) {
  if (to.reply_to) send(to.reply_to, box(control_reply{to.correlation, std::move(outcome)}));
}

void companion::arm_tick() {
  if (is_stopping_ || std::exchange(tick_armed_, true)) return;
  tick_due_ = boot() + tick_interval;
  delayed_send(this, tick_interval, box(companion_tick{}));
}

caf::message_handler companion::common_handlers() {
  return {
      [this](const boxed<continuation>& rest) { on_continuation(*rest); },
      [this](const boxed<companion_tick>&) {
        tick_armed_ = false;
        note_late(boot() - tick_due_);
        on_tick();
      },
      [this](const boxed<shard_activated>& message) {
        const bool first = !activation_;
        activation_ = message->activation;
        on_activated(first);
      },
  };
}

/// Busy is late as well, but again and again: between two pauses it was on time for as long as the
/// first took. So what ends by the clock does, at the latest after twice its time.
void companion::note_late(boot_time late) {
  if (late < pause_min) return;
  const bool is_pause = !late_at_ || tick_due_ - *late_at_ >= late_by_;
  late_at_ = boot();
  late_by_ = late;
  if (is_pause) on_pause(late);
}

void companion::resume(caf::actor self, std::move_only_function<void()> rest) {
  caf::anon_send(self, box(continuation{std::move(rest)}));
}

}  // namespace callboard::actors
