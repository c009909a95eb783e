// A cancel that comes while the run's code is in a turn stands in the record behind that turn, as
// any input, so that a replay hears of it at the same place. Code may hang there: whoever asked is
// then answered once the run's row says that it is to be cancelled. The row has it recorded when
// the turn ends, or after a restart.
#include "actors/run_host.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event_kind;

/// As long as others who ask after it wait for a turn to end.
constexpr auto turn_patience = std::chrono::milliseconds{2000};
/// Tells the reply to the row alone from those to transitions.
constexpr correlation_id row_of_cancel{2};

bool wants_cancel(const run_waiter& one) {
  return one.what == run_waiter::ask::cancel;
}

bool is_waited_for(const run_input& one) {
  return one.event.kind == run_event_kind::cancel_requested && !one.is_by_parent
         && !one.waiters.empty();
}

}  // namespace

void run_host::note_cancel_later(const runtime::run_cancel& wish) {
  if (std::ranges::none_of(inputs_, is_waited_for)
      && std::ranges::none_of(batch_waiters_, wants_cancel)) {
    return;
  }
  home_.run_later(turn_patience, [this, wish] {
    // If not, what was under way ended, and another turn may have begun.
    if (is_code_at_work_) {
      note_cancel(wish);
    } else {
      note_cancel_later(wish);
    }
  });
}

void run_host::note_cancel(const runtime::run_cancel& wish) {
  const bool is_under_way = !cancel_waiters_.empty();
  std::ranges::copy_if(batch_waiters_, std::back_inserter(cancel_waiters_), wants_cancel);
  std::erase_if(batch_waiters_, wants_cancel);
  for (auto& one : inputs_) {
    if (is_waited_for(one))
      std::ranges::move(std::exchange(one.waiters, {}), std::back_inserter(cancel_waiters_));
  }
  if (is_under_way || cancel_waiters_.empty()) return;
  if (shown_->cancel_asked) {
    for (const auto& one : std::exchange(cancel_waiters_, {}))
      answer_committed(one);
    return;
  }
  // Behind it comes the row of the turn, which says it as well.
  row_->cancel_asked = wish;
  auto row = *shown_;
  row.cancel_asked = wish;
  row.needs_wake = true;
  runtime::publish_request note;
  note.correlation = row_of_cancel;
  note.with.push_back(
      {.kind = storage::record_kind::workflow_progress,
       .payload = runtime::encode_workflow_progress({channel_, row, {}, {}})});
  home_.append_transition(std::move(note));
}

bool run_host::takes_reply_to_cancel(const runtime::publish_reply& reply) {
  if (reply.correlation != row_of_cancel) return false;
  if (reply.outcome) {
    shown_->cancel_asked = row_->cancel_asked;
    shown_->needs_wake = true;
  } else {
    row_->cancel_asked.reset();
  }
  for (const auto& one : std::exchange(cancel_waiters_, {}))
    reply.outcome ? answer_committed(one) : answer(one, std::unexpected{reply.outcome.error()});
  const auto code = reply.outcome ? errc::overloaded : reply.outcome.error().code;
  if (code != errc::overloaded && code != errc::storage_full) abandon(reply.outcome.error());
  return true;
}

}  // namespace callboard::actors
