// The operations of a WebSocket session.
#include "gateway/auth.hpp"
#include "gateway/websocket_session.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace callboard::gateway {

namespace {

/// When to try again after a bound of the connection or the node was met.
constexpr std::uint32_t retry_soon_ms = 50;
constexpr std::uint32_t retry_later_ms = 100;
/// A gathered publish is sent on at this size.
constexpr std::size_t gathered_events_max = 1000;
constexpr std::uint64_t gathered_bytes_max = 1U << 20;
constexpr std::size_t presence_state_max = 4096;

error budget_is_used_up() {
  return {
      errc::overloaded, "node.payload_bytes_max bytes are in flight on this node", retry_later_ms};
}

std::uint64_t bytes_of(const std::vector<std::string>& tokens) {
  std::uint64_t sum = 0;
  for (const auto& token : tokens)
    sum += token.size();
  return sum;
}

/// What a request holds in memory until it is answered; what is small whatever the client sends
/// is not counted.
std::uint64_t bytes_of(const actors::control_body& body) {
  if (const auto* ack = std::get_if<actors::ack_deliveries>(&body)) return bytes_of(ack->tokens);
  if (const auto* nack = std::get_if<actors::nack_deliveries>(&body)) {
    return bytes_of(nack->tokens) + nack->error.size();
  }
  if (const auto* join = std::get_if<actors::presence_join>(&body)) return join->state.size();
  if (const auto* done = std::get_if<actors::complete_task>(&body)) {
    return done->complete.lease.size() + done->complete.result.size();
  }
  if (const auto* failed = std::get_if<actors::fail_task>(&body)) return failed->fail.error.size();
  return 0;
}

}  // namespace

void websocket_session::on_operation(received_op received) {
  if (stage_ != stage::open) return;
  if (!received.op) return fail_op(received.id, received.op.error());
  if (goaway_sent_) {
    return fail_op(received.id, {errc::draining, "the node is going away: reconnect"});
  }
  // Whatever is not a publish takes effect after the publishes before it.
  if (!std::holds_alternative<ops::publish>(*received.op)) flush_publishes();
  std::visit([&](auto& op) { perform(received.id, std::move(op)); }, *received.op);
}

void websocket_session::fail_op(const op_id& id, const error& why) {
  answer([&](std::string& out) { protocol_->failed(out, id, why); });
}

result<topic_ref> websocket_session::topic_of(const std::string& name) const {
  auto topic = topic_name::parse(name);
  if (!topic) return std::unexpected{topic.error()};
  return topic_ref{who_.tenant, std::move(*topic)};
}

bool websocket_session::has_room_for_request(const op_id& id) {
  if (pending_.size() < environment_.settings.limits.requests_in_flight_max) return true;
  fail_op(
      id,
      {errc::overloaded,
       "limits.requests_in_flight_max requests of this connection are unanswered",
       retry_soon_ms});
  return false;
}

bool websocket_session::ask(const op_id& id, actors::control_body body, std::uint32_t wait_ms) {
  if (!has_room_for_request(id)) return false;
  auto charge = environment_.payload_budget.charge(bytes_of(body));
  if (!charge) {
    fail_op(id, budget_is_used_up());
    return false;
  }
  pending_op one;
  const auto correlation = port_.next_correlation();
  if (auto* fetch = std::get_if<actors::fetch_deliveries>(&body)) fetch->poll = correlation.raw();
  const auto asked = port_.control({correlation, std::move(body)});
  if (!asked) {
    fail_op(id, asked.error());
    return false;
  }
  const std::chrono::milliseconds patience{
      std::uint64_t{environment_.settings.limits.request_timeout_ms} + wait_ms};
  one.id = id;
  one.deadline = environment_.time.boot() + patience;
  one.charge = std::move(*charge);
  pending_.emplace(correlation.raw(), std::move(one));
  return true;
}

std::vector<std::uint64_t> websocket_session::unanswered() const {
  std::vector<std::uint64_t> polls;
  for (const auto& [correlation, one] : pending_)
    polls.push_back(correlation);
  return polls;
}

void websocket_session::tell_broker(actors::control_body body) {
  // Refused or not, nobody waits for it: leases and holds run out by themselves.
  static_cast<void>(port_.control({port_.next_correlation(), std::move(body)}));
}

