#include "actors/topic_subscription.hpp"

#include "actors/relay.hpp"

#include <algorithm>
#include <utility>

namespace callboard::actors {

topic_subscription::topic_subscription(
    relay& source,
    subscription_output& output,
    runtime::slow_policy policy,
    runtime::credit_account& credits,
    runtime::position from)
    : source_{&source},
      topic_{source.topic()},
      output_{&output},
      core_{policy, credits},
      from_{std::move(from)} {}

topic_subscription::~topic_subscription() {
  if (source_ != nullptr) source_->remove(*this);
}

void topic_subscription::open() {
  if (source_ != nullptr) source_->add(*this);
}

bool topic_subscription::topic_is_gone() const {
  return source_ == nullptr || !source_->head().exists;
}

runtime::cursor topic_subscription::place() const {
  return {source_->head().epoch, sequence{core_.next().raw() - 1}};
}

bool topic_subscription::is_at_rest() const {
  return started_ && !over_ && !reading_ && !waits() && !topic_is_gone();
}

void topic_subscription::abandon() {
  source_ = nullptr;
  over_ = true;
}

void topic_subscription::begin(const runtime::topic_head& head) {
  started_ = true;
  auto outcome = core_.start(from_, head);
  if (news_ == news_age::fresh) {
    // The place in an ephemeral topic is that of the news, not one that its client left.
    if (outcome.reason == runtime::loss::no_history) outcome.reason = runtime::loss::none;
    holds_ephemeral_ = true;
  }
  output_->started(*this, outcome, head);
  resume();
}

void topic_subscription::restart(const runtime::topic_head& head, bool existed_before) {
  drop_waiting();
  lose_streams();
  const auto gone = core_.restart(head);
  if (existed_before) output_->gap(*this, runtime::loss::epoch_changed, gone, head);
  if (!stalled_) resume();
}

void topic_subscription::topic_gone(const runtime::topic_head& head) {
  drop_waiting();
  std::optional<runtime::seq_gap> gone;
  if (core_.behind_by() > 0) gone = runtime::seq_gap{core_.next(), core_.head()};
  output_->gap(*this, runtime::loss::topic_missing, gone, head);
}

void topic_subscription::deliver(
    offered_batch& batch, runtime::portion planned, delivery_mode mode) {
  if (planned.count == 0) return;
  const auto taken = output_->write(*this, batch, planned, mode);
  if (taken < planned.count) stalled_ = true;
  tell(core_.sent(planned, taken));
}

void topic_subscription::offer(const offered_batch_ptr& batch) {
  if (!started_ || over_) return;
  ++offered_;
  if (batch->batch->ephemeral) return offer_ephemeral(batch);
  if (!waiting_.empty()) flush_ephemeral();
  const auto planned = core_.offer(batch->first_seq(), batch->count());
  if (planned.count != 0) return deliver(*batch, planned, delivery_mode::live);
  if (!reading_ && !stalled_) resume();
}

void topic_subscription::skipped(sequence last, std::uint64_t dropped) {
  if (!started_ || over_) return;
  dropped_ += dropped;
  lose_streams();
  core_.skipped(last);
  if (!stalled_) resume();
}

void topic_subscription::tell(const runtime::advice& what) {
  if (what.tell_lagging) {
    holds_ephemeral_ = false;
    drop_waiting();
    output_->lagging(*this, core_.behind_by(), std::exchange(dropped_, 0));
  }
  if (what.tell_caught_up) output_->caught_up(*this);
  if (what.disconnect) {
    over_ = true;
    output_->disconnect(*this);
  }
}

void topic_subscription::resume() {
  stalled_ = false;
  if (!started_ || over_ || std::exchange(pumping_, true)) return;
  flush_ephemeral();
  while (!over_ && !stalled_ && !reading_) {
    const auto at = core_.wanted();
    if (!at) break;
    const auto kept = core_.is_searching() ? nullptr : source_->find(*at);
    if (kept != nullptr) {
      feed(*kept);
      continue;
    }
    reading_ = true;
    source_->read_for(*this);
  }
  if (!over_ && !stalled_) flush_ephemeral();
  pumping_ = false;
  want_snapshot();
}

void topic_subscription::want_snapshot() {
  const bool has_room = !over_ && !stalled_ && waiting_.empty() && core_.takes_ephemeral();
  if (lacks_snapshot_ && has_room && source_ != nullptr) source_->want_snapshot();
}

std::uint64_t topic_subscription::waiting_count() const {
  std::uint64_t count = 0;
  for (const auto& one : waiting_)
    count += one.batch->count() - one.sent;
  return count;
}

void topic_subscription::lose_streams() {
  lacks_snapshot_ = true;
  std::erase_if(waiting_, [](const waiting_batch& one) {
    return one.batch->batch->role != runtime::frame_role::event;
  });
}

void topic_subscription::feed(offered_batch& batch) {
  const auto plan = core_.page(batch.first_seq(), batch.count());
  if (plan.gap) output_->gap(*this, runtime::loss::trimmed, plan.gap, source_->head());
  deliver(batch, plan.send, delivery_mode::catching_up);
}

void topic_subscription::page(
    const offered_batch_ptr& page, sequence first_seq, sequence next_from) {
  reading_ = false;
  if (over_) return;
  if (page != nullptr) {
    feed(*page);
    if (!stalled_) resume();
    return;
  }
  const auto plan = core_.empty_page(first_seq, next_from);
  if (plan.gap) output_->gap(*this, runtime::loss::trimmed, plan.gap, source_->head());
  tell(plan.tell);
  if (!plan.retry_later && !stalled_) resume();
}

void topic_subscription::read_failed(const error& why) {
  reading_ = false;
  if (over_) return;
  over_ = true;
  output_->failed(*this, why);
}

void topic_subscription::drop_waiting() {
  lose_streams();
  for (const auto& one : waiting_)
    dropped_ += one.batch->count() - one.sent;
  waiting_ = {};
}

void topic_subscription::offer_ephemeral(const offered_batch_ptr& batch) {
  const auto role = batch->batch->role;
  if (role == runtime::frame_role::stream && lacks_snapshot_) return;
  if (role == runtime::frame_role::snapshot && !lacks_snapshot_) return;
  const bool is_event = role == runtime::frame_role::event;
  if (!core_.takes_ephemeral() && !(holds_ephemeral_ && is_event)) {
    if (is_event) dropped_ += batch->count();
    return lose_streams();
  }
  if (role == runtime::frame_role::snapshot) lacks_snapshot_ = false;
  if (batch->count() == 0) return;
  waiting_.push_back({batch, 0});
  if (!stalled_) flush_ephemeral();
  if (waiting_.empty()) return;
  if (core_.policy() == runtime::slow_policy::disconnect && stalled_) {
    return tell({.disconnect = true});
  }
  // The oldest go until what waits is within its bound again.
  const std::uint32_t keep =
      core_.policy() == runtime::slow_policy::latest ? 1 : waiting_events_max;
  for (auto waiting = waiting_count(); waiting > keep; waiting = waiting_count()) {
    auto& oldest = waiting_.front();
    if (oldest.batch->batch->role != runtime::frame_role::event) {
      lose_streams();
      continue;
    }
    const auto left = oldest.batch->count() - oldest.sent;
    const auto gone = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, waiting - keep));
    oldest.sent += gone;
    dropped_ += gone;
    if (gone == left) waiting_.erase(waiting_.begin());
  }
}

void topic_subscription::flush_ephemeral() {
  if (core_.takes_ephemeral()) holds_ephemeral_ = false;
  if (holds_ephemeral_) return;
  if (!waiting_.empty() && !core_.takes_ephemeral()) drop_waiting();
  if (dropped_ != 0 && !core_.is_behind()) output_->lagging(*this, 0, std::exchange(dropped_, 0));
  while (!waiting_.empty()) {
    auto& oldest = waiting_.front();
    const auto left = core_.credits().allowed(oldest.batch->count() - oldest.sent);
    if (left == 0) return;
    const auto taken =
        output_->write(*this, *oldest.batch, {oldest.sent, left}, delivery_mode::live);
    core_.credits().take(taken);
    oldest.sent += taken;
    if (taken < left) {
      stalled_ = true;
      return;
    }
    if (oldest.sent == oldest.batch->count()) waiting_.erase(waiting_.begin());
  }
}

}  // namespace callboard::actors
