// A run that goes on as new: what the next one is told of it, and when its code begins.
#include "actors/run_host.hpp"
#include "base/hash.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <fmt/format.h>

#include <iterator>
#include <utility>

namespace callboard::actors {

using runtime::run_event;
using runtime::run_event_kind;

/// The next run begins in the batch that ends this one; the code of an agent works on it behind
/// that.
void run_host::begin_next_run(json with) {
  auto unread = engine_->take_unread();
  owe_all();
  children_.clear();
  forget_accepted();
  tasks_.clear();
  start_->identity.run += 1;
  start_->identity.version = row_->version = newest_version(*start_);
  if (start_->incarnation == 0) start_->incarnation = start_->seed;
  start_->seed = hash_64(fmt::format("{}/{}", engine_->seed(), start_->identity.run));
  start_->input = std::move(with);
  start_->build = build_of(start_->identity);
  row_->run = start_->identity.run;
  row_->first_seq = sequence{last_seq_.raw() + batch_.size() + 1};
  row_->commands = 0;
  steps_.clear();
  signals_ = {};
  // Those that nobody has read are recorded again; those that were answered are among the replies.
  earlier_signal_ids_ = std::exchange(signal_ids_, {});
  if (is_agent()) earlier_signal_ids_.clear();
  batch_issued_.clear();
  is_being_cancelled_ = false;
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
  for (auto& one : inputs) {
    one.time = now();
    batch_.push_back({one, row_->run});
  }
  inputs.front().data = start_->input;
  // What was signalled to a workflow is known as that of the run before, through all that begin in
  // one batch. Of an agent, which remembers its replies, there may be more than a batch can hold.
  if (!is_agent()) return drive(std::move(inputs));
  next_inputs_ = std::move(inputs);
  append_batch();
}

bool run_host::drives_next_run() {
  auto inputs = std::exchange(next_inputs_, {});
  // Code that hangs must not come before what ends it.
  const bool is_to_end = !inputs_.empty() && inputs_.front().event.kind == run_event_kind::ended;
  if (inputs.empty() || is_to_end || is_dead_ || is_retired_) return false;
  is_busy_ = true;
  drive(std::move(inputs));
  return true;
}

}  // namespace callboard::actors
