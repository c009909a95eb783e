// The durable-execution engine: drives the coroutine of one run from the events of its history,
// old and new alike. Pure: the same events give the same outputs, whoever calls and whenever.
#pragma once

#include "base/ids.hpp"
#include "base/lazy_deque.hpp"
#include "runtime/workflow/run_event.hpp"
#include "runtime/workflow/run_limits.hpp"

#include <algorithm>
#include <callboard/context.hpp>
#include <callboard/workflow.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::runtime {

/// What a run is blocked with whose code does something else than its record tells, or less.
inline constexpr std::string_view command_differs_code = "command_differs";
inline constexpr std::string_view command_missing_code = "command_missing";

/// A command that is neither answered nor cancelled.
struct open_command {
  detail::command_request request;
  detail::command_slot* slot = nullptr;
  /// The attempt that runs, or that runs next.
  std::uint32_t attempt = 1;
  /// How many of the attempts before were `interrupted_code`.
  std::uint32_t interruptions = 0;
  /// How many of them asked to come back later.
  std::uint32_t deferrals = 0;
  /// When the timer fires, or the next attempt begins.
  std::optional<time_ms> due;
  /// `due` is a time of the wall clock.
  bool by_wall = false;
};

/// How a run ended.
struct run_end {
  run_status status = run_status::completed;
  /// Result; of `continued` the input of the next run.
  json result;
  std::optional<failure> why;
};

/// What the code did about one input.
struct run_outputs {
  /// In order; to be recorded in one batch behind the input.
  std::vector<run_event> events;
  /// Commands that were issued now and are still open.
  std::vector<std::uint32_t> issued;
  /// Commands whose timers and work are no longer wanted.
  std::vector<std::uint32_t> closed;
  std::optional<run_end> end;
};

/// Lifecycle: made for one run, `begin` or `replay`, then `deliver` one input after the other,
/// `close`. One thread at a time; calls user code, so never on an actor's thread. Survives a
/// restart: nothing but what its outputs recorded.
class run_engine final : private detail::execution, private detail::flow_listener {
public:
  run_engine(
      const workflow_definition& code,
      run_identity identity,
      std::uint64_t seed,
      run_limits limits = {});
  ~run_engine();

  run_engine(const run_engine&) = delete;
  run_engine& operator=(const run_engine&) = delete;

  /// Feeds the history of a run that has not ended. Outputs are what the code does beyond it:
  /// nothing, unless inputs were recorded without it. What is issued then counts its delays from
  /// `now`, not from the time of an input that may be long past.
  [[nodiscard]] run_outputs replay(std::span<const run_event> history, time_ms now = {});

  /// Told of each command that the code comes to where the record has it, with the time that the
  /// code sees. Before `replay`.
  using recorded_watch =
      std::function<void(std::uint32_t index, const detail::command_request& request, time_ms now)>;

  void watch_recorded(recorded_watch watch) { watch_ = std::move(watch); }

  /// Works on more inputs, on each until every branch is suspended. Inputs for commands that are
  /// not open change nothing; signals that come when the run has ended are unread.
  [[nodiscard]] run_outputs deliver(std::span<const run_event> inputs);

  [[nodiscard]] run_outputs deliver(const run_event& input) { return deliver({&input, 1}); }

  /// Ends the coroutine where it stands; nothing is issued or abandoned any more. Idempotent.
  void close();

  [[nodiscard]] bool is_closed() const { return is_closed_; }

  /// Why the run is parked: the code does something else than the journal tells, or it is an agent
  /// whose code has ended. Nothing is delivered any more.
  [[nodiscard]] const std::optional<failure>& blocked() const { return blocked_; }

  [[nodiscard]] const std::map<std::uint32_t, open_command>& open() const { return open_; }

  /// Precondition: `blocked()`. Is recorded all the same, for code that fits.
  void pass_over(const run_event& input);

  /// The record says how the command ended, though it may be open as far as the code has come;
  /// false unless `blocked()`.
  [[nodiscard]] bool is_passed_over(std::uint32_t command) const;

  [[nodiscard]] const json& status() const { return status_; }

  /// Signals that nothing has read; the next run gets them.
  [[nodiscard]] std::vector<run_event> take_unread();

  /// What they take, as `unread_size` counts.
  [[nodiscard]] std::size_t unread_bytes() const { return unread_bytes_; }

  /// Commands so far.
  [[nodiscard]] std::uint32_t commands() const { return last_index_; }

  /// Bytes of the events of the run that are on disk; of a history before it is replayed. And what
  /// an agent's next run would begin with, beside its input and what is unread.
  void note_history(std::uint64_t bytes, std::uint64_t handed_on = 0) {
    history_bytes_ = bytes;
    handed_on_bytes_ = handed_on;
  }

  [[nodiscard]] const run_identity& identity() const { return identity_; }

  /// What the next run's clock has to show at least; nothing if shard time is past it.
  [[nodiscard]] std::optional<time_ms> clock_ahead() const {
    return shown_least_ > now_ ? std::optional{shown_least_} : std::nullopt;
  }

