// Consumer groups of a WebSocket session: fetch, consume, ack, nack.
#include "gateway/websocket_session.hpp"

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::uint32_t fetch_max = 1000;
constexpr std::uint32_t full_retry_ms = 100;

}  // namespace

result<actors::group_ref>
websocket_session::group_of(const std::string& topic, const std::string& group) const {
  auto at = topic_of(topic);
  if (!at) return std::unexpected{at.error()};
  auto name = group_name::parse(group);
  if (!name) return std::unexpected{name.error()};
  if (!who_.may_subscribe(topic)) {
    return fail(errc::forbidden, "the token does not allow to read " + topic);
  }
  return actors::group_ref{std::move(*at), std::move(*name)};
}

bool websocket_session::remember_group(const op_id& id, const actors::group_ref& group) {
  if (groups_.contains(group)) return true;
  if (groups_.size() >= environment_.settings.limits.subscriptions_max) {
    fail_op(
        id,
        {errc::too_many_subscriptions,
         "this connection takes from limits.subscriptions_max groups already: open another one"});
    return false;
  }
  groups_.insert(group);
  return true;
}

void websocket_session::perform(const op_id& id, const ops::fetch& op) {
  auto group = group_of(op.topic, op.group);
  if (!group) return fail_op(id, group.error());
  if (op.max == 0 || op.max > fetch_max) {
    return fail_op(id, {errc::bad_request, "\"max\" must be 1 to 1000"});
  }
  const auto wait_ms = std::min(op.wait_ms, environment_.settings.groups.fetch_wait_ms_max);
  if (!remember_group(id, *group)) return;
  const auto room = std::max<std::uint64_t>(output_.room_bytes(), 1);
  ask(id, actors::fetch_deliveries{std::move(*group), port_.id(), op.max, wait_ms, room}, wait_ms);
}

bool websocket_session::has_room_for_fetched(const op_id& id, actors::control_answer& answer) {
  auto* list = std::get_if<actors::delivery_list>(&answer);
  if (list == nullptr || list->deliveries.empty()) return true;
  keep_what_fits(*list);
  if (!list->deliveries.empty()) return true;
  fail_op(
      id,
      {errc::overloaded,
       "the connection has not read what it was sent before: read that, then fetch again",
       full_retry_ms});
  return false;
}

void websocket_session::keep_what_fits(actors::delivery_list& list) {
  auto room = stage_ == stage::open && output_.has_room() ? output_.room_bytes() : 0;
  auto first_out = list.deliveries.begin();
  for (; first_out != list.deliveries.end() && room != 0; ++first_out)
    room -= std::min<std::uint64_t>(room, first_out->event.stored.size());
  if (first_out == list.deliveries.end()) return;
  tell_broker(actors::put_back(list.group, {first_out, list.deliveries.end()}));
  list.deliveries.erase(first_out, list.deliveries.end());
}

void websocket_session::perform(const op_id& id, const ops::consume& op) {
  auto group = group_of(op.topic, op.group);
  if (!group) return fail_op(id, group.error());
  auto found =
      std::ranges::find_if(consumers_, [&](const auto& one) { return one.group == *group; });
  if (found == consumers_.end()) {
    if (op.credits == 0) return answer([&](std::string& out) { protocol_->done(out, id); });
    if (!remember_group(id, *group)) return;
    consumers_.push_back({.number = ++last_consumer_, .group = std::move(*group)});
    found = consumers_.end() - 1;
    ask_hold_time(*found);
  }
  found->credits = op.credits;
  answer([&](std::string& out) { protocol_->done(out, id); });
  fetch_more(*found);
}

/// How long the group leaves a delivery with us, to know when a silent client's credits are free.
void websocket_session::ask_hold_time(const consumer& one) {
  const auto correlation = port_.next_correlation();
  // Refused: credits of deliveries that are never acked stay used up.
  if (!port_.control({correlation, actors::get_group{one.group}})) return;
  pending_op waiting;
  waiting.kind = pending_kind::hold_time;
  waiting.consumer = one.number;
  waiting.deadline = environment_.time.boot()
                     + std::chrono::milliseconds{environment_.settings.limits.request_timeout_ms};
  pending_.emplace(correlation.raw(), std::move(waiting));
}

