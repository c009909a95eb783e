// What clients, children and parents ask of a run, and what they are told.
#include "actors/run_host.hpp"
#include "actors/topic_loading.hpp"
#include "base/hash.hpp"
#include "runtime/workflow/canonical_json.hpp"
#include "runtime/workflow/correlation.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_limits.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;
using runtime::run_status;

constexpr std::string_view terminated = "terminated";

/// As versions did that compared texts.
std::uint64_t start_text_hash(const std::string& type, const std::string& input) {
  return hash_64(type + '\0' + input);
}

/// Nobody but a run does it without a name.
json by_hand(std::string_view how, const std::string& who, const std::string& reason) {
  if (who.empty()) return {};
  return boost::json::object{{"how", how}, {"who", who}, {"reason", reason}};
}

error too_many_waiting(errc code, std::string_view setting) {
  return {
      code, fmt::format("too many requests to this workflow wait ({}); retry later", setting), 100};
}

}  // namespace

run_input input_of(const runtime::run_cancel& wish) {
  run_input next;
  next.event.kind = run_event_kind::cancel_requested;
  next.event.data = json(wish.reason);
  next.event.by_hand = by_hand("cancelled", wish.who, wish.reason);
  return next;
}

error conflict_of(const run_waiter& with, const std::string& id) {
  switch (with.what) {
  case run_waiter::ask::start:
    return {
        errc::workflow_exists,
        fmt::format("workflow '{}' was started with another type or input", id),
        0};
  case run_waiter::ask::rerun:
    return {
        errc::workflow_exists,
        fmt::format("workflow '{}' exists, and was not forked so: choose another id", id),
        0};
  case run_waiter::ask::call:
    return {
        errc::id_conflict,
        "this agent has had another message of this key: give each message a key of its own",
        0};
  default:
    return {
        errc::id_conflict,
        fmt::format(
            "workflow '{}' has had a signal of this key with another name or payload: give each "
            "signal a key of its own",
            id),
        0};
  }
}

void run_host::on_request(control_request request, const caf::actor& reply_to) {
  const turn here{*this};
  waiter from{.correlation = request.correlation, .reply_to = reply_to};
  if (is_retired_ || is_dead_) {
    return answer(from, fail(errc::overloaded, "the workflow is being reloaded; retry", 50));
  }
  if (auto* start = std::get_if<start_workflow>(&request.body)) {
    return on_start(*start, std::move(from));
  }
  if (auto* call = std::get_if<call_agent>(&request.body)) return on_call(*call, std::move(from));
  if (auto* rerun = std::get_if<begin_rerun>(&request.body)) {
    return on_rerun(std::move(*rerun), std::move(from));
  }
  auto* cancel = std::get_if<cancel_workflow>(&request.body);
  // A parent's wish that overtakes the commit of the start must not be lost.
  // Nor need a start be committed whose code hangs.
  const bool is_begun = shown_ || (row_ && cancel != nullptr && cancel->parent)
                        || (row_ && std::holds_alternative<terminate_workflow>(request.body));
  const bool is_asked_after = cancel != nullptr
                              || std::holds_alternative<explain_workflow>(request.body)
                              || std::holds_alternative<get_workflow>(request.body);
  if (!is_begun && row_ && is_asked_after) {
    return answer_when_begun(std::move(request), reply_to, parts_.time.boot());
  }
  if (!is_begun) return answer(from, std::unexpected{not_there(channel_)});
  if (auto* signal = std::get_if<signal_workflow>(&request.body)) {
    on_signal(*signal, std::move(from));
  } else if (cancel != nullptr) {
    on_cancel(*cancel, std::move(from));
  } else if (auto* terminate = std::get_if<terminate_workflow>(&request.body)) {
    on_terminate(*terminate, std::move(from));
  } else if (auto* resolve = std::get_if<resolve_command>(&request.body)) {
    on_resolve(*resolve, std::move(from));
  } else if (std::holds_alternative<explain_workflow>(request.body)) {
    on_explain(std::move(from), parts_.time.boot());
  } else if (auto* check = std::get_if<check_run>(&request.body)) {
    on_check(check->is_replied);
    answer(from, control_answer{actors::done{}});
  } else if (auto* wait = std::get_if<await_workflow>(&request.body)) {
    from.wait_ms = wait->wait_ms;
    if (!wait->watcher.empty()) note_watcher(wait->watcher, from);
    await_end(std::move(from));
  } else if (auto* end = std::get_if<end_child>(&request.body)) {
    on_child_end(*end, std::move(from));
  } else if (auto* ended = std::get_if<end_task>(&request.body)) {
    on_task_end(*ended, std::move(from));
  } else {
    answer(from, control_answer{describe(false)});
  }
}