// -- publish ---------------------------------------------------------------------------------

/// The slot for publishes to `topic`, made and checked when it is the first of this read.
result<std::size_t> websocket_session::gather_slot(const std::string& topic) {
  for (std::size_t i = 0; i < gathered_.size(); ++i) {
    if (*gathered_[i].topic == topic) return i;
  }
  auto at = topic_of(topic);
  if (!at) return std::unexpected{at.error()};
  if (!who_.may_publish(topic)) {
    return fail(errc::forbidden, "the token does not allow to publish to " + topic);
  }
  gathered_publish made;
  made.topic = std::make_shared<const std::string>(topic);
  made.batch.topic = std::move(*at);
  gathered_.push_back(std::move(made));
  return gathered_.size() - 1;
}

void websocket_session::perform(const op_id& id, ops::publish op) {
  if (!has_room_for_request(id)) return;
  const auto slot = gather_slot(op.topic);
  if (!slot) return fail_op(id, slot.error());
  const auto now = environment_.time.boot();
  if (const auto wait_ms = rate_.take(op.events.size(), now)) {
    return fail_op(
        id, {errc::rate_limited, "limits.publishes_per_s of this connection is used up", *wait_ms});
  }
  auto& gathered = gathered_[*slot];
  const auto correlation = port_.next_correlation();
  actors::publish_request request{
      .correlation = correlation,
      .events = {},
      .expected = op.expected,
      .level = op.level,
      .ephemeral = op.ephemeral};
  pending_op one;
  one.kind = pending_kind::publish;
  one.together = op.together;
  one.id = id;
  one.topic = gathered.topic;
  one.deadline = now + std::chrono::milliseconds{environment_.settings.limits.request_timeout_ms};
  request.events.reserve(op.events.size());
  one.event_ids.reserve(op.events.size());
  for (auto& event : op.events) {
    gathered.bytes += event.event.stored.size();
    request.events.push_back(std::move(event.event));
    one.event_ids.push_back(std::move(event.id));
  }
  gathered.events += request.events.size();
  gathered.batch.requests.push_back(std::move(request));
  pending_.emplace(correlation.raw(), std::move(one));
  if (gathered.events >= gathered_events_max || gathered.bytes >= gathered_bytes_max) {
    auto full = std::move(gathered);
    gathered_.erase(gathered_.begin() + static_cast<std::ptrdiff_t>(*slot));
    send_gathered(full);
  }
}

void websocket_session::flush_publishes() {
  if (gathered_.empty()) return;
  auto now = std::exchange(gathered_, {});
  for (auto& one : now)
    send_gathered(one);
}

void websocket_session::send_gathered(gathered_publish& gathered) {
  std::vector<std::uint64_t> correlations;
  correlations.reserve(gathered.batch.requests.size());
  for (const auto& request : gathered.batch.requests) {
    correlations.push_back(request.correlation.raw());
  }
  result<void> sent = std::unexpected{budget_is_used_up()};
  if (auto charge = environment_.payload_budget.charge(gathered.bytes)) {
    gathered.batch.charge = std::move(*charge);
    sent = port_.publish(std::move(gathered.batch));
  }
  if (sent) return;
  for (const auto correlation : correlations) {
    const auto found = pending_.find(correlation);
    if (found == pending_.end()) continue;
    fail_op(found->second.id, sent.error());
    pending_.erase(found);
  }
}

void websocket_session::on_publish_replies(actors::publish_replies& replies) {
  if (stage_ == stage::ended) return;
  for (auto& reply : replies.replies) {
    const auto found = pending_.find(reply.correlation.raw());
    if (found == pending_.end()) continue;
    const auto& one = found->second;
    answer([&](std::string& out) {
      if (reply.outcome) {
        protocol_->published(out, one.id, *one.topic, *reply.outcome, one.event_ids, one.together);
      } else {
        protocol_->failed(out, one.id, reply.outcome.error());
      }
    });
    pending_.erase(found);
  }
}

// -- subscriptions ---------------------------------------------------------------------------

