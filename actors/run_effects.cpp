// What the commands of a run do once they are recorded, and how their answers come back.
#include "actors/guest_turn.hpp"
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/telling.hpp"
#include "base/hash.hpp"
#include "base/log.hpp"
#include "proto/event.pb.h"
#include "runtime/workflow/correlation.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_limits.hpp"

#include <boost/json/serialize.hpp>
#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;

constexpr auto retry_pause = std::chrono::milliseconds{200};
/// A message on its way keeps its actor in memory: no timer is armed for longer than this.
constexpr auto busy_pause = std::chrono::milliseconds{1};
constexpr auto timer_step_max = std::chrono::milliseconds{1000};
/// A longer time that a model's provider names is waited for on disk: each is a record, and one of
/// `deferrals_max`, so that a provider that is busy all night with short ones would use them up.
constexpr auto waited_by_call_max = std::chrono::minutes{1};

/// Whom the command is for, if what goes there keeps its order.
std::optional<std::string>
target_of(const detail::command_request& request, const std::string& mirror) {
  switch (request.kind) {
  case command_kind::publish:
    return "topic " + request.name;
  case command_kind::update:
    return "topic " + mirror;
  case command_kind::task:
    return "queue " + request.name;
  default:
    return std::nullopt;
  }
}

runtime::encoded_event encode(v1::Event& event) {
  std::string stored(runtime::event_prefix_size, '\0');
  event.AppendToString(&stored);
  const auto body = std::string_view{stored}.substr(runtime::event_prefix_size);
  runtime::write_event_prefix(
      stored.data(), event_identity(event.source(), event.id()), hash_64(body));
  return {shared_bytes{std::move(stored)}};
}

void begin_step(
    const detail::step_body& body,
    const step_attempt& attempt,
    const std::shared_ptr<detail::step_end>& end) {
  const auto thrown = [&](std::string what) {
    end->tell(std::unexpected{failure{failure_class::bug, "exception", std::move(what)}});
  };
  // Whatever ends behind such a request is dropped: its run takes in no more, or not that.
  if (attempt.stop.stop_requested()) {
    return end->tell(
        std::unexpected{failure{failure_class::retryable, "stopped", "before it began"}});
  }
  try {
    body.begin(attempt, end);
  } catch (const std::exception& bug) {
    thrown(bug.what());
  } catch (...) {
    thrown("the step threw something unknown");
  }
}

}  // namespace

/// While the run is busy, its engine is another thread's; who ends meanwhile does the rest when it
/// is read again.
void run_host::when_free(std::move_only_function<void()> rest) {
  if (is_dead_ || is_retired_) return;
  if (!is_busy_) return rest();
  after(busy_pause, [this, rest = std::move(rest)]() mutable { when_free(std::move(rest)); });
}

void run_host::after(std::chrono::milliseconds delay, std::move_only_function<void()> rest) {
  const auto run = row_ ? row_->run : 0;
  home_.run_later(delay, [this, run, rest = std::move(rest)]() mutable {
    // What an earlier run had in mind is nothing to this one.
    if (!row_ || row_->run == run) rest();
  });
}

correlation_id run_host::next_correlation(std::uint32_t command) {
  asked_[++last_correlation_] = command;
  return correlation_id{last_correlation_};
}

bool run_host::may_carry_out() const {
  // While the run is busy, its engine is another thread's: then it is asked again.
  return !is_retired_ && !is_dead_ && engine_ && (is_busy_ || !engine_->blocked());
}

