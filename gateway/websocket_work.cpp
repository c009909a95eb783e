// Task queues of a WebSocket session: work, complete, fail, extend. What a connection holds is
// released when it ends, unless it ends because the node goes.
#include "gateway/control_json.hpp"
#include "gateway/queue_json.hpp"
#include "gateway/websocket_session.hpp"

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::uint32_t wait_ms = 20'000;
/// Tasks of one answer: their payloads are in memory until the client has taken them.
constexpr std::uint64_t tasks_max = 100;
constexpr std::size_t lease_size_max = 100;
constexpr std::uint32_t lease_ms_max = 86'400'000;

}  // namespace

void websocket_session::perform(const op_id& id, const ops::work& op) {
  auto name = queue_name::parse(op.queue);
  if (!name) return fail_op(id, name.error());
  if (!who_.may_work(op.queue)) {
    return fail_op(id, {errc::forbidden, "the token does not allow to work on " + op.queue});
  }
  if (op.lease_ms && (*op.lease_ms == 0 || *op.lease_ms > lease_ms_max)) {
    return fail_op(id, {errc::bad_request, "\"lease_ms\" must be 1 to 86400000"});
  }
  if (!op.worker.empty()) {
    if (auto sound = check_label("worker", op.worker); !sound) return fail_op(id, sound.error());
  }
  const queue_ref queue{who_.tenant, std::move(*name)};
  auto found = std::ranges::find(worked_, queue, &worked_queue::queue);
  if (found == worked_.end()) {
    if (op.credits == 0) return answer([&](std::string& out) { protocol_->done(out, id); });
    if (worked_.size() >= environment_.settings.limits.subscriptions_max) {
      return fail_op(
          id, {errc::too_many_subscriptions, "limits.subscriptions_max queues are worked on here"});
    }
    auto worker = op.worker.empty() ? port_.id() : op.worker + '~' + port_.id();
    worked_.push_back({.number = ++last_consumer_, .queue = queue, .worker = std::move(worker)});
    found = worked_.end() - 1;
  }
  found->credits = op.credits;
  found->lease_ms = op.lease_ms.value_or(0);
  answer([&](std::string& out) { protocol_->done(out, id); });
  lease_more(*found);
}

void websocket_session::lease_more(worked_queue& one) {
  if (one.asking || one.held.size() >= one.credits || stage_ != stage::open || goaway_sent_) return;
  if (!output_.has_room() || environment_.time.boot() < one.not_before) return;
  actors::lease_tasks ask{one.queue, {}};
  ask.lease.worker = one.worker;
  ask.lease.max = static_cast<std::uint32_t>(std::min(one.credits - one.held.size(), tasks_max));
  ask.lease.bytes_max = output_.room_bytes();
  ask.lease.lease_ms = one.lease_ms;
  ask.lease.wait_ms = wait_ms;
  const auto correlation = port_.next_correlation();
  ask.lease.poll = correlation.raw();
  // Refused for now: the next tick tries again.
  if (!port_.control({correlation, std::move(ask)})) return;
  one.asking = true;
  pending_op waiting;
  waiting.kind = pending_kind::lease;
  waiting.consumer = one.number;
  waiting.deadline = environment_.time.boot()
                     + std::chrono::milliseconds{
                         std::uint64_t{wait_ms} + environment_.settings.limits.request_timeout_ms};
  pending_.emplace(correlation.raw(), std::move(waiting));
}

void websocket_session::on_leased(std::uint64_t number, result<actors::control_answer>& outcome) {
  const auto found = std::ranges::find(worked_, number, &worked_queue::number);
  if (found == worked_.end()) {
    if (outcome) give_back(*outcome);
    return;
  }
  found->asking = false;
  if (!outcome) {
    auto why = outcome.error();
    found->not_before = environment_.time.boot() + std::chrono::milliseconds{why.retry_after_ms};
    if (is_retryable(why.code)) return;
    why.detail = "queue " + found->queue.queue.str() + ": " + why.detail;
    fail_op({}, why);
    // What it holds is still to be released when it goes.
    found->credits = 0;
    if (found->held.empty()) worked_.erase(found);
    return;
  }
  const auto* list = std::get_if<actors::leased_tasks>(&*outcome);
  if (list == nullptr) return;
  const auto now = environment_.time.boot();
  for (const auto& task : list->tasks) {
    if (stage_ != stage::open || found->held.size() >= found->credits || !output_.has_room()) {
      decline(task);
      continue;
    }
    const auto ends = now + std::chrono::milliseconds{task.lease_ms};
    found->held.insert_or_assign(task.lease, std::pair{ends, task.lease_ms});
    answer([&](std::string& out) { protocol_->task(out, task, found->queue.queue.str()); });
  }
  lease_more(*found);
}

