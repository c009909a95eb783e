#include "actors/run_host.hpp"

#include "actors/guest_turn.hpp"
#include "actors/router.hpp"
#include "actors/run_census.hpp"
#include "actors/run_sweep.hpp"
#include "actors/stuck_runs.hpp"
#include "base/log.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_limits.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <boost/json/serialize.hpp>
#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;
using runtime::run_status;

constexpr auto refused_retry = std::chrono::milliseconds{100};
constexpr auto refused_retry_max = std::chrono::milliseconds{3200};
/// A timer that goes by the wall clock waits so long at most for shard time to show that it is due.
constexpr auto behind_wall_max = std::chrono::milliseconds{1000};

/// Those of others say when the next attempt is due.
bool has_timer(command_kind kind) {
  return kind != command_kind::step && kind != command_kind::model;
}

/// Who is here without having been admitted is needed.
run_charge share_of_memory(const broker_parts& parts, run_charge admitted) {
  return admitted.is_held() ? std::move(admitted) : parts.runs->take(0);
}

}  // namespace

run_host::run_host(
    run_home& home,
    const broker_parts& parts,
    run_metrics& counters,
    shard_id shard,
    const runtime::topic_image& channel,
    run_image image)
    : home_{home},
      parts_{parts},
      costs_{counters, share_of_memory(parts, std::move(image.charge))},
      shard_{shard},
      channel_{channel.name},
      last_seq_{channel.last_seq},
      is_unmade_{channel.entity == entity_id{}},
      row_{std::move(image.row)},
      shown_{row_},
      stops_{parts.user_code},
      earlier_signal_ids_{std::move(image.earlier_signals)},
      models_{home, *this, parts.models} {
  if (row_) note_history(row_->history_bytes);
  is_noted_stuck_ = parts_.stuck != nullptr && parts_.stuck->find(key());
  if (row_ && row_->owes) {
    for (const auto& one : row_->owes->debts)
      add_debt(one);
  }
  if (!row_) return;
  accepted_.insert(row_->accepted.begin(), row_->accepted.end());
  watchers_.insert(row_->watchers.begin(), row_->watchers.end());
  if (image.is_to_end && !row_->ended) {
    if (image.history.empty() || !recall(image.history)) recall_nothing();
  } else if (!image.history.empty()) {
    replay(std::move(image.history), image.read_in);
    // What nobody's code is here for is recorded once somebody asks again, or with the code.
    if (is_replaying_ && row_->cancel_asked) inputs_.push_back(input_of(*row_->cancel_asked));
  } else if (row_->ended) {
    // Its row says what it owes; whose child it was nobody can read.
    tell_debts();
  }
}

run_host::~run_host() {
  const bool is_lent = is_offered_ && !loan_->ask_back();
  // Who works on its code is the last to know it.
  if (!is_lent && !is_code_at_work_) close_engine();
}

void run_host::go_on(run_continuation& rest) {
  const turn here{*this};
  rest.go_on();
}

time_ms run_host::now() const {
  return parts_.journal.shard_time(shard_);
}

// -- transitions -------------------------------------------------------------------------------

std::shared_ptr<runtime::run_engine> run_host::make_engine(const runtime::run_start& start) {
  const auto* code = parts_.workflows == nullptr
                         ? nullptr
                         : parts_.workflows->find(start.identity.type, start.identity.version);
  if (code == nullptr || parts_.user_code == nullptr) return nullptr;
  std::shared_ptr<runtime::run_engine> made{
      new runtime::run_engine{*code, start.identity, start.seed, runtime::limits_of(limits())},
      engine_end{parts_.user_code}};
  made->note_history(costs_.history_bytes(), start.answered.written_size());
  return made;
}

void run_host::replay(std::vector<run_event> history, boot_time read_in) {
  if (!recall(history)) return;
  // All that is owed so far is on disk.
  tell_debts();
  if (row_->ended) {
    if (owes_parent(*row_)) tell_parent();
    return;
  }
  engine_ = make_engine(*start_);
  unread_bytes_ = signals_.unread_bytes();
  if (!engine_) {
    row_->status = run_status::blocked;
    row_->why = failure{
        failure_class::bug,
        "no_code",
        fmt::format("no node has workflow '{}' version {}", row_->type, row_->version)};
    shown_ = row_;
    return;
  }
  history.front().data = start_->input;
  is_busy_ = true;
  is_replaying_ = true;
  is_code_at_work_ = true;
  costs_.begin_replay(parts_.time.boot() - read_in);
  auto posted = parts_.user_code->post(
      reader_pool::lane::control,
      [this,
       self = home_.run_handle(),
       number = ++turn_number_,
       engine = engine_,
       when = now(),
       history = std::move(history)]() mutable {
        auto outputs = engine->replay(history, when);
        tell_and_run(
            self,
            caf::make_message(
                box(run_continuation{[this, number, outputs = std::move(outputs)]() mutable {
                  on_driven(number, std::move(outputs));
                }})));
      });
  if (!posted) is_dead_ = true;
}