void websocket_session::on_hold_time(
    std::uint64_t number, const result<actors::control_answer>& outcome) {
  const auto found =
      std::ranges::find_if(consumers_, [&](const auto& one) { return one.number == number; });
  if (found == consumers_.end() || !outcome) return;
  if (const auto* group = std::get_if<actors::group_description>(&*outcome)) {
    found->hold = std::chrono::milliseconds{group->settings.hold_ms};
  }
}

void websocket_session::fetch_more(consumer& one) {
  if (one.fetching || one.held.size() >= one.credits || stage_ != stage::open || goaway_sent_)
    return;
  if (!output_.has_room() || environment_.time.boot() < one.not_before) return;
  const auto wait_ms = environment_.settings.groups.fetch_wait_ms_max;
  const auto max =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(one.credits - one.held.size(), fetch_max));
  const auto correlation = port_.next_correlation();
  const auto asked = port_.control(
      {correlation,
       actors::fetch_deliveries{
           one.group, port_.id(), max, wait_ms, output_.room_bytes(), correlation.raw()}});
  // Refused for now: the next tick tries again.
  if (!asked) return;
  one.fetching = true;
  pending_op waiting;
  waiting.kind = pending_kind::consume;
  waiting.consumer = one.number;
  waiting.deadline = environment_.time.boot()
                     + std::chrono::milliseconds{
                         std::uint64_t{wait_ms} + environment_.settings.limits.request_timeout_ms};
  pending_.emplace(correlation.raw(), std::move(waiting));
}

void websocket_session::on_consumed(std::uint64_t number, result<actors::control_answer>& outcome) {
  const auto found =
      std::ranges::find_if(consumers_, [&](const auto& one) { return one.number == number; });
  if (found == consumers_.end()) {
    if (outcome) give_back(*outcome);
    return;
  }
  found->fetching = false;
  if (!outcome) {
    auto why = outcome.error();
    found->not_before = environment_.time.boot() + std::chrono::milliseconds{why.retry_after_ms};
    if (is_retryable(why.code)) return;
    why.detail = "group " + found->group.group.str() + ": " + why.detail;
    fail_op({}, why);
    consumers_.erase(found);
    return;
  }
  auto* list = std::get_if<actors::delivery_list>(&*outcome);
  if (list == nullptr) return;
  keep_what_fits(*list);
  if (list->deliveries.empty()) return;
  for (const auto& each : list->deliveries)
    found->held.insert_or_assign(each.token, in_hand{each.event.seq, environment_.time.boot()});
  answer([&](std::string& out) {
    protocol_->deliveries(out, found->group.topic.topic.str(), found->group.group.str(), *list);
  });
  fetch_more(*found);
}

/// Only what this client holds gives credits back: an ack may name deliveries of others, or say the
/// same twice.
void websocket_session::return_credits(
    const actors::group_ref& group,
    const std::vector<std::string>& deliveries,
    std::optional<sequence> up_to) {
  const auto found =
      std::ranges::find_if(consumers_, [&](const auto& one) { return one.group == group; });
  if (found == consumers_.end()) return;
  for (const auto& token : deliveries)
    found->held.erase(token);
  if (up_to) std::erase_if(found->held, [&](const auto& one) { return one.second.seq <= *up_to; });
  fetch_more(*found);
}

/// What was held too long is not the client's any more, and may come again.
void websocket_session::let_go(boot_time now) {
  for (auto& one : consumers_) {
    if (one.hold.count() == 0 || one.held.size() < one.credits) continue;
    std::erase_if(one.held, [&](const auto& held) { return now - held.second.since >= one.hold; });
  }
}

void websocket_session::perform(const op_id& id, ops::ack op) {
  auto group = group_of(op.topic, op.group);
  if (!group) return fail_op(id, group.error());
  const auto acked = op.deliveries;
  if (!ask(id, actors::ack_deliveries{*group, std::move(op.deliveries), op.up_to})) return;
  return_credits(*group, acked, op.up_to);
}

void websocket_session::perform(const op_id& id, ops::nack op) {
  auto group = group_of(op.topic, op.group);
  if (!group) return fail_op(id, group.error());
  const auto nacked = op.deliveries;
  actors::nack_deliveries nack{*group, std::move(op.deliveries), op.delay_ms, std::move(op.error)};
  if (!ask(id, std::move(nack))) return;
  return_credits(*group, nacked, std::nullopt);
}

}  // namespace callboard::gateway