void run_host::carry_out(std::uint32_t command) {
  if (!may_carry_out()) return;
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  const auto& one = found->second;
  if (!may_hand_on(command, one.request)) return;
  // Its timeout goes on while it waits for its turn.
  if (one.request.kind == command_kind::task && one.due) {
    arm_timer({*one.due, command, one.by_wall});
  }
  if (!is_its_turn(command, false)) return;
  switch (one.request.kind) {
  case command_kind::step:
    if (one.due && *one.due > now()) {
      return after(*one.due - now(), [this, command] { start_step(command); });
    }
    return start_step(command);
  case command_kind::sleep:
  case command_kind::signal:
    if (one.due) arm_timer({*one.due, command, one.by_wall});
    return;
  case command_kind::publish:
  case command_kind::update:
    return send_publish(command);
  case command_kind::child:
    return send_child(command);
  case command_kind::model:
    if (one.due && *one.due > now()) {
      return after(*one.due - now(), [this, command] { start_model(command); });
    }
    return start_model(command);
  case command_kind::call:
    if (one.due) arm_timer({*one.due, command, one.by_wall});
    return send_call(command);
  case command_kind::task:
    return send_task(command);
  case command_kind::version:
  case command_kind::reply:
    return;
  }
}

bool run_host::is_its_turn(std::uint32_t command, bool is_again) {
  const auto& request = engine_->open().at(command).request;
  auto target = target_of(request, start_->identity.mirror);
  return !target || lanes_.enter(*std::move(target), command, is_again);
}

void run_host::leave_lane(std::uint32_t command) {
  const auto next = lanes_.leave(command);
  if (!next) return;
  when_free(
      [this, next = *next] { next.is_again ? send_again(next.command) : carry_out(next.command); });
}

bool run_host::may_hand_on(std::uint32_t command, const detail::command_request& request) {
  if (request.kind == command_kind::reply || request.kind == command_kind::version) return true;
  if (!runtime::is_larger(request.arguments, limits().arguments_bytes_max)) return true;
  after(std::chrono::milliseconds{1}, [this, command] { refuse_arguments(command); });
  return false;
}

void run_host::refuse_arguments(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { refuse_arguments(command); });
  }
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  auto why = runtime::arguments_too_large(limits().arguments_bytes_max);
  if (found->second.request.kind == command_kind::update) {
    return refuse_publish(command, error{errc::too_large, why.message, 0});
  }
  fail_command(command, std::move(why));
}

// -- steps ---------------------------------------------------------------------------------------

void run_host::start_step(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_)
    return after(std::chrono::milliseconds{1}, [this, command] { start_step(command); });
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  begin_attempt(command);
  const auto& body = found->second.request.body;
  ++(body.is_async ? async_steps_running_ : steps_running_);
  // At the end of the turn, when its thread may go on with the code.
  ready_steps_.push_back(
      {command, {found->second.attempt, command_id(command), stops_.begin(command)}, body});
}

void run_host::take_back_engine() {
  if (!std::exchange(is_offered_, false) || loan_->ask_back()) return;
  is_busy_ = true;
  is_code_at_work_ = true;
}

void run_host::offer_engine() {
  const bool waits_for_steps = steps_running_ != 0 && inputs_.empty() && !is_busy_ && !is_dead_
                               && !is_retired_ && engine_ && !engine_->blocked() && row_
                               && !row_->ended;
  if (steps_running_ != 0 && engine_ && !(loan_ && loan_->is_of(engine_))) {
    loan_ = std::make_shared<engine_loan>(engine_);
  }
  if (waits_for_steps) {
    is_offered_ = true;
    loan_->offer();
  }
  for (auto& one : std::exchange(ready_steps_, {}))
    post_step(std::move(one));
}