  /// That random numbers are drawn from now: the run's, or that of the last `parted`.
  [[nodiscard]] std::uint64_t seed() const { return seed_; }

private:
  struct recorded_command {
    command_kind kind{};
    std::string name;
    json data;
    std::optional<time_ms> due;
    bool by_wall = false;
  };

  /// Where the record says that the run goes its own way: when the code works on the input of this
  /// number, or a later one, and has come to so many commands.
  struct parting {
    std::size_t inputs = 0;
    std::uint32_t commands = 0;
    std::uint64_t seed = 0;
    time_ms time{};
  };

  // -- execution -----------------------------------------------------------------------------
  void issue(detail::command_request request, detail::command_slot& slot) override;
  void abandon(detail::command_slot& slot) override;
  [[nodiscard]] std::chrono::sys_time<std::chrono::milliseconds> now() const override;

  /// By the clock of its code.
  [[nodiscard]] time_ms shown_time() const { return std::max(now_, shown_least_); }

  [[nodiscard]] std::uint64_t random() override;
  [[nodiscard]] std::uint32_t version(const std::string& change, std::uint32_t current) override;
  void set_status(json state) override;
  void continue_with(json input) override;
  [[nodiscard]] bool is_history_long(std::uint32_t handled) const override;
  [[nodiscard]] std::optional<failure> flaw_in_state(const json& state) const override;
  [[nodiscard]] bool is_turn_long() const;

  std::coroutine_handle<> on_done() override { return std::noop_coroutine(); }

  // -- inputs --------------------------------------------------------------------------------
  void take_in(const run_event& input);
  void start(const run_event& input);
  void on_signal(const run_event& input);
  void keep_unread(const run_event& input);
  void on_cancel();
  void complete(const run_event& input);
  void answer(std::uint32_t command, outcome<json> with);

  void note_recorded(const run_event& event);
  void note_worked_on(const run_event& event);
  [[nodiscard]] bool has_passed() const;
  void part();
  void finish_if_done();
  [[nodiscard]] run_end end_of_root();
  [[nodiscard]] run_outputs take_outputs();

  // -- commands ------------------------------------------------------------------------------
  /// Such an update is answered when the other topic has it, not at once.
  [[nodiscard]] bool is_mirrored(const detail::command_request& request) const;
  [[nodiscard]] bool agrees(std::uint32_t index, const detail::command_request& request);
  bool park_if_commands_are_missing();
  void record_issue(std::uint32_t index, open_command& one);
  [[nodiscard]] std::optional<failure> flaw_in_end(const json& value) const;
  [[nodiscard]] json reply_that_fits(const json& reply) const;
  void answer_at_once(std::uint32_t index);
  void close_command(std::uint32_t index);
  void note_cancelled(std::uint32_t index);
  void park_ended(run_end end);
  void park(std::string code, std::string message, std::string details = {});

  const workflow_definition& code_;
  run_identity identity_;
  const run_limits limits_;
  /// What this turn may still issue.
  std::uint32_t commands_left_ = 0;
  std::size_t bytes_left_ = 0;
  std::uint64_t seed_;
  std::uint64_t random_state_;
  context context_;
  std::unique_ptr<workflow_instance> instance_;

  /// By shard time, which delays count from.
  time_ms now_{};
  /// Of the sleeps by the wall clock that ended while `now_` was behind it.
  time_ms shown_least_{};
  /// While a history is replayed: when.
  time_ms replayed_at_{};
  std::size_t inputs_taken_ = 0;
  std::uint32_t last_index_ = 0;
  std::map<std::uint32_t, open_command> open_;

  struct unread_signal {
    run_event event;
    std::size_t bytes = 0;
  };

  lazy_deque<unread_signal> unread_signals_;
  std::size_t unread_bytes_ = 0;
  std::map<std::string, std::uint32_t> versions_;
  std::map<std::uint32_t, recorded_command> recorded_;
  recorded_watch watch_;
  std::set<std::uint32_t> recorded_cancels_;
  /// Of the history, as far as counted.
  std::size_t inputs_recorded_ = 0;
  /// As far as code is known to have worked on them when they were recorded.
  std::size_t inputs_worked_on_ = 0;
  bool is_recorded_blocked_ = false;
  bool is_recorded_continued_ = false;
  std::uint64_t history_bytes_ = 0;
  std::uint64_t handed_on_bytes_ = 0;
  /// Of an agent: what it began with.
  std::size_t input_bytes_ = 0;
  lazy_deque<parting> partings_;
  json status_;
  std::optional<json> next_input_;
  std::optional<failure> blocked_;
  /// Commands that ended behind where it is blocked.
  std::set<std::uint32_t> passed_over_;
  run_outputs outputs_;
  /// Of an agent: of the arguments among them.
  std::size_t outputs_bytes_ = 0;
  bool is_cancelling_ = false;
  bool is_started_ = false;
  bool is_ended_ = false;
  bool is_closed_ = false;
  /// Last, so that its frame goes before what it refers to.
  flow<json> root_;
};

}  // namespace callboard::runtime
