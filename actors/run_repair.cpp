// What people do to a run that went wrong: begin it anew from a command, begin another from its
// record, end a command by hand. No code of the run is executed for it.
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/topic_loading.hpp"
#include "base/build_id.hpp"
#include "base/hash.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

using boost::json::object;
using runtime::run_event;
using runtime::run_event_kind;
using runtime::run_status;

constexpr std::string_view restarted_code = "restarted";

std::uint64_t order_hash(const begin_rerun& ask) {
  return hash_64(
      fmt::format("fork/{}/{}/{}", ask.source.topic.str(), ask.order.from, ask.order.version));
}

/// How the run came to be, in its own record: the audit.
run_event rerun_event(const begin_rerun& ask, std::string_view how, time_ms when) {
  run_event event;
  event.kind = run_event_kind::rerun;
  event.name = how;
  event.time = when;
  object data{
      {"who", ask.order.who},
      {"reason", ask.order.reason},
      {"from",
       {{"id", ask.source.topic.str().substr(runtime::channel_prefix.size())}, {"run", ask.run}}},
      {"events", ask.events->size()}};
  if (ask.command != 0) {
    data["from"].as_object()["command"] = ask.command;
    data["from"].as_object()["name"] = ask.command_name;
  }
  event.data = std::move(data);
  return event;
}

/// Timers that are armed as far as the record tells.
std::vector<runtime::run_timer> armed_timers(const std::vector<run_event>& history) {
  std::map<std::uint32_t, time_ms> armed;
  /// Signals are answered by name: who waits for one, and how many nobody has read.
  std::map<std::string, std::deque<std::uint32_t>> waiting;
  std::map<std::string, std::size_t> unread;
  for (const auto& event : history) {
    const bool is_issue = event.kind == run_event_kind::issued;
    if (event.kind == run_event_kind::signalled) {
      auto& readers = waiting[event.name];
      if (readers.empty()) {
        ++unread[event.name];
      } else {
        armed.erase(readers.front());
        readers.pop_front();
      }
    } else if (is_issue && event.what == command_kind::signal && unread[event.name] != 0) {
      --unread[event.name];
    } else if (!is_issue) {
      armed.erase(event.command);
      for (auto& [name, readers] : waiting)
        std::erase(readers, event.command);
    } else {
      if (event.what == command_kind::signal) waiting[event.name].push_back(event.command);
      const bool is_timer = event.what != command_kind::step && event.what != command_kind::model;
      if (event.due && is_timer) armed[event.command] = *event.due;
    }
  }
  std::vector<runtime::run_timer> timers;
  for (const auto& [command, due] : armed)
    timers.push_back({due, command});
  return timers;
}

std::uint32_t last_command(const std::vector<run_event>& history) {
  std::uint32_t last = 0;
  for (const auto& event : history) {
    if (event.kind == run_event_kind::issued) last = std::max(last, event.command);
  }
  return last;
}

}  // namespace

// -- restart and fork ----------------------------------------------------------------------------

void run_host::on_rerun(begin_rerun ask, waiter from) {
  from.what = waiter::ask::rerun;
  if (is_agent() || runtime::is_agent_channel(ask.source.topic)) {
    return answer(from, fail(errc::wrong_kind, "an agent cannot be restarted or forked"));
  }
  const bool is_fork = ask.source.topic != channel_.topic;
  if (is_fork && row_) {
    if (row_->start_hash != order_hash(ask)) {
      return answer(
          from,
          fail(
              errc::workflow_exists,
              fmt::format("workflow '{}' exists, and was not forked so: choose another id", id())));
    }
    if (shown_) return answer(from, control_answer{describe(false)});
    batch_waiters_.push_back(std::move(from));
    return;
  }
  if (!is_fork && !shown_) return answer(from, std::unexpected{not_there(channel_)});
  input next;
  next.rerun = std::make_shared<const begin_rerun>(std::move(ask));
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
}

