// The run of one workflow, inside the TOPIC actor of its channel: takes inputs one at a time, lets
// the engine work on each on the user pool, hands input and outputs to the journal as one batch,
// and does what the code asked for only once that is committed.
#pragma once

#include "actors/boxed.hpp"
#include "actors/broker_parts.hpp"
#include "actors/engine_loan.hpp"
#include "actors/requests.hpp"
#include "actors/run_costs.hpp"
#include "actors/run_home.hpp"
#include "actors/run_image.hpp"
#include "actors/run_input.hpp"
#include "actors/run_model_calls.hpp"
#include "actors/run_notes.hpp"
#include "actors/send_lanes.hpp"
#include "actors/step_stops.hpp"
#include "base/lazy_deque.hpp"
#include "runtime/topic/publish.hpp"
#include "runtime/topic/topic_core.hpp"
#include "runtime/workflow/attempt_end.hpp"
#include "runtime/workflow/recorded_builds.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_engine.hpp"
#include "runtime/workflow/run_row.hpp"
#include "runtime/workflow/signal_ledger.hpp"

#include <caf/actor.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace callboard::actors {

struct awaited;
struct rerun_slice;
struct seen_wait;

/// On a thread that runs user code: lets go of what the run has in memory, once it has ended.
void close_if_over(runtime::run_engine& engine, const runtime::run_outputs& outputs);

class run_host;

/// Why the channel is not deleted; nothing if it may be. `run` is null for other topics.
[[nodiscard]] std::optional<error> kept_because(const run_host* run, const delete_topic& ask);

/// Lifecycle: made with its topic, gone with it. A run that has not ended is replayed at once.
/// Bound: `workflows.inputs_waiting_max` inputs wait, and `workflows.unread_bytes_max` of signals
/// that the code has not read; beyond them signals are refused as inbox_full. Survives a restart:
/// what was committed; what was under way is begun again.
class run_host final : private model_caller {
public:
  run_host(
      run_home& home,
      const broker_parts& parts,
      run_metrics& counters,
      shard_id shard,
      const runtime::topic_image& channel,
      run_image image);
  ~run_host() override;

  run_host(const run_host&) = delete;
  run_host& operator=(const run_host&) = delete;

  /// Any of the workflow bodies.
  void on_request(control_request request, const caf::actor& reply_to);
  void on_appended(const runtime::publish_reply& reply);
  /// Answers to what commands of the run asked other entities for.
  void on_publish_replies(const publish_replies& replies);
  void on_control_reply(const control_reply& reply);
  void go_on(run_continuation& rest);

  /// To one relay: what the answers of models have told that are not recorded.
  void show_so_far(std::uint64_t relay);

  /// Nothing is begun any more; a turn that its code has is waited for, steps are not: what they
  /// come back with is dropped.
  void retire();
  /// The same where nothing can be written any more, so not for the turn either.
  void give_up();
  /// Its channel is deleted: whoever waits for it asks again.
  void leave_for_good();
  /// The channel's journal failed: all that is open here is answered and forgotten.
  void abandon(const error& why);

  /// Nothing would be lost or late if the actor ended now.
  [[nodiscard]] bool is_idle() const;
  /// When it must be awake again.
  [[nodiscard]] runtime::next_timers next_timers() const;

  /// Of its channel's events: those that a replay reads, and more for people.
  [[nodiscard]] runtime::kept_events keeps() const;

  /// It has ended before `cutoff`, and owes nobody anything, or did so `owing_kept_max` before: its
  /// channel may be deleted.
  [[nodiscard]] bool is_over(time_ms cutoff) const;

  /// Why its channel must stay: the workflow has not ended, or not told it. Agents have no end.
  [[nodiscard]] std::optional<error> holds_channel() const;

  [[nodiscard]] bool is_settled() const { return !is_busy_; }

private:
  using waiter = run_waiter;
  using input = run_input;

