// What a run must still tell others: that it went on or ended without them, to children that it
// cancels and queues whose tasks it takes back; and how it ended, to those that wait for it without
// being its parent. It stands in the run's row from the transition on that left
// them, is sent when that is committed, again and again until it is answered, and over restarts:
// also a run that has ended is woken for it.
#include "actors/router.hpp"
#include "actors/run_census.hpp"
#include "actors/run_host.hpp"
#include "actors/telling.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_debt;
using runtime::run_event;
using runtime::run_event_kind;

constexpr std::string_view timeout_code = "timeout";
/// What lists say of a run at work is no older.
constexpr boot_time row_behind_max = std::chrono::seconds{1};
constexpr boot_time refused_pause = std::chrono::seconds{1};

bool is_left(const run_event& event) {
  return event.kind == run_event_kind::command_cancelled
         || (event.kind == run_event_kind::failed && event.why && event.why->code == timeout_code);
}

}  // namespace

// -- what is owed --------------------------------------------------------------------------------

void run_host::owe_if_left(const run_event& event) {
  if (event.command != 0 && is_left(event)) owe(event.command);
}

/// What was issued in the same transition was never sent, so it is not here yet.
void run_host::owe(std::uint32_t command) {
  if (const auto child = children_.find(command); child != children_.end()) {
    const task_waiter who{channel_.topic.str(), row_->run, command, incarnation()};
    add_debt({run_debt::what::cancel_child, child->second, format_origin(who)});
  }
  if (const auto task = tasks_.find(command); task != tasks_.end()) {
    add_debt({run_debt::what::withdraw_task, task->second.queue, task->second.origin});
  }
}

/// The run ends, or another takes its place: all that it still waits for is left.
void run_host::owe_all() {
  std::set<std::uint32_t> answered;
  for (const auto& one : batch_) {
    if (one.event.kind != run_event_kind::issued) answered.insert(one.event.command);
  }
  const auto owe_open = [&](const auto& waiting) {
    for (const auto& [command, what] : waiting) {
      if (!answered.contains(command)) owe(command);
    }
  };
  owe_open(children_);
  owe_open(tasks_);
}

void run_host::add_debt(run_debt what) {
  auto origin = what.origin;
  debts_.try_emplace(std::move(origin), untold_debt{.what = std::move(what)});
}

void run_host::note_debts() {
  const bool was_ended = shown_ && shown_->ended;
  const bool is_child = start_ && !start_->parent_id.empty();
  const bool is_told = std::ranges::any_of(
      batch_, [](const recorded& one) { return one.event.kind == run_event_kind::parent_told; });
  turn_watchers();
  runtime::run_debts owes;
  owes.parent = row_->ended && is_child && !is_told && (!was_ended || owes_parent(*shown_));
  for (const auto& [origin, one] : debts_)
    owes.debts.push_back(one.what);
  const bool waits_for_code =
      !row_->ended && (!engine_ || engine_->blocked() || !next_inputs_.empty());
  show_accepted();
  const bool is_cancel_recorded =
      is_being_cancelled_ || std::ranges::any_of(batch_, [this](const recorded& one) {
        return one.event.kind == run_event_kind::cancel_requested && one.run == row_->run;
      });
  if (row_->ended || is_cancel_recorded) row_->cancel_asked.reset();
  row_->needs_wake =
      !owes.empty() || waits_for_code || row_->cancel_asked || (!row_->ended && has_work());
  row_->owes = std::move(owes);
}

/// Whoever it is waits in memory until it is on disk with the row, which follows when the run
/// rests.
void run_host::note_watcher(const std::string& watcher, waiter& from) {
  from.what = waiter::ask::watch;
  from.message = watcher;
  if (shown_->ended || watchers_.size() >= limits().result_waiters_max) return;
  if (watchers_.insert(watcher).second) is_row_behind_ = true;
}

void run_host::turn_watchers() {
  if (row_->ended) {
    for (const auto& watcher : std::exchange(watchers_, {})) {
      const auto who = parse_origin(watcher);
      if (!who) continue;
      add_debt(
          {run_debt::what::tell_end, who->channel.substr(runtime::channel_prefix.size()), watcher});
    }
  } else {
    std::erase_if(debts_, [&](const auto& one) {
      if (one.second.what.kind != run_debt::what::tell_end) return false;
      watchers_.insert(one.first);
      return true;
    });
  }
  // They only grow while it goes on.
  if (row_->watchers.size() != watchers_.size()) {
    row_->watchers.assign(watchers_.begin(), watchers_.end());
  }
}

// -- telling -------------------------------------------------------------------------------------

void run_host::tell_debts() {
  std::vector<std::string> fresh;
  for (auto& [origin, one] : debts_) {
    if (!std::exchange(one.is_under_way, true)) fresh.push_back(origin);
  }
  for (const auto& origin : fresh)
    tell_debt(origin);
}