void run_host::offer(input next) {
  if (next.run == 0 && row_) next.run = row_->run;
  waiting_bytes_ += next.bytes;
  inputs_.push_back(std::move(next));
  pump();
}

void run_host::pump() {
  while (!is_busy_ && !is_carrying_out_ && !is_dead_ && !is_retired_ && !inputs_.empty()) {
    auto next = std::move(inputs_.front());
    inputs_.pop_front();
    waiting_bytes_ -= next.bytes;
    if (begins_anew(next)) continue;
    // While its history was replayed nobody knew how much of it is unread.
    const auto behind = std::exchange(waiting_bytes_, 0);
    const auto too_much =
        next.bytes == 0 || row_->ended ? std::nullopt : refuses_unread(next.event.name, next.bytes);
    waiting_bytes_ = behind;
    if (too_much) {
      open_messages_.erase(next.event.id);
      std::erase_if(result_waiters_, [&](const auto& one) {
        const auto& [number, waiting] = one;
        if (waiting.what != waiter::ask::call || waiting.message != next.event.id) return false;
        next.waiters.push_back(waiting);
        return true;
      });
      for (const auto& one : next.waiters)
        answer(one, std::unexpected{*too_much});
      continue;
    }
    if (!prepare(next)) {
      for (const auto& one : next.waiters)
        turn_away(one);
      continue;
    }
    is_busy_ = true;
    next.event.time = std::max(now(), row_->started);
    batch_waiters_ = std::move(next.waiters);
    if (next.event.kind == run_event_kind::ended) return end_at_once(std::move(next.event));
    row_->parent_cancelled |= next.is_by_parent;
    owe_if_left(next.event);
    // Ended by hand: its child or its task goes on to no purpose.
    if (!next.event.by_hand.is_null()) owe(next.event.command);
    batch_.push_back({next.event, row_->run});
    is_fresh_ &= next.event.kind == run_event_kind::started;
    unread_bytes_ += next.bytes;
    // Recorded all the same: the code that fits reads it when it comes.
    if (engine_ && engine_->blocked()) engine_->pass_over(next.event);
    if (!engine_ || engine_->blocked()) return append_batch();
    if (next.event.kind == run_event_kind::started) next.event.data = start_->input;
    drive({std::move(next.event)});
  }
}

bool run_host::prepare(input& next) {
  if (row_->ended || (next.is_by_parent && row_->parent_cancelled)) return false;
  const bool is_cancel = next.event.kind == run_event_kind::cancel_requested;
  if (is_cancel && is_being_cancelled_ && !next.is_by_parent) return false;
  if (next.event.command != 0 && next.run != row_->run) return false;
  if (engine_ && engine_->is_passed_over(next.event.command)) return false;
  if (!next.step) {
    const bool is_for_command = next.event.command != 0;
    return !is_for_command || (engine_ && engine_->open().contains(next.event.command));
  }
  if (!engine_) return false;
  const auto found = engine_->open().find(next.event.command);
  if (found == engine_->open().end() || found->second.attempt != next.step->attempt) return false;
  next.event = runtime::event_of(
      {next.event.command, next.step->attempt, std::move(next.step->ended)},
      found->second,
      id(),
      now(),
      runtime::limits_of(limits()));
  return true;
}

void close_if_over(runtime::run_engine& engine, const runtime::run_outputs& outputs) {
  // The next run takes over what this one has not read.
  if (outputs.end && outputs.end->status != run_status::continued) engine.close();
}