bool run_host::begins_anew(input& next) {
  if (!next.rerun) return false;
  const auto& ask = *next.rerun;
  const bool is_fork = ask.source.topic != channel_.topic;
  auto start = runtime::read_started(ask.events->front());
  if (!start || (!is_fork && ask.run != row_->run)) {
    const auto why = start ? error{errc::overloaded, "the workflow is at its next run; retry", 50}
                           : start.error();
    for (const auto& one : next.waiters)
      answer(one, std::unexpected{why});
    return true;
  }
  is_busy_ = true;
  batch_waiters_ = std::move(next.waiters);
  const auto when = row_ ? std::max(now(), row_->started) : now();
  if (!is_fork) leave_run(when);
  start->identity.tenant = channel_.tenant.str();
  start->identity.workflow_id = id();
  start->identity.run = is_fork ? 1 : row_->run + 1;
  if (ask.order.version != 0) start->identity.version = ask.order.version;
  start->build = build_id();
  if (is_fork) start->parent_id.clear();
  auto& row = is_fork ? row_.emplace() : *row_;
  if (is_fork) {
    row.type = start->identity.type;
    row.correlation_id = start->identity.correlation_id;
    row.start_hash = order_hash(ask);
    row.started = when;
  }
  row.version = start->identity.version;
  row.run = start->identity.run;
  row.status = run_status::running;
  row.ended.reset();
  row.why.reset();
  row.result.clear();
  row.state.clear();
  row.commands = last_command(*ask.events);
  row.first_seq = sequence{last_seq_.raw() + batch_.size() + 1};
  start_ = std::move(*start);
  anew_ = *ask.events;
  auto first = runtime::make_started(*start_);
  first.time = anew_.front().time;
  anew_.front() = std::move(first);
  anew_.insert(anew_.begin() + 1, rerun_event(ask, is_fork ? "forked" : "restarted", when));
  for (const auto& event : anew_)
    batch_.push_back({event, row.run});
  for (const auto& timer : armed_timers(anew_)) {
    batch_timers_set_.push_back(timer);
    timers_[timer.command] = timer.due;
  }
  append_batch();
  return true;
}

/// Lets go of all that the run in memory has under way. What its steps come back with is dropped.
void run_host::leave_run(time_ms when) {
  if (!row_->ended) {
    run_event ended;
    ended.kind = run_event_kind::ended;
    ended.status = run_status::failed;
    ended.time = when;
    ended.why = failure{
        failure_class::permanent,
        std::string{restarted_code},
        "begun anew from an earlier command"};
    batch_.push_back({std::move(ended), row_->run});
    owe_all();
  }
  for (const auto& [command, due] : std::exchange(timers_, {}))
    batch_timers_cleared_.push_back({due, command});
  models_.cancel_all();
  asked_.clear();
  lookups_.clear();
  interrupted_.clear();
  children_.clear();
  tasks_.clear();
  steps_.clear();
  signal_ids_.clear();
  owes_parent_ = false;
  close_engine();
}

void run_host::close_engine() {
  if (!engine_) return;
  // User code runs in the destructors of its frame.
  auto ended = std::exchange(engine_, nullptr);
  (void)parts_.user_code->post(
      reader_pool::lane::control, [ended = std::move(ended)] { ended->close(); });
}

void run_host::replay_anew() {
  steps_.clear();
  batch_issued_.clear();
  replay(std::exchange(anew_, {}));
  if (is_busy_) return;
  // There is no code for it.
  home_.run_settled();
  pump();
}

// -- commands that are ended by hand -------------------------------------------------------------

void run_host::on_resolve(const resolve_command& ask, waiter from) {
  from.what = waiter::ask::resolve;
  from.command = ask.command;
  input next;
  next.run = shown_->run;
  next.event.command = ask.command;
  next.event.by_hand = object{{"how", ask.how}, {"who", ask.who}, {"reason", ask.reason}};
  if (ask.failed) {
    next.event.kind = run_event_kind::failed;
    next.event.why = runtime::read_failure(runtime::parsed_or_null(ask.with));
  } else {
    next.event.kind = run_event_kind::completed;
    next.event.data = runtime::parsed_or_null(ask.with);
  }
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
}

void run_host::answer_not_open(const waiter& to) {
  const auto step = steps_.find(to.command);
  const auto* code = engine_ || shown_->ended ? "" : " (no node has its code, so nobody knows)";
  answer(
      to,
      fail(
          errc::wrong_kind,
          fmt::format(
              "command {} of workflow '{}' is not open: {}{}; `workflow explain` lists those that "
              "are",
              to.command,
              id(),
              step == steps_.end() ? std::string{"there is no such command"}
                                   : "it is " + step->second.status,
              code)));
}

// -- builds --------------------------------------------------------------------------------------

/// A run that another build goes on with says so, once, with the first thing it does.
void run_host::note_build(time_ms when) {
  const bool begins = std::ranges::any_of(
      batch_, [](const recorded& one) { return one.event.kind == run_event_kind::started; });
  if (begins) recorded_build_ = build_id();
  if (!row_ || row_->ended || recorded_build_ == build_id()) return;
  recorded_build_ = build_id();
  run_event event;
  event.kind = run_event_kind::build_changed;
  event.time = when;
  event.data = object{{"build", build_id()}};
  batch_.push_back({std::move(event), row_->run});
}

/// The mismatch with the builds that recorded and attempted it.
failure run_host::with_builds(failure why) const {
  auto details = runtime::parsed_or_null(why.details);
  if (!details.is_object()) details = object{};
  details.as_object()["recorded_build"] = recorded_build_;
  details.as_object()["build"] = build_id();
  why.details = boost::json::serialize(details);
  return why;
}

}  // namespace callboard::actors