void run_host::tell_debt(const std::string& origin) {
  const auto found = debts_.find(origin);
  if (found == debts_.end() || is_retired_ || is_dead_) return;
  auto body = message_of(found->second.what);
  if (!body) return on_debt_told(origin);
  const correlation_id correlation{++last_correlation_};
  telling_.emplace(correlation.raw(), origin);
  if (parts_.router->control({correlation, std::move(*body)}, home_.run_handle())) return;
  telling_.erase(correlation.raw());
  tell_debt_later(origin);
}

/// Nothing for what nobody can have been asked for.
std::optional<control_body> run_host::message_of(const run_debt& what) const {
  if (what.kind == run_debt::what::withdraw_task) {
    auto queue = queue_name::parse(what.target);
    if (!queue) return std::nullopt;
    return withdraw_task{{channel_.tenant, *std::move(queue)}, what.origin};
  }
  auto channel = topic_name::parse(std::string{runtime::channel_prefix} + what.target);
  const auto who = parse_origin(what.origin);
  if (!channel || !who) return std::nullopt;
  if (what.kind == run_debt::what::tell_end) return end_for(*who);
  return cancel_workflow{
      {channel_.tenant, *std::move(channel)},
      "its parent goes on without it",
      workflow_parent{channel_, who->run, who->command, who->seed}};
}

/// Also for a run that has begun anew meanwhile, so not `after`.
void run_host::tell_debt_later(const std::string& origin) {
  auto& one = debts_.at(origin);
  home_.run_later(pause_before_telling(one.tries++), [this, origin] { tell_debt(origin); });
}

bool run_host::takes_debt_reply(const control_reply& reply) {
  auto asked = telling_.extract(reply.correlation.raw());
  if (!asked) return false;
  const auto& origin = asked.mapped();
  if (is_dead_ || is_retired_ || !debts_.contains(origin)) return true;
  if (is_heard(reply)) {
    on_debt_told(origin);
  } else {
    tell_debt_later(origin);
  }
  return true;
}

void run_host::on_debt_told(const std::string& origin) {
  debts_.erase(std::string{origin});
}

bool run_host::has_debts() const {
  return !debts_.empty() || (row_ && row_->owes && !row_->owes->debts.empty());
}

/// A run that does one step after another changes nothing of its row but how far it has come, which
/// its events tell as well: then the row follows when the run rests, or works for longer.
void run_host::append_row(runtime::publish_request transition) {
  note_debts();
  const auto when = parts_.time.boot();
  // Where a transition with signals ends must be seen later, to know which belong together.
  const bool has_signals = std::ranges::any_of(batch_, [](const recorded& one) {
    return one.event.kind == run_event_kind::signalled && !one.event.id.empty();
  });
  const bool is_same = !transition.events.empty() && !has_signals && batch_timers_set_.empty()
                       && batch_timers_cleared_.empty() && shown_
                       && runtime::tell_the_same(*row_, *shown_);
  if (is_same && when - row_written_at_ < row_behind_max) {
    is_row_behind_ = true;
  } else {
    row_written_at_ = when;
    transition.with.push_back(
        {.kind = storage::record_kind::workflow_progress,
         .payload = runtime::encode_workflow_progress(
             {channel_, *row_, batch_timers_set_, batch_timers_cleared_})});
  }
  is_appending_ = true;
  home_.append_transition(std::move(transition));
}

void run_host::settle_debts_later() {
  const bool is_behind = debts_.empty() && (has_debts() || !is_rest_on_disk());
  if (!is_behind || is_busy_ || std::exchange(is_settling_soon_, true)) return;
  home_.run_at_leisure([this] {
    is_settling_soon_ = false;
    settle_debts();
  });
}

/// A row that still shows debts which are told, or not that others see to what is open, is written
/// anew, unless a transition did it.
void run_host::settle_debts() {
  if (is_dead_ || is_retired_ || is_busy_ || !debts_.empty()) return;
  if (has_debts() || !is_rest_on_disk()) {
    is_busy_ = is_settling_ = true;
    append_row({});
  }
}

/// The disk is full, or the node overloaded: what only the row is behind with can wait, and those
/// who cannot do without it ask again behind the pause.
void run_host::put_off_settlement() {
  row_refused_until_ = parts_.time.boot() + refused_pause;
  is_settling_ = is_busy_ = false;
  is_row_behind_ = true;
  home_.run_settled();
  pump();
  settle_debts_later();
}

/// False: what was committed is a transition.
bool run_host::takes_settlement() {
  if (!std::exchange(is_settling_, false)) return false;
  count_moved(parts_, shard_, channel_, shown_, row_);
  shown_ = row_;
  batch_timers_set_.clear();
  batch_timers_cleared_.clear();
  is_busy_ = false;
  home_.run_settled();
  pump();
  settle_debts();
  return true;
}

}  // namespace callboard::actors