void run_host::post_step(ready_step next) {
  const auto command = next.command;
  const bool is_async = next.body.is_async;
  auto posted = parts_.steps->post_next([this,
                                         self = home_.run_handle(),
                                         loan = is_async ? nullptr : loan_,
                                         &parts = parts_,
                                         shard = shard_,
                                         workflow = id(),
                                         is_async,
                                         limits = runtime::limits_of(limits()),
                                         started = row_->started,
                                         next = std::move(next),
                                         run = row_->run]() mutable {
    const auto began = parts.time.boot();
    // Nothing of the run is touched here but what is captured: it may have gone.
    std::optional<caf::message> rest;
    const auto tell = [self, kept = is_async ? nullptr : &rest](boxed<run_continuation> one) {
      if (kept == nullptr) return caf::anon_send(self, std::move(one));
      *kept = caf::make_message(std::move(one));
    };
    auto receive = [=, this, &parts, command = next.command, attempt = next.attempt.number](
                       outcome<json> ended) mutable noexcept {
      if (auto* engine = loan ? loan->take() : nullptr) {
        const auto ended_at = parts.time.boot();
        std::optional<run_event> input;
        runtime::run_outputs outputs;
        const auto open = engine->open().find(command);
        if (open != engine->open().end() && open->second.attempt == attempt) {
          const auto when = parts.journal.shard_time(shard);
          input = runtime::event_of(
              {command, attempt, std::move(ended)}, open->second, workflow, when, limits);
          input->time = std::max(when, started);
          outputs = engine->deliver(*input);
          close_if_over(*engine, outputs);
        }
        const auto turn = parts.time.boot() - ended_at;
        return tell(box(run_continuation{[this,
                                          took = ended_at - began,
                                          turn,
                                          loan = std::move(loan),
                                          input = std::move(input),
                                          outputs = std::move(outputs)]() mutable {
          costs_.note_step(took);
          costs_.note_turn(turn);
          on_step_driven(*loan, std::move(input), std::move(outputs));
        }}));
      }
      tell(box(run_continuation{
          [this, began, is_async, command, run, attempt, ended = std::move(ended)]() mutable {
            costs_.note_step(parts_.time.boot() - began);
            --(is_async ? async_steps_running_ : steps_running_);
            on_step_done(command, attempt, run, std::move(ended));
          }}));
    };
    begin_step(next.body, next.attempt, std::make_shared<detail::step_end>(std::move(receive)));
    if (rest) tell_and_run(self, *std::move(rest));
  });
  if (posted) return;
  --(is_async ? async_steps_running_ : steps_running_);
  after(retry_pause, [this, command] { start_step(command); });
}

void run_host::on_step_driven(
    const engine_loan& loan, std::optional<run_event> input, runtime::run_outputs outputs) {
  --steps_running_;
  if (!engine_ || !loan.is_of(engine_)) {
    // It was given up meanwhile, so this is the last to know its code.
    close(loan.engine());
    return home_.run_settled();
  }
  is_code_at_work_ = false;
  if (input) stops_.ended(input->command);
  if (input && !is_dead_) {
    is_fresh_ = false;
    owe_if_left(*input);
    batch_.reserve(1 + outputs.events.size());
    batch_.push_back({std::move(*input), row_->run});
    return end_turn(std::move(outputs));
  }
  is_busy_ = false;
  home_.run_settled();
  pump();
}

void run_host::on_step_done(
    std::uint32_t command, std::uint32_t attempt, std::uint32_t run, outcome<json> ended) {
  if (is_dead_) return home_.run_settled();
  if (run == row_->run) stops_.ended(command);
  input next;
  next.run = run;
  next.event.command = command;
  next.step = step_result{attempt, std::move(ended)};
  offer(std::move(next));
  home_.run_settled();
}

void run_host::complete_command(std::uint32_t command, json with) {
  leave_lane(command);
  input next;
  next.event.kind = run_event_kind::completed;
  next.event.command = command;
  next.event.data = std::move(with);
  offer(std::move(next));
}

void run_host::fail_command(std::uint32_t command, const error& why) {
  fail_command(
      command, failure{failure_class::permanent, std::string{name_of(why.code)}, why.detail});
}

void run_host::fail_command(std::uint32_t command, failure why) {
  input next;
  next.event.kind = run_event_kind::failed;
  next.event.command = command;
  next.event.why = runtime::recordable(std::move(why));
  offer(std::move(next));
}

void run_host::end_work() {
  models_.cancel_all();
  stops_.ask_all();
}

// -- model calls ---------------------------------------------------------------------------------

void run_host::start_model(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { start_model(command); });
  }
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end() || found->second.request.kind != command_kind::model) return;
  begin_attempt(command);
  if (runtime::is_unasked(*shown_, command)) return record_begun(command);
  // What is recorded outlives this process, and lets the run rest.
  const bool may_record = runtime::may_be_put_off(found->second, runtime::limits_of(limits()));
  auto begun = models_.start(
      command,
      found->second,
      channel_,
      *start_,
      may_record ? std::optional{waited_by_call_max} : std::nullopt);
  if (begun || begun.error().code == errc::draining) return;
  const auto& why = begun.error();
  const std::chrono::milliseconds hint{why.retry_after_ms};
  const auto pause = pause_when_turned_away(command, why, "provider_missing");
  after(std::max(hint, pause), [this, command] { start_model(command); });
}

