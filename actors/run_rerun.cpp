// Runs that are begun anew from a command, or from the record of another. No code is executed for
// it.
//
// The record is copied in slices, each an append of its own, so that its length does not matter.
// Only the last one changes the workflow's row: until then the run is the one it was, and what a
// node that died in between has copied belongs to no run.
#include "runtime/workflow/run_rerun.hpp"

#include "actors/armed_timers.hpp"
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/run_rerun_reads.hpp"
#include "actors/topic_loading.hpp"
#include "base/hash.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/signal_ledger.hpp"

#include <boost/json/serialize.hpp>
#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
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
constexpr auto slice_retry = std::chrono::milliseconds{100};

std::uint64_t order_hash(const begin_rerun& ask) {
  return hash_64(fmt::format(
      "fork/{}/{}/{}{}",
      ask.source.topic.str(),
      ask.order.from,
      ask.order.version,
      ask.order.without_signals ? "/without signals" : ""));
}

std::string source_id(const begin_rerun& ask) {
  return ask.source.topic.str().substr(runtime::channel_prefix.size());
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
      {"from", {{"id", source_id(ask)}, {"run", ask.run}}},
      {"events", ask.plan->events}};
  if (ask.plan->command != 0) {
    data["from"].as_object()["command"] = ask.plan->command;
    data["from"].as_object()["name"] = ask.plan->command_name;
  }
  if (ask.order.without_signals) data["without_signals"] = true;
  event.data = std::move(data);
  return event;
}

}  // namespace

// -- restart and fork ----------------------------------------------------------------------------

void run_host::on_rerun(begin_rerun ask, waiter from) {
  from.what = waiter::ask::rerun;
  if (is_agent() || runtime::is_agent_channel(ask.source.topic)) {
    return answer(from, fail(errc::wrong_kind, "an agent cannot be restarted or forked"));
  }
  const bool is_fork = ask.source.topic != channel_.topic;
  if (is_fork && row_) return answer_forked(ask, std::move(from));
  if (!is_fork && !shown_) return answer(from, std::unexpected{not_there(channel_)});
  if (inputs_.size() >= limits().inputs_waiting_max) {
    return answer(from, fail(errc::overloaded, "too much of this workflow waits; retry", 100));
  }
  input next;
  next.rerun = std::make_shared<const begin_rerun>(std::move(ask));
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
}

/// There is a workflow of this id: by the same fork, or it is taken.
void run_host::answer_forked(const begin_rerun& ask, waiter from) {
  from.is_conflict = row_->start_hash != order_hash(ask);
  // What is there may still be lost.
  if (!shown_) return batch_waiters_.push_back(std::move(from));
  if (from.is_conflict) return answer(from, std::unexpected{conflict_of(from, id())});
  answer(from, control_answer{describe(false)});
}

bool run_host::begins_anew(input& next) {
  if (!next.rerun) return false;
  const auto& ask = *next.rerun;
  const bool is_fork = ask.source.topic != channel_.topic;
  if (is_fork && row_) {
    for (auto& one : next.waiters)
      answer_forked(ask, std::move(one));
    return true;
  }
  auto start = runtime::read_started(ask.plan->start);
  const auto why = start ? refuses_rerun(ask, is_fork) : std::optional{start.error()};
  if (why) {
    for (const auto& one : next.waiters)
      answer(one, std::unexpected{*why});
    return true;
  }
  is_busy_ = true;
  batch_waiters_ = std::move(next.waiters);
  begin_copy(std::move(next.rerun), *std::move(start));
  return true;
}

std::optional<error> run_host::refuses_rerun(const begin_rerun& ask, bool is_fork) const {
  if (is_fork) return std::nullopt;
  if (ask.run != row_->run) {
    return error{errc::overloaded, "the workflow is at its next run; retry", 50};
  }
  // What only the row knows of is in no record yet, so in no copy of one.
  const bool loses_cancel =
      is_being_cancelled_ ? !ask.plan->keeps_cancel : row_->cancel_asked.has_value();
  if (row_->ended || !loses_cancel) return std::nullopt;
  return error{
      errc::wrong_kind,
      fmt::format(
          "workflow '{}' is being cancelled, and a run that goes on from before that would not "
          "know it: wait until it has ended, or terminate it, and restart it then",
          id()),
      0};
}