void run_host::on_start(const start_workflow& ask, waiter from) {
  from.wait_ms = ask.wait_ms;
  if (ask.input.size() > limits().input_bytes_max) {
    return answer(
        from,
        too_large(
            "the input of a workflow", limits().input_bytes_max, "workflows.input_bytes_max"));
  }
  auto input = runtime::value_of("the input of a workflow", ask.input);
  if (!input) return answer(from, std::unexpected{input.error()});
  if (row_) {
    // Its parent may word anew what it asked for before.
    const bool is_its_own = ask.parent && is_child_of(*ask.parent);
    const bool is_same = is_its_own || row_->start_hash == runtime::hash_of_named(ask.type, *input)
                         || row_->start_hash == start_text_hash(ask.type, ask.input);
    from.is_conflict = !is_same;
    if (!is_same && shown_) return answer(from, std::unexpected{conflict_of(from, id())});
    if (is_same && ask.parent && may_begin_for(*ask.parent))
      return begin_for(*ask.parent, std::move(from));
    if (shown_ && from.wait_ms != 0) return await_end(std::move(from));
    if (shown_) return answer(from, control_answer{describe(false)});
    batch_waiters_.push_back(std::move(from));
    return;
  }
  if (copy_) return answer(from, fail(errc::overloaded, "a fork takes this id now; retry", 100));
  if (!begin({ask.type, *std::move(input), ask.correlation_id, ask.parent, ask.mirror}, from)) {
    answer(
        from,
        fail(errc::bad_request, fmt::format("this node has no workflow type '{}'", ask.type)));
  }
}

bool run_host::begin(const beginning& what, std::optional<waiter> from) {
  const auto* code = parts_.workflows == nullptr ? nullptr : parts_.workflows->newest(what.type);
  if (code == nullptr) return false;
  runtime::run_start start;
  start.identity.tenant = channel_.tenant.str();
  start.identity.workflow_id = id();
  start.identity.type = what.type;
  start.identity.version = code->version;
  start.identity.correlation_id = runtime::correlation_of(what.correlation_id, id());
  start.identity.mirror = what.mirror;
  start.seed = hash_64(
      fmt::format("{}/{}/{}", channel_.tenant.str(), id(), now().time_since_epoch().count()));
  start.incarnation = start.seed;
  start.build = build_of(start.identity);
  start.input = what.input;
  if (what.parent) {
    start.parent_id = what.parent->channel.topic.str().substr(runtime::channel_prefix.size());
    start.parent_run = what.parent->run;
    start.parent_command = what.parent->command;
    start.parent_incarnation = what.parent->incarnation;
    start.parent_above = what.parent->above;
  }
  auto& row = row_.emplace();
  row.type = what.type;
  row.version = code->version;
  row.correlation_id = start.identity.correlation_id;
  row.start_hash = runtime::hash_of_named(what.type, what.input);
  row.started = now();
  row.first_seq = last_seq_.next();
  engine_ = make_engine(start);
  input first{runtime::make_started(start), std::nullopt, {}};
  if (from) first.waiters.push_back(std::move(*from));
  start_ = std::move(start);
  offer(std::move(first));
  return true;
}

