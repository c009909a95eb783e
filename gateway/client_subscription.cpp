#include "gateway/client_subscription.hpp"

#include "base/rfc3339.hpp"

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

/// How much older than what was sent last a mark is: no event takes so long from its shard to here.
constexpr std::chrono::seconds mark_margin{60};

std::string position_of(time_ms when) {
  return "time:" + format_time(when);
}

}  // namespace

client_subscription::~client_subscription() {
  for (; lagging_topics_ > 0; --lagging_topics_)
    owner_->state().lag_ended();
}

void client_subscription::begin(
    actors::relay_hub& hub,
    const topic_ref& topic,
    runtime::slow_policy policy,
    std::optional<std::uint64_t> credits,
    runtime::position from) {
  credits_.left = credits;
  single_ = hub.subscribe(topic, *this, policy, credits_, std::move(from));
  single_->open();
}

result<void> client_subscription::begin_pattern(
    actors::relay_hub& hub,
    const tenant_name& tenant,
    const topic_pattern& pattern,
    runtime::slow_policy policy,
    std::optional<std::uint64_t> credits,
    actors::pattern_start start) {
  credits_.left = credits;
  // Nothing that an earlier subscription of this client was sent is newer.
  marked_ = hub.event_time();
  auto made = hub.subscribe_pattern(tenant, pattern, *this, policy, credits_, std::move(start));
  if (!made) return std::unexpected{made.error()};
  pattern_ = std::move(*made);
  return {};
}

void client_subscription::resume() {
  if (single_ && single_->waits()) single_->resume();
  if (pattern_) pattern_->resume();
}

void client_subscription::started(
    actors::topic_subscription& which,
    const runtime::start_outcome& outcome,
    const runtime::topic_head& head) {
  if (pattern_ != nullptr) {
    // The pattern was answered as a whole; only a loss is news.
    if (!outcome.recovered()) gap(which, outcome.reason, std::nullopt, head);
    return;
  }
  answered_ = true;
  owner_->answer([&](std::string& out) {
    owner_->protocol().subscribed(
        out,
        asked_,
        {.sub = sub_,
         .topic = which.topic().topic.str(),
         .epoch = head.epoch,
         .after = outcome.after,
         .reason = outcome.reason,
         .first_available = outcome.first_available});
  });
}

std::uint32_t client_subscription::write(
    actors::topic_subscription&,
    actors::offered_batch& batch,
    runtime::portion planned,
    actors::delivery_mode mode) {
  auto& output = owner_->output();
  const auto& protocol = owner_->protocol();
  const bool history = mode == actors::delivery_mode::catching_up && planned.count > 1;
  const auto format = history ? protocol.history_format() : protocol.live_format();
  owner_->before_events();
  const auto made = frame_cache::of(batch).take(
      format, sub_, planned, output.room_bytes(), output.room_frames(), output.is_empty());
  if (made.events != 0) {
    owner_->queued(batch.batch->events[planned.skip].time);
    newest_ = std::max(newest_, batch.batch->events[planned.skip + made.events - 1].time);
    owner_->state().delivered(made.events);
    output.push(made.bytes, made.frame_count);
  }
  if (made.events < planned.count) owner_->output_was_full();
  return made.events;
}

void client_subscription::lagging(
    actors::topic_subscription& which, std::uint64_t behind, std::uint64_t dropped) {
  owner_->state().dropped(dropped);
  if (behind != 0) {
    ++lagging_topics_;
    owner_->state().lag_began();
  }
  owner_->answer([&](std::string& out) {
    owner_->protocol().lagging(out, sub_, which.topic().topic.str(), behind, dropped);
  });
}

void client_subscription::caught_up(actors::topic_subscription& which) {
  if (lagging_topics_ != 0) {
    --lagging_topics_;
    owner_->state().lag_ended();
  }
  owner_->answer([&](std::string& out) {
    owner_->protocol().caught_up(out, sub_, which.topic().topic.str());
  });
}

void client_subscription::gap(
    actors::topic_subscription& which,
    runtime::loss reason,
    std::optional<runtime::seq_gap> gone,
    const runtime::topic_head& head) {
  owner_->answer([&](std::string& out) {
    owner_->protocol().gap(
        out,
        {.sub = sub_,
         .topic = which.topic().topic.str(),
         .epoch = head.epoch,
         .reason = reason,
         .gone = gone,
         .first_available =
             gone && reason == runtime::loss::trimmed ? gone->to.next() : head.first_seq});
  });
}

void client_subscription::failed(actors::topic_subscription& which, const error& why) {
  owner_->answer([&](std::string& out) {
    owner_->protocol().sub_failed(out, sub_, which.topic().topic.str(), why);
  });
  if (pattern_ == nullptr) owner_->subscription_ended(sub_);
}

void client_subscription::disconnect(actors::topic_subscription&) {
  owner_->disconnect_slow();
}

void client_subscription::pattern_started(
    const std::map<std::string, runtime::cursor>& cursors, bool complete) {
  answered_ = true;
  owner_->answer([&](std::string& out) {
    const auto since = complete ? std::string{} : position_of(marked_ - mark_margin);
    owner_->protocol().pattern_subscribed(out, asked_, sub_, cursors, since);
  });
}

void client_subscription::pattern_settled() {
  if (newest_ - marked_ <= mark_margin) return;
  marked_ = newest_;
  owner_->answer([&](std::string& out) {
    owner_->protocol().mark(out, sub_, position_of(newest_ - mark_margin));
  });
}

void client_subscription::pattern_failed(const error& why) {
  answered_ = true;
  owner_->answer([&](std::string& out) { owner_->protocol().failed(out, asked_, why); });
  owner_->subscription_ended(sub_);
}

void client_subscription::topic_left_out(const std::string& topic, const error& why) {
  owner_->answer([&](std::string& out) { owner_->protocol().sub_failed(out, sub_, topic, why); });
}

}  // namespace callboard::gateway