result<void>
websocket_session::start_subscription(client_subscription& one, const ops::subscribe& op) {
  auto pattern = topic_pattern::parse(op.topic);
  if (!pattern) return std::unexpected{pattern.error()};
  if (!who_.may_subscribe(op.topic)) {
    return fail(errc::forbidden, "the token does not allow to subscribe to " + op.topic);
  }
  const auto slow =
      op.slow.empty() ? runtime::slow_policy::lag : runtime::slow_policy_named(op.slow);
  if (!slow) {
    return fail(errc::bad_request, "\"slow\" must be lag, latest, drop or disconnect");
  }
  auto from = runtime::parse_position(op.from.empty() ? "now" : op.from);
  if (!from) return std::unexpected{from.error()};
  std::map<std::string, runtime::cursor> cursors;
  for (const auto& [topic, text] : op.cursors) {
    const auto at = runtime::parse_position(text);
    const auto* cursor = at ? std::get_if<runtime::after_cursor>(&*at) : nullptr;
    if (cursor == nullptr) {
      return fail(errc::bad_request, "\"" + topic + "\": a cursor \"<epoch>:<seq>\" expected");
    }
    if (auto name = topic_name::parse(topic); !name) return std::unexpected{name.error()};
    cursors.emplace(topic, cursor->cursor);
  }
  auto& hub = port_.thread().hub;
  if (!pattern->is_wildcard()) {
    if (const auto at = cursors.find(op.topic); at != cursors.end()) {
      from = runtime::after_cursor{at->second};
    }
    one.begin(
        hub, {who_.tenant, topic_name::trusted(op.topic)}, *slow, op.credits, std::move(*from));
    return {};
  }
  if (std::holds_alternative<runtime::from_seq>(*from)
      || std::holds_alternative<runtime::after_cursor>(*from)) {
    return fail(
        errc::bad_request,
        "a pattern begins at now, first or a time, or resumes with {topic: cursor}");
  }
  return one.begin_pattern(
      hub, who_.tenant, *pattern, *slow, op.credits, {std::move(*from), std::move(cursors)});
}

void websocket_session::perform(const op_id& id, const ops::subscribe& op) {
  if (subscriptions_.size() >= environment_.settings.limits.subscriptions_max) {
    return fail_op(
        id,
        {errc::too_many_subscriptions,
         "this connection has limits.subscriptions_max subscriptions already"});
  }
  // In the list before it begins: its first events may come at once.
  auto& one = *subscriptions_.emplace_back(std::make_unique<client_subscription>(
      static_cast<subscription_owner&>(*this), ++last_sub_, id, op.topic));
  one.asked_at = environment_.time.boot();
  if (const auto begun = start_subscription(one, op); !begun) {
    subscriptions_.pop_back();
    fail_op(id, begun.error());
  }
}

void websocket_session::perform(const op_id& id, const ops::unsubscribe& op) {
  const auto gone =
      std::erase_if(subscriptions_, [&](const auto& one) { return one->sub() == op.sub; });
  if (gone == 0) {
    return fail_op(id, {errc::not_found, "there is no subscription " + std::to_string(op.sub)});
  }
  answer([&](std::string& out) { protocol_->done(out, id); });
}

void websocket_session::perform(const op_id& id, const ops::credit& op) {
  const auto found =
      std::ranges::find_if(subscriptions_, [&](const auto& one) { return one->sub() == op.sub; });
  if (found == subscriptions_.end()) {
    return fail_op(id, {errc::not_found, "there is no subscription " + std::to_string(op.sub)});
  }
  if (id.given) answer([&](std::string& out) { protocol_->done(out, id); });
  (*found)->add_credits(op.credits);
}

// -- presence, token, ping -------------------------------------------------------------------

