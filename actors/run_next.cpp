// A run that goes on as new: what the next one is told of it, and when its code begins. Runs that
// go on so at once, one after the other, end and begin in one transition, but no more of them than
// one may well hold: code that never waits then has its turns between those of others, and its
// record grows on disk and not in memory.
#include "actors/run_host.hpp"
#include "base/hash.hpp"
#include "base/log.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_limits.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;
using runtime::run_status;

constexpr std::string_view too_large_code = "transition_too_large";

}  // namespace

/// Versions are pinned to a run: what goes on as new lives longer than the code it began with.
std::uint32_t run_host::newest_version(const runtime::run_start& start) const {
  const auto* code = parts_.workflows->newest(start.identity.type);
  return code == nullptr ? start.identity.version : code->version;
}

/// Whoever was not told that a signal counts sends it again, by then maybe many runs later: those
/// that have waited for nothing count as one with the run before them, and the record of each says
/// what that took last.
void run_host::hand_on_signals(const std::vector<run_event>& unread) {
  auto& taken = start_->signals;
  if (!std::exchange(is_fresh_, true)) {
    taken.clear();
    earlier_signal_ids_.clear();
    signal_ids_.swap(earlier_signal_ids_);
  }
  // Of an agent those that were answered are known by their replies.
  if (is_agent()) {
    for (const auto& [event, run] : batch_) {
      if (event.what != command_kind::reply) continue;
      start_->answered.add(runtime::text_at(event.data.as_object(), "id"), event.time);
    }
    earlier_signal_ids_.clear();
    return signal_ids_.clear();
  }
  taken.insert(signal_ids_.begin(), signal_ids_.end());
  earlier_signal_ids_.merge(std::exchange(signal_ids_, {}));
  for (const auto& [event, run] : batch_) {
    const bool has_id = event.kind == run_event_kind::signalled && !event.id.empty();
    if (has_id && run == row_->run) taken.emplace(event.id, said_by(event));
  }
  // These are recorded again.
  for (const auto& event : unread)
    taken.erase(event.id);
}

/// The next run begins in the batch that ends this one, so that there is always one; the code of an
/// agent works on it behind that.
void run_host::begin_next_run(json with) {
  auto unread = engine_->take_unread();
  hand_on_signals(unread);
  owe_all();
  children_.clear();
  forget_accepted();
  tasks_.clear();
  start_->identity.run += 1;
  start_->identity.version = row_->version = newest_version(*start_);
  if (start_->incarnation == 0) start_->incarnation = start_->seed;
  start_->seed = hash_64(fmt::format("{}/{}", engine_->seed(), start_->identity.run));
  start_->input = std::move(with);
  start_->clock_least = engine_->clock_ahead();
  start_->build = build_of(start_->identity);
  row_->run = start_->identity.run;
  row_->first_seq = sequence{last_seq_.raw() + batch_.size() + 1};
  row_->commands = 0;
  steps_.clear();
  signals_ = {};
  batch_issued_.clear();
  // Code that never waits hears of a cancel only before it begins.
  auto cancel = is_agent() ? std::nullopt : take_cancel();
  start_->is_cancelled = is_being_cancelled_ = cancel.has_value();
  // What answers the run that ends here is not for the next one's command of that number.
  asked_.clear();
  lookups_.clear();
  end_work();
  close_engine();
  note_history(0);
  engine_ = make_engine(*start_);
  std::vector<run_event> inputs{runtime::make_started(*start_)};
  // A replay begins with this run, so it must find them here, in their order.
  inputs.insert(
      inputs.end(), std::make_move_iterator(unread.begin()), std::make_move_iterator(unread.end()));
  if (cancel) {
    inputs.push_back(std::move(cancel->event));
    row_->parent_cancelled |= cancel->is_by_parent;
    std::ranges::move(cancel->waiters, std::back_inserter(batch_waiters_));
  }
  for (auto& one : inputs) {
    one.time = now();
    batch_.push_back({one, row_->run});
  }
  inputs.front().data = start_->input;
  // Of an agent, which remembers its replies, there may be more than a batch can hold.
  if (!is_agent() && !is_batch_full()) return drive(std::move(inputs));
  next_inputs_ = std::move(inputs);
  append_batch();
}

std::optional<run_host::input> run_host::take_cancel() {
  const auto found = std::ranges::find_if(inputs_, [&](const input& one) {
    const bool is_repeated = one.is_by_parent && row_->parent_cancelled;
    return one.event.kind == run_event_kind::cancel_requested && !is_repeated;
  });
  if (found == inputs_.end()) return std::nullopt;
  auto taken = std::move(*found);
  inputs_.erase(found);
  return taken;
}

bool run_host::is_batch_full() const {
  if (row_->run - batch_.front().run >= runtime::continued_runs_max) return true;
  std::size_t bytes = 0;
  return std::ranges::any_of(batch_, [&](const recorded& one) {
    bytes += runtime::unread_overhead + runtime::size_of(one.event.data);
    return bytes > runtime::continued_bytes_max;
  });
}

/// As if it were in the turn that began the run: what has come meanwhile waits until its code does.
bool run_host::drives_next_run() {
  auto inputs = std::exchange(next_inputs_, {});
  // Code that hangs must not come before what ends it.
  const bool is_to_end = !inputs_.empty() && inputs_.front().event.kind == run_event_kind::ended;
  if (inputs.empty() || is_to_end || is_dead_ || is_retired_) return false;
  is_busy_ = true;
  drive(std::move(inputs));
  return true;
}

/// To do it again would come to the same, and so would each replay: of the run nothing more can be
/// recorded but that.
void run_host::end_too_large(const error& why) {
  // Not even that.
  if (row_->why && row_->why->code == too_large_code) return abandon(why);
  log::channel("actors")->error("workflow {}: a transition is too large: {}", id(), why.detail);
  // As if what the batch holds had not been, but for what others have to hear.
  row_ = shown_;
  start_->identity.run = row_->run;
  start_->identity.version = row_->version;
  anew_.clear();
  batch_.clear();
  next_inputs_.clear();
  batch_issued_.clear();
  batch_closed_.clear();
  batch_timers_set_.clear();
  // The run took them in no more: they hear how it has ended.
  input left;
  left.run = row_->run;
  left.waiters = std::exchange(batch_waiters_, {});
  inputs_.push_front(std::move(left));
  run_event ended;
  ended.kind = run_event_kind::ended;
  ended.status = run_status::failed;
  ended.time = std::max(now(), row_->started);
  ended.why = failure{
      failure_class::permanent,
      std::string{too_large_code},
      fmt::format(
          "what it did in one turn, with the signals that it had not read, is too large to be "
          "written: {}. Do less between two waits, hand less on, or make "
          "storage.journal_queue_bytes_max larger, and {}",
          why.detail,
          is_agent() ? "delete its channel to begin anew" : "restart it")};
  end_at_once(std::move(ended));
}

}  // namespace callboard::actors