  /// While one message is worked on the engine is here, or the run is busy with what a step does
  /// with it. Turns may stand within turns.
  class turn {
  public:
    explicit turn(run_host& run) : run_{run} {
      if (run_.turns_++ == 0) run_.take_back_engine();
    }

    ~turn() {
      if (--run_.turns_ != 0) return;
      run_.check_if_wanted();
      run_.note_idleness();
      // Last: from here on it may be another thread's.
      run_.offer_engine();
    }

    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;

  private:
    run_host& run_;
  };

  // -- requests (run_requests.cpp) -------------------------------------------------------------
  void on_start(const start_workflow& ask, waiter from);
  void on_signal(const signal_workflow& ask, waiter from);
  void on_cancel(const cancel_workflow& ask, waiter from);
  void on_terminate(const terminate_workflow& ask, waiter from);
  void note_cancel_later(const runtime::run_cancel& wish);  // run_cancel.cpp
  void note_cancel(const runtime::run_cancel& wish);
  [[nodiscard]] bool takes_reply_to_cancel(const runtime::publish_reply& reply);
  /// False: there is no code for it.
  [[nodiscard]] bool begin(const beginning& what, std::optional<waiter> from);
  /// What it would have to take over when it goes on as a new run is more than may be.
  [[nodiscard]] std::optional<error>
  refuses_unread(const std::string& signal, std::size_t more) const;
  void await_end(waiter from);
  void await_answer(waiter from);
  void on_child_end(const end_child& ask, waiter from);
  void answer(const waiter& to, result<control_answer> with);
  void answer_committed(const waiter& to);
  void turn_away(const waiter& from);
  void turn_away_inputs();
  /// The end of a child or a task is told anew while what was told before still waits, or is being
  /// written: only who told it last is answered then.
  [[nodiscard]] bool joins_end(std::uint32_t run, const waiter& from);
  /// Joins those who wait for the same signal, if it is on its way.
  [[nodiscard]] bool joins_signal(const std::string& signal_id, const waiter& from);
  [[nodiscard]] std::uint64_t said_by(const runtime::run_event& signal) const;
  /// What the signal of this id says, if there was or is one.
  [[nodiscard]] std::optional<std::uint64_t> signal_known(const std::string& signal_id) const;
  void answer_result(const waiter& to);

  // -- restart and fork (run_rerun.cpp) --------------------------------------------------------
  void on_rerun(begin_rerun ask, waiter from);
  void answer_forked(const begin_rerun& ask, waiter from);
  /// True if the input was a restart or a fork, which is on its way or refused now.
  [[nodiscard]] bool begins_anew(input& next);
  [[nodiscard]] std::optional<error> refuses_rerun(const begin_rerun& ask, bool is_fork) const;
  void begin_copy(std::shared_ptr<const begin_rerun> ask, runtime::run_start start);
  void read_signals_behind();
  void on_signals_behind(result<std::vector<runtime::run_event>> signals);
  void read_slice();
  void on_slice(result<rerun_slice> slice);
  void append_slice();
  /// False: the reply is to something else.
  [[nodiscard]] bool takes_reply_to_slice(const runtime::publish_reply& reply);
  void refuse_copy(const error& why);
  void give_up_copy();
  void end_copy(std::size_t first_new);
  void leave_run(time_ms when);
  void close_engine();
  void close(std::shared_ptr<runtime::run_engine> ended);
  void replay_anew();

  // -- repair (run_repair.cpp) -----------------------------------------------------------------
  void on_resolve(const resolve_command& ask, waiter from);
  void answer_not_open(const waiter& to);
  void note_build(time_ms when);
  [[nodiscard]] const std::string& build_of(const run_identity& what) const;