void websocket_session::perform(const op_id& id, ops::presence op) {
  auto topic = topic_of(op.topic);
  if (!topic) return fail_op(id, topic.error());
  if (!who_.may_subscribe(op.topic)) {
    return fail_op(id, {errc::forbidden, "the token does not allow to read " + op.topic});
  }
  if (op.action == "list") {
    ask(id, actors::presence_list{std::move(*topic)});
    return;
  }
  if (op.member.empty()) op.member = who_.subject.empty() ? port_.id() : who_.subject;
  if (op.member.size() > 255 || op.state.size() > presence_state_max) {
    return fail_op(id, {errc::too_large, "a member has at most 255 bytes, its state at most 4096"});
  }
  const auto same = [&](const actors::presence_renew& one) {
    return one.topic == *topic && one.member == op.member;
  };
  if (op.action == "leave") {
    std::erase_if(present_, same);
    ask(id, actors::presence_leave{std::move(*topic), std::move(op.member), false});
    return;
  }
  if (op.action != "join" && op.action != "update") {
    return fail_op(id, {errc::bad_request, "\"action\" must be join, update, leave or list"});
  }
  const bool joins = std::ranges::none_of(present_, same);
  if (joins) {
    if (present_.size() >= environment_.settings.limits.subscriptions_max) {
      return fail_op(
          id, {errc::too_many_subscriptions, "present in limits.subscriptions_max topics already"});
    }
    present_.push_back({*topic, op.member});
  }
  if (op.state.empty()) op.state = "{}";
  actors::presence_join join{std::move(*topic), std::move(op.member), std::move(op.state)};
  if (!ask(id, std::move(join)) && joins) present_.pop_back();
}

void websocket_session::perform(const op_id& id, const ops::auth& op) {
  if (environment_.verifier != nullptr) {
    auto renewed = environment_.verifier->verify(op.token, environment_.time.wall());
    if (!renewed) return fail_op(id, renewed.error());
    if (renewed->tenant != who_.tenant || renewed->subject != who_.subject) {
      return fail_op(
          id, {errc::forbidden, "the token is of another tenant or subject than this connection"});
    }
    who_ = std::move(*renewed);
  }
  answer([&](std::string& out) { protocol_->done(out, id); });
  end_forbidden();
}

void websocket_session::end_forbidden() {
  std::erase_if(subscriptions_, [this](const auto& one) {
    if (who_.may_subscribe(one->wanted())) return false;
    answer([&](std::string& out) {
      protocol_->sub_failed(
          out,
          one->sub(),
          one->wanted(),
          {errc::forbidden, "the new token does not allow to subscribe to " + one->wanted()});
    });
    return true;
  });
  std::erase_if(consumers_, [this](const auto& one) {
    const auto& topic = one.group.topic.topic.str();
    if (who_.may_subscribe(topic)) return false;
    fail_op({}, {errc::forbidden, "the new token does not allow to consume " + topic});
    return true;
  });
  end_forbidden_work();
  std::erase_if(groups_, [this](const auto& group) {
    if (who_.may_subscribe(group.topic.topic.str())) return false;
    tell_broker(actors::leave_group{group, port_.id(), unanswered()});
    return true;
  });
  std::erase_if(present_, [this](auto& one) {
    if (who_.may_subscribe(one.topic.topic.str())) return false;
    tell_broker(actors::presence_leave{std::move(one.topic), std::move(one.member), false});
    return true;
  });
}

void websocket_session::perform(const op_id& id, const ops::ping&) {
  answer([&](std::string& out) { protocol_->pong(out, id); });
}

void websocket_session::on_control_reply(actors::control_reply& reply) {
  if (stage_ == stage::ended) return;
  const auto found = pending_.find(reply.correlation.raw());
  if (found == pending_.end()) {
    if (reply.outcome) give_back(*reply.outcome);
    return;
  }
  const auto one = std::move(found->second);
  pending_.erase(found);
  if (one.kind == pending_kind::consume) return on_consumed(one.consumer, reply.outcome);
  if (one.kind == pending_kind::lease) return on_leased(one.consumer, reply.outcome);
  if (one.kind == pending_kind::hold_time) return on_hold_time(one.consumer, reply.outcome);
  if (reply.outcome && !has_room_for_fetched(one.id, *reply.outcome)) return;
  answer([&](std::string& out) {
    if (reply.outcome) {
      protocol_->answered(out, one.id, *reply.outcome);
    } else {
      protocol_->failed(out, one.id, reply.outcome.error());
    }
  });
}

void websocket_session::give_back(const actors::control_answer& answer) {
  if (const auto* leased = std::get_if<actors::leased_tasks>(&answer)) {
    for (const auto& task : leased->tasks)
      decline(task);
  }
  const auto* fetched = std::get_if<actors::delivery_list>(&answer);
  if (fetched == nullptr || fetched->deliveries.empty()) return;
  tell_broker(actors::put_back(fetched->group, fetched->deliveries));
}

}  // namespace callboard::gateway