void run_host::drive(std::vector<run_event> inputs) {
  is_code_at_work_ = true;
  auto posted = parts_.user_code->post(
      reader_pool::lane::control,
      [this,
       &time = parts_.time,
       self = home_.run_handle(),
       number = ++turn_number_,
       engine = engine_,
       inputs = std::move(inputs)]() mutable {
        const auto began = time.boot();
        auto outputs = engine->deliver(inputs);
        close_if_over(*engine, outputs);
        const auto took = time.boot() - began;
        tell_and_run(
            self,
            caf::make_message(
                box(run_continuation{[this, took, number, outputs = std::move(outputs)]() mutable {
                  costs_.note_turn(took);
                  on_driven(number, std::move(outputs));
                }})));
      });
  if (!posted) {
    is_dead_ = true;
    is_busy_ = false;
  }
}

void run_host::on_driven(std::uint64_t turn, runtime::run_outputs outputs) {
  if (turn != turn_number_) return home_.run_settled();
  end_turn(std::move(outputs));
}

void run_host::end_turn(runtime::run_outputs outputs) {
  is_code_at_work_ = false;
  if (is_dead_) return home_.run_settled();
  const bool is_read_again = std::exchange(is_replaying_, false);
  // Code that does not fit the record adds nothing to it.
  if (is_read_again && engine_->blocked()) outputs = {};
  if (!engine_->blocked()) unread_bytes_ = engine_->unread_bytes();
  const auto when = batch_.empty() ? now() : batch_.back().event.time;
  for (const auto command : outputs.closed) {
    if (const auto timer = timers_.find(command); timer != timers_.end()) {
      batch_timers_cleared_.push_back(timer->second);
      timers_.erase(timer);
    }
  }
  batch_closed_.insert(batch_closed_.end(), outputs.closed.begin(), outputs.closed.end());
  batch_.reserve(batch_.size() + outputs.events.size());
  for (auto& event : outputs.events) {
    event.time = when;
    owe_if_left(event);
    batch_.push_back({std::move(event), row_->run});
  }
  if (engine_->blocked() && fails_on_mismatch()) return fail_mismatched(when);
  if (engine_->blocked()) note_blocked();
  batch_issued_.insert(batch_issued_.end(), outputs.issued.begin(), outputs.issued.end());
  for (const auto command : outputs.issued) {
    const auto& one = engine_->open().at(command);
    if (!one.due) continue;
    timers_[command] = {*one.due, command, one.by_wall};
    batch_timers_set_.push_back(timers_[command]);
  }
  if (is_read_again) {
    costs_.end_replay(parts_.time.boot());
    if (!engine_->blocked()) go_on_after_replay();
    // A copy begins without.
    if (row_->state.empty()) show_state();
    if (shown_) shown_->state = row_->state;
  }
  if (outputs.end) {
    if (outputs.end->status == run_status::continued) {
      show_state();
      return begin_next_run(std::move(outputs.end->result));
    }
    end_run(*outputs.end, when);
  }
  append_batch();
}

void run_host::go_on_after_replay() {
  note_interrupted();
  std::erase_if(timers_, [this](const auto& one) {
    const bool is_over = !engine_->open().contains(one.first);
    if (is_over) batch_timers_cleared_.push_back(one.second);
    // Else their rows would stay where nothing else is to be written.
    is_row_behind_ |= is_over;
    return is_over;
  });
  for (const auto& [command, one] : engine_->open()) {
    if (one.due && has_timer(one.request.kind)) {
      timers_[command] = {*one.due, command, one.by_wall};
      arm_timer(timers_[command]);
    }
    if (!has_timer(one.request.kind)) wait_again(command);
    if (std::ranges::find(batch_issued_, command) == batch_issued_.end()) send_again(command);
  }
}

bool run_host::fails_on_mismatch() const {
  const auto* code = parts_.workflows->find(start_->identity.type, start_->identity.version);
  const auto& why = engine_->blocked()->code;
  return code != nullptr && code->on_mismatch == mismatch::fail
         && (why == runtime::command_differs_code || why == runtime::command_missing_code);
}

void run_host::fail_mismatched(time_ms when) {
  run_event ended;
  ended.kind = run_event_kind::ended;
  ended.status = run_status::failed;
  ended.time = when;
  ended.why = runtime::with_builds(*engine_->blocked(), builds_, build_of(start_->identity));
  ended.why->kind = failure_class::permanent;
  end_at_once(std::move(ended));
}

void run_host::note_blocked() {
  const auto why = runtime::with_builds(*engine_->blocked(), builds_, build_of(start_->identity));
  if (row_->status == run_status::blocked && row_->why == why) return;
  row_->status = run_status::blocked;
  row_->why = why;
  run_event event;
  event.kind = run_event_kind::ended;
  event.status = run_status::blocked;
  event.time = now();
  event.why = why;
  batch_.push_back({std::move(event), row_->run});
}