void run_host::on_signal(const signal_workflow& ask, waiter from) {
  from.what = waiter::ask::signal;
  if (is_agent()) return answer(from, fail(errc::wrong_kind, "agents hear messages, not signals"));
  if (ask.payload.size() > limits().signal_bytes_max) {
    return answer(
        from,
        too_large(
            "the payload of a signal", limits().signal_bytes_max, "workflows.signal_bytes_max"));
  }
  auto payload = runtime::value_of("the payload of a signal", ask.payload);
  if (!payload) return answer(from, std::unexpected{payload.error()});
  input next;
  next.event.kind = run_event_kind::signalled;
  next.event.name = ask.signal;
  next.event.id = ask.id;
  next.event.data = *std::move(payload);
  const auto known = ask.id.empty() ? std::nullopt : signal_known(ask.id);
  from.is_conflict = known && *known != said_by(next.event);
  // What is on disk is answered now, also while it is recorded again for the next run.
  const bool is_on_disk = signal_ids_.contains(ask.id) || earlier_signal_ids_.contains(ask.id);
  if (known && !is_on_disk && joins_signal(ask.id, from)) return;
  if (from.is_conflict) return answer(from, std::unexpected{conflict_of(from, id())});
  if (known) {
    // What the run to come leaves out counts there when it is sent again.
    if (copy_ && copy_->ask->order.without_signals) {
      return answer(from, fail(errc::overloaded, "the workflow is being restarted; retry", 50));
    }
    return answer(from, control_answer{workflow_answer{R"({"duplicate":true})"}});
  }
  if (inputs_.size() >= limits().inputs_waiting_max)
    return answer(
        from, std::unexpected{too_many_waiting(errc::inbox_full, "workflows.inputs_waiting_max")});
  next.bytes = runtime::unread_overhead + ask.signal.size() + ask.id.size() + ask.payload.size();
  if (const auto why = refuses_unread(ask.signal, next.bytes))
    return answer(from, std::unexpected{*why});
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
}

std::uint64_t run_host::said_by(const run_event& signal) const {
  if (!is_agent()) return runtime::hash_of_named(signal.name, signal.data);
  const auto& message = signal.data.as_object();
  return runtime::hash_of_named(runtime::text_at(message, "message"), message.at("payload"));
}

std::optional<std::uint64_t> run_host::signal_known(const std::string& signal_id) const {
  const auto is_it = [&](const run_event& event) {
    return event.kind == run_event_kind::signalled && event.id == signal_id;
  };
  for (const auto* ids : {&signal_ids_, &earlier_signal_ids_}) {
    if (const auto found = ids->find(signal_id); found != ids->end()) return found->second;
  }
  for (const auto& one : inputs_) {
    if (is_it(one.event)) return said_by(one.event);
  }
  for (const auto& one : batch_) {
    if (is_it(one.event)) return said_by(one.event);
  }
  return std::nullopt;
}

std::optional<error> run_host::refuses_unread(const std::string& signal, std::size_t more) const {
  const auto there = waiting_bytes_ + unread_bytes_;
  if (there == 0 || there + more <= limits().unread_bytes_max) return std::nullopt;
  // What its code waits for is read at once, and may be what lets it read the others.
  const bool is_read =
      engine_ && !is_busy_ && std::ranges::any_of(engine_->open(), [&](const auto& one) {
        const auto& request = one.second.request;
        return request.kind == command_kind::signal && request.name == signal;
      });
  if (is_read) return std::nullopt;
  // The same words each time, so that what is refused for it can be given back together.
  return error{
      errc::inbox_full,
      fmt::format(
          "{} has not read {} of {} bytes together (workflows.unread_bytes_max), and gets no more; "
          "retry when it has read some",
          is_agent() ? "the agent" : "the workflow",
          is_agent() ? "messages" : "signals",
          limits().unread_bytes_max),
      1000};
}

bool run_host::joins_signal(const std::string& signal_id, const waiter& from) {
  for (auto& one : inputs_) {
    if (one.event.kind != run_event_kind::signalled || one.event.id != signal_id) continue;
    one.waiters.push_back(from);
    return true;
  }
  const bool is_written = std::ranges::any_of(batch_, [&](const recorded& one) {
    return one.event.kind == run_event_kind::signalled && one.event.id == signal_id;
  });
  if (is_written) batch_waiters_.push_back(from);
  return is_written;
}