  // -- messages of agents (run_calls.cpp) ------------------------------------------------------
  [[nodiscard]] bool is_agent() const;
  /// False if the agent has not heard a message of this id, or heard this one: `said` of it.
  [[nodiscard]] bool is_reused(const std::string& id, std::uint64_t said) const;
  void on_call(const call_agent& ask, waiter from);
  void answer_pending(const waiter& to);
  void note_reply(const boost::json::object& reply);
  /// What an agent's earlier runs replied.
  void recall_replies(const json& input);
  /// Keeps what the run that has ended handed on as long as the next one goes on.
  void keep_replies();
  [[nodiscard]] bool is_replied(const std::string& message) const;
  /// It was answered by an earlier run, or may have been.
  [[nodiscard]] bool was_answered_once(const call_agent& ask) const;
  [[nodiscard]] bool has_caller(const std::string& message) const;
  /// Reads a reply that is no longer in memory, from this seq of the channel on.
  void find_reply(const std::string& message, sequence from);
  /// False: the reply is to something else.
  [[nodiscard]] bool takes_found_reply(const control_reply& reply);
  void tell_callers(const std::string& message, const result<control_answer>& with);
  void send_call(std::uint32_t command);
  void on_called(std::uint32_t command, const workflow_answer& reply);

  // -- transitions (run_host.cpp) --------------------------------------------------------------
  /// `read_in`: what it took to read the history; counts as part of the replay.
  void replay(std::vector<runtime::run_event> history, boot_time read_in);
  /// What the history says, without its code. False: it does not begin as one.
  [[nodiscard]] bool recall(const std::vector<runtime::run_event>& history);
  /// From the row alone.
  void recall_nothing();
  /// The code that works on something now does it for nobody: what it comes back with is dropped.
  void give_up_turn();
  [[nodiscard]] std::shared_ptr<runtime::run_engine> make_engine(const runtime::run_start& start);
  void offer(input next);
  void pump();
  [[nodiscard]] bool prepare(input& next);
  /// Inputs of the current run, which are in the batch.
  void drive(std::vector<runtime::run_event> inputs);
  void on_driven(std::uint64_t turn, runtime::run_outputs outputs);
  void end_turn(runtime::run_outputs outputs);
  /// Its code fits: what it had under way is taken up again.
  void go_on_after_replay();
  void append_batch();
  /// With the row as it is now.
  void append_row(runtime::publish_request transition);
  void commit(sequence first);
  void note(const runtime::run_event& event);
  /// With the signal that it waited for.
  void note_heard(std::uint32_t command, time_ms when);
  /// All that is open when the run ends.
  void note_left(time_ms when);
  /// By what its class declares. Precondition: `engine_->blocked()`.
  [[nodiscard]] bool fails_on_mismatch() const;
  void fail_mismatched(time_ms when);
  void note_blocked();
  void end_run(const runtime::run_end& end, time_ms when);
  /// Model calls and steps under way are for nobody.
  void end_work();
  /// Without its code.
  void end_at_once(runtime::run_event with);
  /// All that are armed are so no more, from this transition on.
  void clear_timers();
  [[nodiscard]] time_ms now() const;
  /// By the clock that the timer goes by.
  [[nodiscard]] std::chrono::milliseconds left_of(const runtime::run_timer& timer) const;
  /// Tells the workflow from others of its id; of runs that began without one: their seed.
  [[nodiscard]] std::uint64_t incarnation() const;

  [[nodiscard]] const config::workflows_section& limits() const {
    return parts_.settings.workflows;
  }

  // -- going on as a new run (run_next.cpp) ----------------------------------------------------
  void begin_next_run(json with);
  void hand_on_signals(const std::vector<runtime::run_event>& unread);
  [[nodiscard]] std::uint32_t newest_version(const runtime::run_start& start) const;
  /// Takes the first cancel out of what waits.
  [[nodiscard]] std::optional<input> take_cancel();
  /// Enough is in the batch already: the run that begins in it waits until that is on disk.
  [[nodiscard]] bool is_batch_full() const;
  /// False: none has begun in what was committed, or it ends at once.
  [[nodiscard]] bool drives_next_run();
  /// The journal never takes what its code did last.
  void end_too_large(const error& why);