/// Asks anew, and for what was asked before no task is looked for any more.
void websocket_session::on_lease_late(std::uint64_t number, std::uint64_t poll, const error& late) {
  const auto found = std::ranges::find(worked_, number, &worked_queue::number);
  if (found == worked_.end()) return;
  tell_broker(actors::leave_queue{found->queue, found->worker, actors::left_leases::kept, {poll}});
  result<actors::control_answer> nothing = std::unexpected{late};
  on_leased(number, nothing);
}

void websocket_session::decline(const actors::leased_task& task) {
  actors::fail_task back{who_.tenant, {}};
  back.fail.lease = task.lease;
  back.fail.error = "the worker had stopped, its connection was full, or the task came too late";
  // Does not count as an attempt.
  back.fail.retry_after_ms = 0;
  tell_broker(std::move(back));
}

/// A lease is worth nothing without its random part: whoever has it was given it.
bool websocket_session::may_end(const op_id& id, const std::string& lease) {
  if (who_.work.empty()) {
    fail_op(id, {errc::forbidden, "the token does not allow to work on any queue"});
    return false;
  }
  if (lease.size() > lease_size_max) {
    fail_op(id, {errc::lease_lost, "this is not a lease of this server"});
    return false;
  }
  return true;
}

void websocket_session::perform(const op_id& id, ops::complete op) {
  if (!may_end(id, op.lease)) return;
  const auto lease = op.lease;
  actors::complete_task done{who_.tenant, {{}, std::move(op.lease), std::move(op.result)}};
  if (ask(id, std::move(done))) return_credit(lease);
}

void websocket_session::perform(const op_id& id, ops::fail op) {
  if (!may_end(id, op.lease)) return;
  const auto lease = op.lease;
  actors::fail_task failed{
      who_.tenant,
      {{}, std::move(op.lease), std::move(op.error), op.is_retryable, op.retry_after_ms}};
  if (ask(id, std::move(failed))) return_credit(lease);
}

void websocket_session::perform(const op_id& id, ops::extend op) {
  if (!may_end(id, op.lease)) return;
  for (auto& one : worked_) {
    const auto held = one.held.find(op.lease);
    if (held == one.held.end()) continue;
    auto& [ends, lease_ms] = held->second;
    lease_ms = std::min(op.lease_ms.value_or(lease_ms), lease_ms_max);
    ends = environment_.time.boot() + std::chrono::milliseconds{lease_ms};
  }
  ask(id, actors::extend_lease{who_.tenant, {{}, std::move(op.lease), op.lease_ms.value_or(0)}});
}

void websocket_session::return_credit(const std::string& lease) {
  for (auto& one : worked_) {
    if (one.held.erase(lease) > 0) return lease_more(one);
  }
}

/// What was held too long is not the client's any more, and its credit is free.
void websocket_session::tick_work(boot_time now) {
  for (auto& one : worked_) {
    if (one.held.size() >= one.credits) {
      std::erase_if(one.held, [&](const auto& held) { return now >= held.second.first; });
    }
    lease_more(one);
  }
}

/// When it is the node that goes, the worker lives on: what it has stays its own, and the node that
/// comes next grants it on.
void websocket_session::leave_queues(const std::vector<std::uint64_t>& unseen) {
  const auto now = environment_.time.boot();
  for (auto& one : worked_) {
    const bool works =
        std::ranges::any_of(one.held, [&](const auto& held) { return now < held.second.first; });
    tell_broker(actors::leave_queue{
        std::move(one.queue),
        std::move(one.worker),
        node_leaves_ && works ? actors::left_leases::kept : actors::left_leases::released,
        unseen});
  }
  worked_.clear();
}

void websocket_session::end_forbidden_work() {
  std::erase_if(worked_, [this](auto& one) {
    const auto& queue = one.queue.queue.str();
    if (who_.may_work(queue)) return false;
    fail_op({}, {errc::forbidden, "the new token does not allow to work on " + queue});
    tell_broker(actors::leave_queue{
        std::move(one.queue), std::move(one.worker), actors::left_leases::released, unanswered()});
    return true;
  });
}

}  // namespace callboard::gateway