void run_host::on_cancel(const cancel_workflow& ask, waiter from) {
  from.what = waiter::ask::cancel;
  if (is_agent()) return answer(from, fail(errc::wrong_kind, "an agent cannot be cancelled"));
  // One that is not on disk yet is heard when it is.
  if (ask.parent && ((shown_ && shown_->parent_cancelled) || !is_child_of(*ask.parent))) {
    return answer(from, control_answer{actors::done{}});
  }
  if (inputs_.size() >= std::size_t{2} * limits().inputs_waiting_max)
    return answer(
        from, std::unexpected{too_many_waiting(errc::overloaded, "workflows.inputs_waiting_max")});
  const runtime::run_cancel wish{ask.who, ask.reason};
  auto next = input_of(wish);
  next.is_by_parent = ask.parent.has_value();
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
  // A parent asks again until it is heard.
  if (!ask.parent) note_cancel_later(wish);
}

/// Needs nothing of the code, which may hang: it overtakes what waits, and does not wait for a
/// turn.
void run_host::on_terminate(const terminate_workflow& ask, waiter from) {
  from.what = waiter::ask::terminate;
  if (is_agent()) {
    return answer(
        from,
        fail(
            errc::wrong_kind,
            "an agent cannot be terminated, as it could hear no message again; to be rid of it and "
            "its state delete its channel"));
  }
  if (shown_ && shown_->ended) return answer_committed(from);
  input next;
  next.event.kind = run_event_kind::ended;
  next.event.status = run_status::failed;
  next.event.why = failure{
      failure_class::permanent,
      std::string{terminated},
      ask.reason.empty() ? "ended by an operator" : ask.reason};
  next.event.by_hand = by_hand(terminated, ask.who, ask.reason);
  if (!is_code_at_work_) {
    next.waiters.push_back(std::move(from));
    next.run = row_->run;
    inputs_.push_front(std::move(next));
    return pump();
  }
  give_up_turn();
  batch_waiters_.push_back(std::move(from));
  next.event.time = std::max(now(), row_->started);
  end_at_once(std::move(next.event));
}

void run_host::on_child_end(const end_child& ask, waiter from) {
  from.what = waiter::ask::child_end;
  from.command = ask.command;
  // A child whose parent has ended, or went on without it, is heard and forgotten.
  const bool is_other = ask.incarnation != 0 && start_ && start_->incarnation != ask.incarnation;
  if (shown_->ended || ask.run != shown_->run || is_other) {
    return answer(from, control_answer{actors::done{}});
  }
  if (joins_end(ask.run, from)) return;
  input next;
  next.run = ask.run;
  next.event.command = ask.command;
  auto result = runtime::value_of("the result of the child", ask.result);
  if (!ask.why.empty() || !result) {
    next.event.kind = run_event_kind::failed;
    next.event.why = result ? runtime::read_failure(read_json(ask.why).value_or(nullptr))
                            : failure{failure_class::permanent, "not_json", result.error().detail};
  } else {
    next.event.kind = run_event_kind::completed;
    next.event.data = *std::move(result);
  }
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
}

bool run_host::joins_end(std::uint32_t run, const waiter& from) {
  const auto takes_over = [&](std::vector<waiter>& waiting) {
    const auto before = std::ranges::find_if(waiting, [&](const waiter& one) {
      return one.what == from.what && one.command == from.command;
    });
    if (before == waiting.end()) return false;
    *before = from;
    return true;
  };
  for (auto& one : inputs_) {
    if (one.run == run && takes_over(one.waiters)) return true;
  }
  const bool is_of_run = !batch_.empty() && batch_.front().run == run;
  return is_of_run && takes_over(batch_waiters_);
}

void run_host::await_end(waiter from) {
  if (shown_->ended || from.wait_ms == 0) return answer_result(from);
  await_answer(std::move(from));
}