  // -- how long it stays (run_stay.cpp) --------------------------------------------------------
  /// Its replay takes its time.
  [[nodiscard]] bool is_long() const;
  void note_history(std::uint64_t bytes);
  void note_length(std::uint32_t commands_before);
  /// How long it stays in memory with nothing to do.
  [[nodiscard]] boot_time stay() const;
  void note_idleness();
  void leave();

  // -- effects (run_effects.cpp) ---------------------------------------------------------------
  /// Commands may be handed on: the code is here and fits what is recorded. What an engine has open
  /// that is blocked is not all true: it has not read what came behind the difference.
  [[nodiscard]] bool may_carry_out() const;
  void carry_out(std::uint32_t command);
  [[nodiscard]] bool is_its_turn(std::uint32_t command, bool is_again);
  void leave_lane(std::uint32_t command);
  void start_step(std::uint32_t command);
  void start_model(std::uint32_t command);
  void model_ended(std::uint32_t command, std::uint32_t attempt, outcome<json> ended) override;
  void note_interrupted();
  void take_back_engine();
  void offer_engine();
  void post_step(ready_step next);
  /// The step's thread has gone on with the code; nothing if the attempt was over before it ended.
  void on_step_driven(
      const engine_loan& loan,
      std::optional<runtime::run_event> input,
      runtime::run_outputs outputs);
  void on_step_done(
      std::uint32_t command, std::uint32_t attempt, std::uint32_t run, outcome<json> ended);
  void arm_timer(const runtime::run_timer& timer);
  void on_timer(std::uint32_t command);
  /// The topic of a `publish`, or the mirror of an `update`.
  [[nodiscard]] result<topic_name> published_to(const detail::command_request& request) const;
  void send_publish(std::uint32_t command);
  void refuse_publish(std::uint32_t command, const error& why);
  /// False: they are above their limit, and the command ends with that.
  [[nodiscard]] bool may_hand_on(std::uint32_t command, const detail::command_request& request);
  void refuse_arguments(std::uint32_t command);
  void fail_command(std::uint32_t command, const error& why);
  void fail_command(std::uint32_t command, failure why);
  void complete_command(std::uint32_t command, json with);
  [[nodiscard]] correlation_id next_correlation(std::uint32_t command);
  void after(std::chrono::milliseconds delay, std::move_only_function<void()> rest);
  void when_free(std::move_only_function<void()> rest);

  // -- children (run_children.cpp) -------------------------------------------------------------
  void send_child(std::uint32_t command);
  [[nodiscard]] std::string
  child_id(std::uint32_t command, const boost::json::object& arguments) const;
  [[nodiscard]] bool is_child_of(const workflow_parent& parent) const;
  [[nodiscard]] bool is_of_same_parent(const workflow_parent& parent) const;
  /// Of this workflow that `parent` starts again: an earlier run of it had started it, and it came
  /// to nothing.
  [[nodiscard]] bool may_begin_for(const workflow_parent& parent) const;
  void begin_for(const workflow_parent& parent, waiter from);
  /// A run before this one has not told it yet that it is cancelled.
  [[nodiscard]] bool still_cancels(const std::string& child) const;
  void tell_parent();
  [[nodiscard]] end_child end_for(const task_waiter& who) const;
  void on_child_reply(std::uint32_t command, const workflow_answer& answer);
  /// By what `describe` shows of the child.
  [[nodiscard]] bool is_parent_of(const boost::json::object& child, std::uint32_t command) const;
  void await_child(std::uint32_t command);