void run_host::model_ended(std::uint32_t command, std::uint32_t attempt, outcome<json> ended) {
  input next;
  next.event.command = command;
  next.step = step_result{attempt, std::move(ended)};
  offer(std::move(next));
}

/// After a replay: calls whose attempt this process did not begin.
void run_host::note_interrupted() {
  for (const auto& [command, one] : engine_->open()) {
    const bool waits = one.due && *one.due > now();
    const bool is_new = std::ranges::find(batch_issued_, command) != batch_issued_.end();
    const bool is_late = timers_.contains(command) && runtime::is_unasked(*row_, command);
    if (one.request.kind == command_kind::model && !waits && !is_new && !is_late) {
      models_.note_interrupted(command);
    }
  }
}

// -- timers --------------------------------------------------------------------------------------

/// In short steps, also because the wall clock may be set meanwhile.
void run_host::arm_timer(const runtime::run_timer& timer) {
  if (!armed_.insert(timer.command).second) return;
  const auto left = std::max(left_of(timer), std::chrono::milliseconds{0});
  after(std::min(left, timer_step_max), [this, command = timer.command] {
    armed_.erase(command);
    on_timer(command);
  });
}

void run_host::on_timer(std::uint32_t command) {
  const auto armed = timers_.find(command);
  if (armed == timers_.end() || is_retired_ || is_dead_) return;
  if (left_of(armed->second) > std::chrono::milliseconds{0}) return arm_timer(armed->second);
  // The engine is with its code.
  if (is_busy_) return after(std::chrono::milliseconds{1}, [this, command] { on_timer(command); });
  if (engine_->blocked()) return;
  const auto open = engine_->open().find(command);
  const auto times_out = [](command_kind kind) {
    return kind == command_kind::call || kind == command_kind::task;
  };
  if (open != engine_->open().end() && times_out(open->second.request.kind)) {
    return fail_command(
        command,
        failure{
            failure_class::retryable,
            "timeout",
            open->second.request.kind == command_kind::call
                ? fmt::format("no reply of '{}' in time", open->second.request.name)
                : fmt::format("no result from queue '{}' in time", open->second.request.name)});
  }
  input next;
  next.event.kind = run_event_kind::timer_fired;
  next.event.command = command;
  // The clock of its code may be behind: it is recorded what that has to show at least.
  const auto& timer = armed->second;
  if (timer.by_wall && timer.due > now()) next.event.due = timer.due;
  offer(std::move(next));
}

// -- publish -------------------------------------------------------------------------------------

result<topic_name> run_host::published_to(const detail::command_request& request) const {
  const bool is_mirrored = request.kind == command_kind::update;
  return topic_name::parse(is_mirrored ? start_->identity.mirror : request.name);
}

void run_host::send_publish(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { send_publish(command); });
  }
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  const auto& request = found->second.request;
  const bool is_mirrored = request.kind == command_kind::update;
  auto topic = published_to(request);
  if (!topic) return refuse_publish(command, topic.error());
  v1::Event event;
  event.set_id(command_id(command));
  event.set_source("/workflows/" + id());
  event.set_type(is_mirrored ? "workflow.update" : runtime::text_at(request.arguments, "type"));
  event.set_subject(is_mirrored ? id() : runtime::text_at(request.arguments, "subject"));
  event.set_datacontenttype("application/json");
  auto& extension = *event.add_extensions();
  extension.set_name("correlationid");
  extension.set_text(runtime::correlation_of(start_->identity));
  event.set_json(boost::json::serialize(request.arguments.at("data")));
  publish_batch batch;
  batch.topic = {channel_.tenant, *topic};
  auto& one = batch.requests.emplace_back();
  one.correlation = next_correlation(command);
  one.events.push_back(encode(event));
  one.id_suffices = true;
  const auto correlation = one.correlation;
  if (parts_.router->publish(std::move(batch), home_.run_handle())) return;
  asked_.erase(correlation.raw());
  after(retry_pause, [this, command] { send_publish(command); });
}