void run_host::begin_copy(std::shared_ptr<const begin_rerun> ask, runtime::run_start start) {
  const bool is_fork = ask->source.topic != channel_.topic;
  start.identity.tenant = channel_.tenant.str();
  start.identity.workflow_id = id();
  start.identity.run = is_fork ? 1 : row_->run + 1;
  if (ask->order.version != 0) start.identity.version = ask->order.version;
  const auto when = row_ ? std::max(now(), row_->started) : now();
  const auto seed = hash_64(fmt::format(
      "{}/{}/{}/{}/{}",
      channel_.tenant.str(),
      id(),
      start.identity.run,
      start.seed,
      when.time_since_epoch().count()));
  if (is_fork) {
    // What it was started with it shares with its source, but not what that had as its own id.
    if (start.identity.correlation_id == source_id(*ask)) start.identity.correlation_id = id();
    start.signals.clear();
    start.parent_id.clear();
    start.parent_incarnation = 0;
    start.parent_above.clear();
  }
  if (is_fork || start.incarnation == 0) start.incarnation = seed;
  copy_ = std::make_unique<rerun_copy>();
  copy_->next = ask->plan->first;
  copy_->ask = std::move(ask);
  copy_->start = std::move(start);
  copy_->when = when;
  copy_->seed = seed;
  read_signals_behind();
}

/// First of all, as they may be too many.
void run_host::read_signals_behind() {
  if (is_dead_ || is_retired_ || !copy_) return give_up_copy();
  if (!copy_->ask->plan->signals_from) return read_slice();
  auto posted = parts_.readers.post(
      reader_pool::lane::reads,
      [this,
       self = home_.run_handle(),
       &journal = parts_.journal,
       ask = copy_->ask,
       unread_max = limits().unread_bytes_max] {
        auto signals =
            actors::read_signals_behind(journal, ask->source, ask->run, *ask->plan, unread_max);
        caf::anon_send(self, box(run_continuation{[this, signals = std::move(signals)]() mutable {
                         on_signals_behind(std::move(signals));
                       }}));
      });
  if (!posted) home_.run_later(slice_retry, [this] { read_signals_behind(); });
}

void run_host::on_signals_behind(result<std::vector<run_event>> signals) {
  if (is_dead_ || is_retired_ || !copy_) return give_up_copy();
  if (!signals) return refuse_copy(signals.error());
  copy_->signals = *std::move(signals);
  read_slice();
}

void run_host::read_slice() {
  if (is_dead_ || is_retired_ || !copy_) return give_up_copy();
  const auto& ask = *copy_->ask;
  auto posted = parts_.readers.post(
      reader_pool::lane::reads,
      [this,
       self = home_.run_handle(),
       &journal = parts_.journal,
       source = ask.source,
       run = ask.run,
       from = copy_->next,
       left = ask.plan->events - copy_->copied] {
        auto slice = read_rerun_slice(journal, source, run, from, left);
        caf::anon_send(self, box(run_continuation{[this, slice = std::move(slice)]() mutable {
                         on_slice(std::move(slice));
                       }}));
      });
  if (!posted) home_.run_later(slice_retry, [this] { read_slice(); });
}

void run_host::on_slice(result<rerun_slice> slice) {
  if (is_dead_ || is_retired_ || !copy_) return give_up_copy();
  if (!slice) return refuse_copy(slice.error());
  auto& copy = *copy_;
  copy.next = slice->next;
  auto first_new = anew_.size();
  for (auto& event : slice->events)
    anew_.push_back(std::move(event));
  if (copy.copied == 0) {
    const bool is_fork = copy.ask->source.topic != channel_.topic;
    auto first = runtime::make_started(copy.start);
    first.time = anew_.front().time;
    anew_.front() = std::move(first);
    anew_.insert(
        anew_.begin() + 1, rerun_event(*copy.ask, is_fork ? "forked" : "restarted", copy.when));
    first_new = 0;
  }
  copy.copied += slice->events.size();
  if (copy.copied == copy.ask->plan->events) return end_copy(first_new);
  if (!copy.first_seq) copy.first_seq = last_seq_.next();
  for (auto at = first_new; at != anew_.size(); ++at)
    batch_.push_back({anew_[at], copy.start.identity.run});
  append_slice();
}

/// Not the last one: no row goes with it.
void run_host::append_slice() {
  runtime::publish_request transition;
  std::uint64_t number = last_seq_.raw();
  copy_->slice_bytes = 0;
  for (const auto& one : batch_) {
    transition.events.push_back(
        runtime::encode_run_event(one.event, copy_->start.identity, ++number));
    copy_->slice_bytes += transition.events.back().stored.size();
  }
  home_.append_transition(std::move(transition));
}