  // -- after a replay (run_resends.cpp) --------------------------------------------------------
  /// What the receiver knows a command of this run by.
  [[nodiscard]] std::string command_id(std::uint32_t command) const;
  [[nodiscard]] time_ms issued_at(std::uint32_t command) const;
  void send_again(std::uint32_t command);
  /// Of a call that may have been sent before: when at the earliest.
  [[nodiscard]] std::optional<time_ms> sent_since(std::uint32_t command) const;
  void send_again_later(std::uint32_t command, std::chrono::milliseconds pause);
  /// Before the command is sent again; nothing if `why` is its end.
  [[nodiscard]] std::optional<std::chrono::milliseconds>
  pause_before_sending(std::uint32_t command, const error& why);
  /// Before a command is given again to whoever has nobody for it, which is `missing`.
  [[nodiscard]] std::chrono::milliseconds pause_when_turned_away(
      std::uint32_t command, const error& why, std::string_view missing = "type_missing");
  std::chrono::milliseconds note_refused(std::uint32_t command, const error& why);
  /// Of a child or an agent that it waits for, or a provider of models.
  [[nodiscard]] bool lacks_type() const;
  void look(sent_before what, control_body ask);
  void look_from(sent_before what, runtime::position from);
  /// False: the reply is to something else.
  [[nodiscard]] bool takes_lookup(const control_reply& reply);
  void look_through(sent_before what, const event_page& page);
  /// The reply to a message, if that is what is stored in an agent's channel.
  [[nodiscard]] static std::optional<boost::json::object>
  reply_in(const runtime::delivered_event& stored, const std::string& message);

  // -- tasks in queues (run_tasks.cpp) ---------------------------------------------------------
  void send_task(std::uint32_t command);
  void on_task_reply(std::uint32_t command, const control_reply& reply);
  void on_task_end(const end_task& ask, waiter from);
  /// What `event` makes of the tasks that are waited for.
  void note_task(const runtime::run_event& event);
  void fail_for_queue(std::uint32_t command);

  // -- what others see to (run_accepted.cpp) ---------------------------------------------------
  void note_accepted(std::uint32_t command);
  /// Another run takes the place of the one that knew of it.
  void forget_accepted();
  /// In the row that is about to be written.
  void show_accepted();
  /// The row on disk says all that lets the run rest.
  [[nodiscard]] bool is_rest_on_disk() const;
  /// The next attempt, if that is not soon: its timer has a row, as that of a sleep.
  void rest_until(const runtime::run_event& failed);
  void wait_again(std::uint32_t command);
  /// What waited for its attempt waits no more.
  void begin_attempt(std::uint32_t command);
  /// Precondition: the code is here.
  [[nodiscard]] bool is_open_model(std::uint32_t command) const;
  /// An attempt that the row on disk shows as not begun; it begins once that says otherwise.
  void record_begun(std::uint32_t command);
  /// Something is open that nothing ends unless this process works on it, but for these
  /// (ascending).
  template <class Commands>
  [[nodiscard]] bool has_work_beside(const Commands& accepted) const;
  /// As it stands in the row.
  [[nodiscard]] bool has_work() const;
  /// Asks again for replies that this run left to their agents; `is_there`: one of them has one.
  void ask_for_replies(bool is_there);
  /// Whose message it is, if he asks no more: the reply is there, or will never be.
  void wake_caller(const std::string& message);
  void wake_callers();
  /// Nobody here will tell them of replies, which may be on disk already.
  void have_callers_ask();
  void send_wake(const topic_ref& caller, std::uint32_t tries);
  /// False: the reply is to something else.
  [[nodiscard]] bool takes_wake_reply(const control_reply& reply);

  // -- what others must still be told (run_debts.cpp) ------------------------------------------
  /// If the event says that the run goes on without the command's child or task.
  void owe_if_left(const runtime::run_event& event);
  void owe(std::uint32_t command);
  void owe_all();
  void add_debt(runtime::run_debt what);
  /// In the row that is about to be written.
  void note_debts();
  /// Those that are on disk and not on their way.
  void tell_debts();
  void tell_debt(const std::string& origin);
  void tell_debt_later(const std::string& origin);
  [[nodiscard]] std::optional<control_body> message_of(const runtime::run_debt& what) const;
  void note_watcher(const std::string& watcher, waiter& from);
  /// With the end of the run they are debts, and with its next run they are none.
  void turn_watchers();
  [[nodiscard]] bool takes_debt_reply(const control_reply& reply);
  void on_debt_told(const std::string& origin);
  [[nodiscard]] bool has_debts() const;
  void settle_debts();
  void put_off_settlement();
  /// When a transition has not done it within a second: also what others have accepted.
  void settle_debts_later();
  [[nodiscard]] bool takes_settlement();

