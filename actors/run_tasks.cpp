// Tasks that a run hands to workers: into the queue once, the end from the queue once, and out of
// the queue when the run goes on without it. The queue keeps who waits for a task until the run has
// said that it knows of the end, so that everything here may be asked and told again.
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "runtime/queue/priority_names.hpp"
#include "runtime/workflow/json_values.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

using boost::json::object;
using runtime::run_event_kind;
using runtime::task_end;
using runtime::text_at;

constexpr auto retry_pause = std::chrono::milliseconds{200};

std::uint64_t number_at(const object& from, std::string_view key) {
  const auto* value = from.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<std::uint64_t>() : 0;
}

failure queue_deleted(std::string_view queue) {
  return {
      failure_class::permanent,
      "task_queue_deleted",
      fmt::format("queue '{}' was deleted, and the task with it", queue)};
}

}  // namespace

void run_host::send_task(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { send_task(command); });
  }
  const auto found = engine_->open().find(command);
  const auto noted = tasks_.find(command);
  if (found == engine_->open().end() || noted == tasks_.end()) return;
  const auto& request = found->second.request;
  auto queue = queue_name::parse(request.name);
  if (!queue) return fail_command(command, queue.error());
  enqueue_task ask;
  ask.queue = {channel_.tenant, *std::move(queue)};
  ask.task.payload = shared_bytes{boost::json::serialize(request.arguments.at("payload"))};
  ask.task.priority = runtime::priority_named(text_at(request.arguments, "priority"))
                          .value_or(runtime::task_priority::normal);
  ask.task.delay_ms = number_at(request.arguments, "delay_ms");
  ask.task.fairness_key = text_at(request.arguments, "fairness_key");
  ask.task.attempts_max = static_cast<std::uint32_t>(number_at(request.arguments, "attempts_max"));
  ask.task.origin = noted->second.origin;
  const auto correlation = next_correlation(command);
  if (parts_.router->control({correlation, std::move(ask)}, home_.run_handle())) return;
  asked_.erase(correlation.raw());
  after(retry_pause, [this, command] { send_task(command); });
}

void run_host::on_task_reply(std::uint32_t command, const control_reply& reply) {
  if (reply.outcome) {
    note_accepted(command);
    return;
  }
  const auto& why = reply.outcome.error();
  // A queue that is deleted meanwhile may know the task, and even how it ended, so it is asked for
  // again: then it is known, or it is a new one in a new queue.
  const auto pause = why.code == errc::queue_not_found ? std::optional{retry_pause}
                                                       : pause_before_sending(command, why);
  if (!pause) return fail_command(command, why);
  after(*pause, [this, command] { send_task(command); });
}

/// The queue is not there, so its tasks are not either.
void run_host::fail_for_queue(std::uint32_t command) {
  const auto noted = tasks_.find(command);
  if (noted != tasks_.end()) fail_command(command, queue_deleted(noted->second.queue));
}

void run_host::on_task_end(const end_task& ask, waiter from) {
  from.what = waiter::ask::task_end;
  from.command = ask.who.command;
  const bool is_other = !start_ || incarnation() != ask.who.seed;
  if (shown_->ended || ask.who.run != shown_->run || is_other) {
    return answer(from, control_answer{actors::done{}});
  }
  // An enqueue that is still on its way must find that the queue knows of the task.
  const bool is_sent =
      std::ranges::any_of(asked_, [&](const auto& one) { return one.second == ask.who.command; });
  if (is_sent) return answer(from, fail(errc::overloaded, "its enqueue is under way", 50));
  if (joins_end(ask.who.run, from)) return;
  input next;
  next.event.command = ask.who.command;
  next.run = ask.who.run;
  next.event.kind =
      ask.how == task_end::completed ? run_event_kind::completed : run_event_kind::failed;
  if (ask.how == task_end::completed) {
    // Workers complete with whatever they like.
    next.event.data = json_or_text(ask.text);
  } else if (ask.how == task_end::dead) {
    next.event.why = failure{
        failure_class::permanent,
        "task_dead",
        fmt::format(
            "{} (after {} attempt{})",
            ask.text.empty() ? "no worker completed it" : ask.text,
            ask.attempts,
            ask.attempts == 1 ? "" : "s")};
  } else {
    next.event.why = queue_deleted(ask.text);
  }
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
}

void run_host::note_task(const runtime::run_event& event) {
  if (event.kind == run_event_kind::issued) {
    if (event.what != command_kind::task) return;
    const task_waiter who{channel_.topic.str(), row_->run, event.command, incarnation()};
    tasks_[event.command] = {event.name, format_origin(who)};
    return;
  }
  tasks_.erase(event.command);
}

}  // namespace callboard::actors