bool run_host::takes_reply_to_slice(const runtime::publish_reply& reply) {
  if (!copy_) return false;
  if (reply.outcome) {
    last_seq_ = sequence{reply.outcome->first_seq.raw() + batch_.size() - 1};
    batch_.clear();
    copy_->bytes += copy_->slice_bytes;
    read_slice();
    return true;
  }
  const auto code = reply.outcome.error().code;
  const bool is_refused = code == errc::overloaded || code == errc::storage_full;
  if (!is_refused || is_dead_ || is_retired_) {
    batch_.clear();
    copy_.reset();
    anew_.clear();
    abandon(reply.outcome.error());
    return true;
  }
  home_.run_later(slice_retry, [this] {
    if (copy_ && !is_dead_) append_slice();
  });
  return true;
}

void run_host::refuse_copy(const error& why) {
  for (const auto& one : std::exchange(batch_waiters_, {}))
    answer(one, std::unexpected{why});
  give_up_copy();
}

/// What is on disk of it belongs to no run.
void run_host::give_up_copy() {
  if (!copy_) return;
  copy_.reset();
  anew_.clear();
  batch_.clear();
  const error why{errc::overloaded, "the workflow is being reloaded; retry", 50};
  for (const auto& one : std::exchange(batch_waiters_, {}))
    answer(one, std::unexpected{why});
  is_busy_ = false;
  home_.run_settled();
  pump();
}

/// With the last slice the new run takes the place of the old one.
void run_host::end_copy(std::size_t first_new) {
  const auto copy = std::exchange(copy_, nullptr);
  const auto& ask = *copy->ask;
  const bool is_fork = ask.source.topic != channel_.topic;
  if (!is_fork) leave_run(copy->when);
  auto& row = is_fork ? row_.emplace() : *row_;
  const auto& start = copy->start;
  if (is_fork) {
    row.type = start.identity.type;
    row.correlation_id = start.identity.correlation_id;
    row.start_hash = order_hash(ask);
    row.started = copy->when;
  }
  // A parent that has heard how it ended may still repeat a cancel that came too late.
  if (!is_fork && row.ended && !owes_parent(row)) row.parent_cancelled = true;
  // What an earlier run of the parent repeats is not for this one.
  const bool is_for_parent = !is_fork && start_ && start_->parent_run != copy->start.parent_run;
  if (is_for_parent) row.parent_cancelled = false;
  row.version = start.identity.version;
  row.run = start.identity.run;
  row.status = run_status::running;
  row.ended.reset();
  row.why.reset();
  row.cancel_asked.reset();
  row.result.clear();
  row.state.clear();
  row.commands = runtime::last_command(anew_);
  row.first_seq = copy->first_seq.value_or(sequence{last_seq_.raw() + batch_.size() + 1});
  note_history(copy->bytes);
  start_ = start;
  auto parted = runtime::make_parted({copy->seed, copy->signals.size(), build_of(start.identity)});
  for (auto& signal : copy->signals)
    anew_.push_back(std::move(signal));
  parted.time = std::max(now(), copy->when);
  anew_.push_back(std::move(parted));
  for (auto at = first_new; at != anew_.size(); ++at)
    batch_.push_back({anew_[at], row.run});
  // What is sent again meanwhile is known.
  for (const auto& event : anew_) {
    const bool has_id = event.kind == run_event_kind::signalled && !event.id.empty();
    if (has_id) signal_ids_.emplace(event.id, said_by(event));
  }
  for (const auto& timer : armed_timers(anew_)) {
    batch_timers_set_.push_back(timer);
    timers_[timer.command] = timer;
  }
  append_batch();
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
  clear_timers();
  end_work();
  asked_.clear();
  lookups_.clear();
  children_.clear();
  forget_accepted();
  tasks_.clear();
  steps_.clear();
  signal_ids_.clear();
  signals_ = {};
  owes_parent_ = false;
  close_engine();
}

void run_host::close_engine() {
  if (engine_) close(std::exchange(engine_, nullptr));
}

/// No other thread has it; that of a step may still know of it.
void run_host::close(std::shared_ptr<runtime::run_engine> ended) {
  if (ended->is_closed()) return;
  (void)parts_.user_code->post(
      reader_pool::lane::control, [ended = std::move(ended)] { ended->close(); });
}

void run_host::replay_anew() {
  steps_.clear();
  signals_ = {};
  batch_issued_.clear();
  auto history = std::exchange(anew_, {});
  // Code that hangs must not come before what ends it.
  const bool is_to_end = !inputs_.empty() && inputs_.front().event.kind == run_event_kind::ended;
  if (!is_to_end) {
    // It is in memory.
    replay(std::move(history), boot_time{});
  } else if (!recall(history)) {
    recall_nothing();
  }
  if (is_busy_) return;
  // There is no code for it, or it is ended at once.
  home_.run_settled();
  pump();
}

}  // namespace callboard::actors