  // -- what is shown (run_view.cpp) ------------------------------------------------------------
  /// In the row: what its code has set as its status.
  void show_state();
  [[nodiscard]] workflow_answer describe(bool created) const;
  [[nodiscard]] workflow_answer describe_result() const;
  [[nodiscard]] std::string id() const;

  // -- why it is where it is (run_explain.cpp) -------------------------------------------------
  void on_explain(waiter from, boot_time since);
  void explain_again();
  /// Nothing is recorded yet of a run whose code is in its first turn.
  void answer_when_begun(control_request request, const caf::actor& reply_to, boot_time since);
  [[nodiscard]] boost::json::object explain() const;
  [[nodiscard]] std::string summary(bool waits_for_nothing) const;
  [[nodiscard]] boost::json::array shown_debts() const;
  void add_turns(boost::json::array& waiting) const;
  /// Children and tasks, then agents; at most `count_max`.
  [[nodiscard]] std::vector<awaited> waits_elsewhere(std::size_t count_max) const;

  // -- whether anything would wake it (run_upkeep.cpp) -----------------------------------------
  [[nodiscard]] std::string key() const;
  void on_check(bool is_replied);
  void check_if_wanted();
  void
  on_checked(std::uint32_t run, const std::vector<seen_wait>& all, std::optional<failure> cycle);
  /// The runs whose ends it waits for, if nothing else would wake it and one may wait for it.
  [[nodiscard]] std::vector<topic_ref> waits_alone_for() const;
  /// A child or a task that whoever is to have it has not answered for yet, or not again.
  [[nodiscard]] bool is_on_its_way(std::uint32_t command) const;
  void note_stuck(std::optional<failure> why);

  run_home& home_;
  const broker_parts& parts_;
  run_costs costs_;
  const shard_id shard_;
  const topic_ref channel_;
  sequence last_seq_{};
  /// Its first transition makes its channel.
  const bool is_unmade_;

  /// With what is being written.
  std::optional<runtime::workflow_row> row_;
  /// As committed: all that is told to anybody.
  std::optional<runtime::workflow_row> shown_;
  std::optional<runtime::run_start> start_;
  std::shared_ptr<runtime::run_engine> engine_;
  /// Of an engine that was on offer, the latest.
  std::shared_ptr<engine_loan> loan_;
  bool is_offered_ = false;
  std::uint32_t turns_ = 0;
  std::vector<ready_step> ready_steps_;
  step_stops stops_;
  std::map<std::uint32_t, shown_step> steps_;
  /// What each said, by its id; of this run, and of the one that went on as it: of that all while
  /// it stays in memory, and the latest when it is loaded (`earlier_signals_reach`).
  std::map<std::string, std::uint64_t> signal_ids_;
  std::map<std::string, std::uint64_t> earlier_signal_ids_;
  bool is_fresh_ = true;  // The run has heard nothing but what it began with.
  runtime::signal_ledger signals_;
  /// Of an agent: messages without reply, and its latest replies by message.
  std::map<std::string, open_message> open_messages_;
  std::map<std::string, boost::json::object> replies_;
  /// With their sizes, of which this is the sum.
  lazy_deque<std::pair<std::string, std::size_t>> reply_order_;
  std::size_t replies_bytes_ = 0;
  /// Messages whose replies the run before handed on.
  std::vector<std::string> recalled_;
  /// Replies that are being read, by correlation: to which message, and from where on.
  std::map<std::uint64_t, std::pair<std::string, sequence>> found_replies_;