void run_host::await_answer(waiter from) {
  if (result_waiters_.size() >= limits().result_waiters_max) {
    return answer(
        from, std::unexpected{too_many_waiting(errc::overloaded, "workflows.result_waiters_max")});
  }
  const auto number = ++last_waiter_;
  const std::chrono::milliseconds patience{from.wait_ms};
  result_waiters_.emplace(number, std::move(from));
  home_.run_later(patience, [this, number] {
    const auto found = result_waiters_.find(number);
    if (found == result_waiters_.end()) return;
    answer_result(found->second);
    result_waiters_.erase(found);
  });
}

void run_host::answer(const waiter& to, result<control_answer> with) {
  caf::anon_send(to.reply_to, box(control_reply{to.correlation, std::move(with)}));
}

void run_host::answer_result(const waiter& to) {
  if (to.what == waiter::ask::call) {
    // What is not on disk may still be lost.
    return signal_ids_.contains(to.message)
               ? answer_pending(to)
               : answer(to, fail(errc::overloaded, "the message is not recorded yet; retry", 100));
  }
  auto told = describe_result();
  told.is_watched = to.what == waiter::ask::watch && !shown_->ended
                    && std::ranges::binary_search(shown_->watchers, to.message);
  answer(to, control_answer{std::move(told)});
}

void run_host::answer_committed(const waiter& to) {
  if (to.is_conflict) return answer(to, std::unexpected{conflict_of(to, id())});
  switch (to.what) {
  case waiter::ask::start:
    if (to.wait_ms != 0) return await_end(to);
    return answer(to, control_answer{describe(true)});
  case waiter::ask::signal:
    return answer(to, control_answer{workflow_answer{R"({"duplicate":false})"}});
  case waiter::ask::child_end:
  case waiter::ask::task_end:
    return answer(to, control_answer{actors::done{}});
  case waiter::ask::rerun:
    return answer(to, control_answer{describe(row_->run == 1)});
  case waiter::ask::resolve:
    return answer(to, control_answer{workflow_answer{R"({"outcome":"ended"})"}});
  case waiter::ask::call:
    return answer_pending(to);
  case waiter::ask::watch:
    return answer_result(to);
  case waiter::ask::terminate: {
    const bool is_so = shown_->why && shown_->why->code == terminated;
    return answer(
        to,
        control_answer{workflow_answer{fmt::format(
            R"({{"outcome":"{}"}})", is_so ? terminated : std::string_view{"already_completed"})}});
  }
  case waiter::ask::cancel:
    break;
  }
  const auto* outcome = !shown_->ended                            ? "cancelling"
                        : shown_->status == run_status::cancelled ? "cancelled"
                                                                  : "already_completed";
  answer(to, control_answer{workflow_answer{fmt::format(R"({{"outcome":"{}"}})", outcome)}});
}

/// What waits behind a restart is for the run that it begins.
void run_host::turn_away_inputs() {
  const auto anew =
      std::ranges::find_if(inputs_, [](const input& one) { return one.rerun != nullptr; });
  for (auto one = inputs_.begin(); one != anew; ++one) {
    waiting_bytes_ -= one->bytes;
    for (const auto& waiting : one->waiters)
      turn_away(waiting);
  }
  inputs_.erase(inputs_.begin(), anew);
}

/// For inputs that came when the run had ended.
void run_host::turn_away(const waiter& from) {
  const bool is_end = from.what == waiter::ask::task_end || from.what == waiter::ask::child_end;
  const bool is_known = engine_ && engine_->is_passed_over(from.command);
  if (is_end && !row_->ended && !is_known && (!engine_ || engine_->blocked())) {
    // Code that fits may be waiting for it.
    return answer(from, fail(errc::overloaded, "the workflow is blocked; retry later", 1000));
  }
  if (from.what == waiter::ask::resolve) return answer_not_open(from);
  if (from.what != waiter::ask::signal && from.what != waiter::ask::call) {
    return answer_committed(from);
  }
  answer(
      from,
      fail(
          errc::wrong_kind,
          fmt::format("workflow '{}' has ended as {}", id(), name_of(shown_->status))));
}

}  // namespace callboard::actors