void run_host::end_run(const runtime::run_end& end, time_ms when) {
  row_->status = end.status;
  row_->ended = when;
  row_->why = end.why;
  row_->result =
      end.status == run_status::completed ? boost::json::serialize(end.result) : std::string{};
  owe_all();
}

void run_host::end_at_once(run_event with) {
  end_run({with.status, {}, with.why}, with.time);
  clear_timers();
  batch_.push_back({std::move(with), row_->run});
  append_batch();
}

void run_host::append_batch() {
  const bool fits_again =
      engine_ && !engine_->blocked() && row_->status == run_status::blocked && !row_->ended;
  // On disk, too, so that the views and those who watch know; of one that goes on as new the next
  // run tells.
  if (fits_again && (batch_.empty() || batch_.front().run == batch_.back().run)) {
    run_event event;
    event.kind = run_event_kind::unblocked;
    event.time = batch_.empty() ? now() : batch_.front().event.time;
    batch_.insert(batch_.begin(), recorded{std::move(event), row_->run});
  }
  if (batch_.empty()) {
    batch_closed_.clear();
    is_busy_ = false;
    home_.run_settled();
    return pump();
  }
  if (engine_) {
    // Code that does not fit its history stands where it came to, or has not begun.
    if (engine_->commands() >= row_->commands && next_inputs_.empty()) {
      note_length(std::exchange(row_->commands, engine_->commands()));
      // What an agent knows is not lost with code that cannot read it.
      if (!engine_->blocked()) show_state();
    }
    if (!row_->ended && !engine_->blocked()) {
      row_->status = run_status::running;
      row_->why.reset();
    }
  }
  for (const auto& one : batch_) {
    // What is copied has its timers already.
    const bool is_new = anew_.empty() && one.run == row_->run;
    if (is_new && one.event.kind == run_event_kind::attempt_failed) rest_until(one.event);
  }
  note_build(batch_.back().event.time);
  row_->last_seq = sequence{last_seq_.raw() + batch_.size()};
  runtime::publish_request transition;
  transition.events.reserve(batch_.size());
  std::uint64_t number = last_seq_.raw();
  auto identity = start_->identity;
  row_->history_bytes = costs_.history_bytes();
  for (const auto& one : batch_) {
    identity.run = one.run;
    transition.events.push_back(runtime::encode_run_event(one.event, identity, ++number));
    if (one.run == row_->run) row_->history_bytes += transition.events.back().stored.size();
  }
  append_row(std::move(transition));
}

void run_host::on_appended(const runtime::publish_reply& reply) {
  const turn here{*this};
  if (models_.takes_reply(reply) || takes_reply_to_cancel(reply)) return;
  if (takes_reply_to_slice(reply)) return;
  is_appending_ = false;
  if (reply.outcome) return commit(reply.outcome->first_seq);
  const auto& why = reply.outcome.error();
  if (is_dead_ || is_retired_) return abandon(why);
  const bool is_refused = why.code == errc::overloaded || why.code == errc::storage_full;
  if (why.code == errc::too_large && shown_ && !shown_->ended) return end_too_large(why);
  // Whoever starts a workflow tries again by himself; nothing of it is there yet.
  if (!is_refused || (is_unmade_ && !shown_)) return abandon(why);
  if (is_settling_) return put_off_settlement();
  // Each try encodes the whole batch; a full disk is nothing that passes in a moment.
  const auto pause = std::max(append_refused_.pause, refused_retry);
  if (why.code == errc::storage_full)
    append_refused_ = {why, std::min(2 * pause, refused_retry_max)};
  home_.run_later(pause, [this] {
    if (!is_dead_) append_batch();
  });
}