  lazy_deque<input> inputs_;
  /// Signals and messages in `inputs_`; and those that its code has not read, with what it has just
  /// been given.
  std::size_t waiting_bytes_ = 0;
  std::size_t unread_bytes_ = 0;
  /// The transition that is being worked out or written.
  bool is_busy_ = false;
  std::vector<recorded> batch_;
  std::vector<runtime::run_event> next_inputs_;  // Of an agent's run that begins in it.
  std::vector<waiter> batch_waiters_;
  std::vector<std::uint32_t> batch_issued_;
  std::vector<std::uint32_t> batch_closed_;
  std::vector<runtime::run_timer> batch_timers_set_;
  std::vector<runtime::run_timer> batch_timers_cleared_;

  /// Armed; of a run that is blocked also what may have a row still.
  std::map<std::uint32_t, runtime::run_timer> timers_;
  std::set<std::uint32_t> armed_;  // Commands that are woken for when they are due.
  std::map<std::uint32_t, std::string> children_;
  /// Commands that whoever is to carry them out has on disk, as far as answers told: children that
  /// have begun, tasks in their queues, messages that agents have heard.
  std::set<std::uint32_t> accepted_;
  /// The row does not show all of them or of the attempts that wait, or shows some that have begun.
  bool is_row_behind_ = false;
  append_refusal append_refused_;
  boot_time row_written_at_{};  // To be written, the last time.
  /// Calls under way whose agent has something to tell.
  std::set<std::uint32_t> woken_calls_;
  std::set<std::uint32_t> resent_calls_;  // Calls that may have been sent before.
  std::set<std::uint32_t> borrowed_;      // Of what is accepted: children which others had started.
  std::set<std::string> watchers_;        // Commands of others that are to be told of its end.
  /// Callers that are being woken, by correlation, with how often they were told; and how many are
  /// not awake yet.
  std::unordered_map<std::uint64_t, std::pair<topic_ref, std::uint32_t>> waking_;
  std::uint32_t wakes_open_ = 0;
  std::map<std::uint32_t, queued_task> tasks_;
  /// What is not told yet, by origin, with what is being written; and what was asked.
  std::map<std::string, untold_debt> debts_;
  std::unordered_map<std::uint64_t, std::string> telling_;
  boot_time row_refused_until_{};
  bool is_appending_ = false;  // What the batch holds, or the row, is on its way to the journal.
  bool is_settling_ = false;   // The row alone is being written, without debts that are told.
  bool is_settling_soon_ = false;
  std::unordered_map<std::uint64_t, std::uint32_t> asked_;
  std::map<std::uint32_t, refused_asking> refused_;
  send_lanes lanes_;
  std::unordered_map<std::uint64_t, sent_before> lookups_;
  std::uint64_t last_correlation_ = 0;
  std::map<std::uint64_t, waiter> result_waiters_;
  std::vector<waiter> cancel_waiters_;
  /// Those that wait for the run to settle, and since when.
  std::vector<std::pair<waiter, boot_time>> explains_;
  std::uint64_t last_waiter_ = 0;
  /// Those on the step pool, which may go on with the code; and those elsewhere.
  std::uint32_t steps_running_ = 0;
  std::uint32_t async_steps_running_ = 0;
  /// Of the latest event that is recorded.
  time_ms changed_{};
  std::optional<boot_time> idle_since_;
  /// It will look whether it may leave.
  bool is_leaving_ = false;
  bool is_replaying_ = false;
  /// Another thread works on its code, in the turn of this number.
  bool is_code_at_work_ = false;
  std::uint64_t turn_number_ = 0;
  bool is_carrying_out_ = false;
  bool is_retired_ = false;
  bool is_dead_ = false;
  bool owes_parent_ = false;  // It is being told.
  std::uint32_t parent_tries_ = 0;
  bool is_being_cancelled_ = false;  // The current run has recorded a cancel.
  bool is_checking_ = false;
  /// When it is free; and because an agent said so.
  bool is_check_wanted_ = false;
  bool is_check_replied_ = false;
  bool is_noted_stuck_ = false;
  /// What a restart or a fork is writing; replayed once it is committed.
  std::vector<runtime::run_event> anew_;
  std::unique_ptr<rerun_copy> copy_;
  runtime::recorded_builds builds_;
  run_model_calls models_;
};

}  // namespace callboard::actors