void run_host::on_publish_replies(const publish_replies& replies) {
  const turn here{*this};
  for (const auto& reply : replies.replies) {
    const auto found = asked_.find(reply.correlation.raw());
    if (found == asked_.end()) continue;
    const auto command = found->second;
    asked_.erase(found);
    if (is_dead_ || is_retired_) continue;
    if (reply.outcome) {
      refused_.erase(command);
      const auto& each = reply.outcome->events;
      complete_command(
          command, each.empty() ? reply.outcome->first_seq.raw() : each.front().seq.raw());
    } else if (const auto pause = pause_before_sending(command, reply.outcome.error())) {
      const bool is_unknown = reply.outcome.error().code == errc::outcome_unknown;
      if (is_unknown || refused_.contains(command)) {
        send_again_later(command, *pause);
      } else {
        after(*pause, [this, command] { send_publish(command); });
      }
    } else {
      when_free([this, command, why = reply.outcome.error()] { refuse_publish(command, why); });
    }
  }
}

/// Who watches a run is no concern of its code: an update that the mirror will not take is noted in
/// the history and the run goes on.
void run_host::refuse_publish(std::uint32_t command, const error& why) {
  const auto open = engine_ ? engine_->open().find(command) : decltype(engine_->open().end()){};
  if (!engine_ || open == engine_->open().end()) return;
  if (open->second.request.kind != command_kind::update) return fail_command(command, why);
  log::channel("actors")->warn(
      "workflow {}: topic '{}' did not take an update: {}: {}",
      id(),
      start_->identity.mirror,
      name_of(why.code),
      why.detail);
  complete_command(
      command,
      boost::json::object{{"error", {{"code", name_of(why.code)}, {"message", why.detail}}}});
}

void run_host::on_control_reply(const control_reply& reply) {
  const turn here{*this};
  if (is_busy_ && !is_dead_ && !is_retired_ && lookups_.contains(reply.correlation.raw())) {
    return after(busy_pause, [this, reply] { on_control_reply(reply); });
  }
  if (takes_lookup(reply) || takes_found_reply(reply) || takes_debt_reply(reply)
      || takes_wake_reply(reply)) {
    return;
  }
  const auto found = asked_.find(reply.correlation.raw());
  if (found == asked_.end()) return;
  const auto command = found->second;
  if (is_busy_ && !is_dead_ && !is_retired_) {
    return after(busy_pause, [this, reply] { on_control_reply(reply); });
  }
  asked_.erase(found);
  if (is_dead_ || is_retired_) return;
  if (command == 0) {
    if (!is_heard(reply)) {
      return after(pause_before_telling(parent_tries_++), [this] { tell_parent(); });
    }
    owes_parent_ = false;
    runtime::run_event told;
    told.kind = run_event_kind::parent_told;
    told.time = now();
    is_busy_ = true;
    batch_.push_back({std::move(told), row_->run});
    return append_batch();
  }
  if (is_dead_ || !engine_) return;
  const auto open = engine_->open().find(command);
  if (open == engine_->open().end()) return;
  if (reply.outcome) refused_.erase(command);
  if (open->second.request.kind == command_kind::task) return on_task_reply(command, reply);
  const bool is_call = open->second.request.kind == command_kind::call;
  if (!reply.outcome) {
    const auto& why = reply.outcome.error();
    const bool lacks_agent = is_call && why.code == errc::agent_not_found;
    const auto pause =
        lacks_agent ? pause_when_turned_away(command, why) : pause_before_sending(command, why);
    if (!pause) return fail_command(command, why);
    return after(
        *pause, [this, command, is_call] { is_call ? send_call(command) : send_child(command); });
  }
  if (const auto* answer = std::get_if<workflow_answer>(&*reply.outcome)) {
    is_call ? on_called(command, *answer) : on_child_reply(command, *answer);
  }
}

}  // namespace callboard::actors