void run_host::commit(sequence first) {
  append_refused_ = {};
  if (takes_settlement()) return;
  last_seq_ = sequence{first.raw() + batch_.size() - 1};
  note_history(row_->history_bytes);
  count_moved(parts_, shard_, channel_, shown_, row_);
  shown_ = row_;
  bool is_of_earlier = false;
  for (const auto& one : std::exchange(batch_, {})) {
    costs_.count(one.event);
    if (one.event.what == command_kind::reply) {
      wake_caller(runtime::text_at(one.event.data.as_object(), "id"));
    }
    if (one.run != row_->run) {
      is_of_earlier = true;
      if (one.event.what == command_kind::reply) note_reply(one.event.data.as_object());
      const bool has_id = one.event.kind == run_event_kind::signalled && !one.event.id.empty();
      if (has_id && !is_agent()) earlier_signal_ids_.emplace(one.event.id, said_by(one.event));
      continue;
    }
    if (std::exchange(is_of_earlier, false)) keep_replies();
    note(one.event);
    models_.recorded(one.event.command);
    // The next attempt.
    if (one.event.kind == run_event_kind::attempt_failed) {
      batch_issued_.push_back(one.event.command);
    }
  }
  const auto closed = std::exchange(batch_closed_, {});
  for (const auto command : closed) {
    models_.cancel(command);
    stops_.ask(command);
  }
  // From the last on: else each of them is given its turn when the one before it has left.
  for (const auto command : std::views::reverse(closed))
    leave_lane(command);
  batch_timers_set_.clear();
  batch_timers_cleared_.clear();
  is_busy_ = false;
  if (is_noted_stuck_) note_stuck(std::nullopt);
  for (const auto& one : std::exchange(batch_waiters_, {}))
    answer_committed(one);
  tell_debts();
  if (!anew_.empty() && !is_retired_) return replay_anew();
  if (drives_next_run()) return;
  // One that fails at once is told to the code when all have been read from its engine.
  is_carrying_out_ = true;
  for (const auto command : std::exchange(batch_issued_, {}))
    carry_out(command);
  is_carrying_out_ = false;
  if (row_->ended) {
    end_work();
    for (const auto& [number, one] : std::exchange(result_waiters_, {}))
      answer_result(one);
    wake_callers();
    turn_away_inputs();
    close_engine();
    if (owes_parent(*row_) && !owes_parent_) tell_parent();
  }
  home_.run_settled();
  pump();
}

void run_host::retire() {
  const turn here{*this};
  is_retired_ = true;
  end_work();
  const error why{errc::overloaded, "the workflow is being reloaded; retry", 50};
  for (auto& one : std::exchange(inputs_, {})) {
    for (const auto& waiting : one.waiters)
      answer(waiting, std::unexpected{why});
  }
  for (const auto& [number, one] : std::exchange(result_waiters_, {}))
    answer(one, std::unexpected{why});
  for (const auto& one : std::exchange(cancel_waiters_, {}))
    answer(one, std::unexpected{why});
  for (const auto& [one, since] : std::exchange(explains_, {}))
    answer(one, std::unexpected{why});
}

void run_host::give_up() {
  const turn here{*this};
  // What is on its way to the journal is answered soon.
  if (!is_code_at_work_) {
    have_callers_ask();
    return retire();
  }
  abandon({errc::overloaded, "the workflow is being reloaded; retry", 50});
}

void run_host::leave_for_good() {
  const turn here{*this};
  count_moved(parts_, shard_, channel_, shown_, std::nullopt);
  abandon({errc::overloaded, "the workflow was deleted meanwhile; retry", 50});
}

void run_host::abandon(const error& why) {
  const turn here{*this};
  if (!is_dead_) have_callers_ask();
  is_dead_ = true;
  is_busy_ = false;
  if (is_code_at_work_) give_up_turn();
  for (const auto& one : std::exchange(batch_waiters_, {}))
    answer(one, std::unexpected{why});
  retire();
  home_.run_settled();
}

bool run_host::is_over(time_ms cutoff) const {
  if (!row_ || !row_->ended || *row_->ended >= cutoff || is_busy_ || !inputs_.empty()) return false;
  return (!row_->needs_wake && !owes_parent_) || *row_->ended < cutoff - owing_kept_max;
}

runtime::next_timers run_host::next_timers() const {
  runtime::next_timers next;
  if (row_ && row_->status == run_status::blocked) return next;
  for (const auto& [command, timer] : timers_)
    next.add(timer);
  return next;
}

std::chrono::milliseconds run_host::left_of(const runtime::run_timer& timer) const {
  const auto by_shard = timer.due - now();
  if (!timer.by_wall) return by_shard;
  const auto by_wall = timer.due - parts_.time.wall();
  // Whom it wakes must not see it fire early: shard time is mostly a fraction of a millisecond
  // behind the wall clock, and far behind where that was set.
  return by_shard <= behind_wall_max ? std::max(by_wall, by_shard) : by_wall;
}

}  // namespace callboard::actors
